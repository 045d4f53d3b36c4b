"""The pyramid scene parsing network of Abulnaga 2018, with the layer that adapts its input to pre-trained weights."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from monai_isles.errors import refused
from monai_isles.networks.blocks import LoneBatchNorm2d, require_sizes
from monai_isles.networks.pretrained import load_pretrained

DEPTHS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
STEMS = ("single", "deep64", "deep128")
EXPANSION = 4


class DilatedResNet(nn.Module):
    """Bottleneck ResNet whose layers 3 and 4 have dilation 2 and 4 instead of strides.

    Shapes: ``(N, 3, H, W)`` in, ``(N, 32 * base_channels, ceil(H / 8), ceil(W / 8))`` out, any H and W.
    Args:
        backbone: "resnet50" or "resnet101".
        base_channels: channels of the stem and of the first bottlenecks; 64 in the publication.
        stem: "single" 7x7 convolution (torchvision), or three 3x3 convolutions that end in ``base_channels`` ("deep64")
            or twice as many ("deep128", the PSPNet authors' own).
        dilate_first: False gives the first block of a dilated layer the dilation of the layer before: every fourth
            value of the map is then the one of the strided network whose weights are loaded. True dilates it like the
            rest of its layer, as the PSPNet authors do.
        output_stride: 8, or 32 for the network without dilation.
    Source: He 2016 (arXiv:1512.03385), stride in the 3x3 convolution; Yu and Koltun 2016 (arXiv:1511.07122), dilation.
    """

    def __init__(
        self,
        backbone: str = "resnet50",
        base_channels: int = 64,
        *,
        stem: str = "single",
        dilate_first: bool = False,
        output_stride: int = 8,
    ) -> None:
        super().__init__()
        if backbone not in DEPTHS or stem not in STEMS or base_channels < 2 or output_stride not in (8, 32):
            result = f"{backbone!r}, stem {stem!r}, base_channels {base_channels}, output stride {output_stride}"
            names = {"depths": " or ".join(DEPTHS), "stems": ", ".join(STEMS)}
            raise refused("E-NET-21", where="backbone of the network", found=result, **names)
        self.deep = stem != "single"
        wide = _add_stem(self, stem, base_channels)
        strides, dilations = ((1, 2, 2, 2), (1, 1, 1, 1)) if output_stride == 32 else ((1, 2, 1, 1), (1, 1, 2, 4))
        for level, blocks in enumerate(DEPTHS[backbone]):
            dilation = dilations[level]
            first = dilation if dilate_first else dilations[max(level - 1, 0)]
            width = base_channels * 2**level
            layers = [_Bottleneck(wide, width, stride=strides[level], dilation=first)]
            wide = width * EXPANSION
            layers += [_Bottleneck(wide, width, stride=1, dilation=dilation) for _ in range(blocks - 1)]
            self.add_module(f"layer{level + 1}", nn.Sequential(*layers))
        self.out_channels = wide
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))  # type: ignore[operator]
        if self.deep:
            x = F.relu(self.bn2(self.conv2(x)))  # type: ignore[operator]
            x = F.relu(self.bn3(self.conv3(x)))  # type: ignore[operator]
        x = F.max_pool2d(x, kernel_size=3, stride=2, padding=1)
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))  # type: ignore[operator]


class _Bottleneck(nn.Module):
    def __init__(self, ins: int, width: int, *, stride: int, dilation: int) -> None:
        super().__init__()
        outs = width * EXPANSION
        self.conv1 = nn.Conv2d(ins, width, kernel_size=1, bias=False)
        self.bn1 = LoneBatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = LoneBatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outs, kernel_size=1, bias=False)
        self.bn3 = LoneBatchNorm2d(outs)
        self.downsample: nn.Module = nn.Identity()
        if ins != outs or stride != 1:
            short = nn.Conv2d(ins, outs, kernel_size=1, stride=stride, bias=False)
            self.downsample = nn.Sequential(short, LoneBatchNorm2d(outs))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + self.downsample(x))


def _add_stem(network: nn.Module, stem: str, base: int) -> int:
    """Add the convolutions before the first pooling to ``network``; return their number of output channels."""
    if stem == "single":
        network.conv1, network.bn1 = nn.Conv2d(3, base, 7, stride=2, padding=3, bias=False), LoneBatchNorm2d(base)
        network.conv2 = network.bn2 = network.conv3 = network.bn3 = nn.Identity()
        return base
    inner, outer = (base // 2, base) if stem == "deep64" else (base, 2 * base)
    for index, (ins, outs) in enumerate(((3, inner), (inner, inner), (inner, outer)), start=1):
        conv = nn.Conv2d(ins, outs, 3, stride=2 if index == 1 else 1, padding=1, bias=False)
        network.add_module(f"conv{index}", conv)
        network.add_module(f"bn{index}", LoneBatchNorm2d(outs))
    return outer


class PyramidPooling(nn.Module):
    """Append averages over 1x1, 2x2, 3x3 and 6x6 grids to a feature map.

    Each grid goes through a 1x1 convolution to an equal share of the channels, ``LoneBatchNorm2d`` and ReLU, and is
    upsampled bilinearly (corners not aligned).

    Shapes: ``(N, C, H, W)`` in, ``(N, C + len(bins) * (C // len(bins)), H, W)`` out, ``out_channels`` of them; any H
    and W, also below the bins.
    Source: Zhao 2017 (arXiv:1612.01105); Abulnaga 2018 (doi:10.1007/978-3-030-11723-8_36), section 4.2.
    """

    def __init__(self, channels: int, bins: Sequence[int] = (1, 2, 3, 6)) -> None:
        super().__init__()
        share = channels // len(bins)
        self.out_channels = channels + len(bins) * share
        self.branches = nn.ModuleList(_Branch(channels, share, size) for size in bins)

    def forward(self, x: Tensor) -> Tensor:
        maps = [x]
        for branch in self.branches:
            maps.append(branch(x))
        return torch.cat(maps, dim=1)


class _Branch(nn.Module):
    def __init__(self, ins: int, outs: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.conv = nn.Conv2d(ins, outs, kernel_size=1, bias=False)
        self.norm = LoneBatchNorm2d(outs)

    def forward(self, x: Tensor) -> Tensor:
        rows = _averaging(x.shape[2], self.size, x)
        columns = _averaging(x.shape[3], self.size, x)
        y = rows @ x @ columns.transpose(0, 1)
        y = F.relu(self.norm(self.conv(y)))
        return F.interpolate(y, size=x.shape[2:], mode="bilinear", align_corners=False)


def _averaging(size: int, bins: int, like: Tensor) -> Tensor:
    """Return the matrix (bins, size) that averages as adaptive pooling does, for graphs of any size."""
    # Row i is 1 / count from floor(i size / bins) up to ceil((i + 1) size / bins).
    place = torch.arange(size, device=like.device)
    first = torch.arange(bins, device=like.device)[:, None] * size
    inside = (place >= first // bins) & (place < (first + size + bins - 1) // bins)
    weight = inside.to(like.dtype)
    return weight / weight.sum(dim=1, keepdim=True)


def with_aux(network: nn.Module, device: str | torch.device = "cpu") -> nn.Module:
    """Return the network on ``device``, set to return its auxiliary outputs too if it has any.

    Training and prediction use them; an exported graph does not, so the definition in a config leaves them off.

    >>> from monai_isles.networks.threshold_rule import ThresholdRule
    >>> with_aux(ThresholdRule()).return_aux
    True
    """
    if hasattr(network, "return_aux"):
        network.return_aux = True  # type: ignore[assignment]
    return network.to(device)


class PSPNet(nn.Module):
    """Initializer, dilated ResNet at an eighth of the resolution, pyramid pooling, final convolution, classifier.

    ``initializer`` is equation (1): batch normalisation, then a 1x1 convolution to three channels. ``pretrained`` names
    the parameters that came from ``weights``, and the printed network and the record of a run state how many.

    Shapes: ``(N, in_channels, H, W)`` in, logits ``(N, out_channels, H, W)`` out, any H and W.
    Args:
        backbone: "resnet50" or "resnet101"; the paper does not say which.
        weights: file with a ResNet's or PSPNet's state dictionary (``load_pretrained``); None trains from scratch.
        base_channels: 64 in the publication; the pyramid's and the final widths scale with it.
        stem, dilate_first: of ``DilatedResNet``; "deep128" and True for the PSPNet authors' own weights.
        dropout: channel dropout before the classifier.
    Raises: ``E-NET-25`` for impossible channels; ``E-NET-21`` to ``E-NET-24`` of backbone and weights.
    Source: Abulnaga 2018 (doi:10.1007/978-3-030-11723-8_36), sections 4.2 and 4.3; Zhao 2017 (arXiv:1612.01105), whose
    auxiliary loss is left out. Sizes at 64 base channels: ``tests/networks/test_pspnet.py``.

    >>> network = PSPNet(in_channels=5, base_channels=8).eval()
    >>> network(torch.zeros(1, 5, 64, 64)).shape
    torch.Size([1, 2, 64, 64])
    """

    def __init__(
        self,
        in_channels: int = 5,
        out_channels: int = 2,
        backbone: str = "resnet50",
        weights: str | Path | None = None,
        base_channels: int = 64,
        *,
        stem: str = "single",
        dilate_first: bool = False,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        require_sizes("E-NET-25", self, channels=in_channels, classes=out_channels)
        norm, mix = LoneBatchNorm2d(in_channels), nn.Conv2d(in_channels, 3, kernel_size=1, bias=False)
        self.initializer = nn.Sequential(OrderedDict(norm=norm, conv=mix))
        self.backbone = DilatedResNet(backbone, base_channels, stem=stem, dilate_first=dilate_first)
        self.pyramid = PyramidPooling(self.backbone.out_channels)
        wide, width = self.pyramid.out_channels, 8 * base_channels
        conv = nn.Conv2d(wide, width, kernel_size=3, padding=1, bias=False)
        self.final = nn.Sequential(OrderedDict(conv=conv, norm=LoneBatchNorm2d(width), relu=nn.ReLU()))
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(width, out_channels, kernel_size=1)
        self.frozen = False
        matched = load_pretrained(self, weights)["matched"] if weights else ()
        own = dict(self.named_parameters())
        self.pretrained = tuple(name for name in matched if name in own)

    def forward(self, x: Tensor) -> Tensor:
        y = self.pyramid(self.backbone(self.initializer(x)))
        y = self.classifier(self.dropout(self.final(y)))
        return F.interpolate(y, size=x.shape[2:], mode="bilinear", align_corners=False)

    def freeze_pretrained(self, frozen: bool = True) -> None:
        """Freeze (or release) every parameter of ``pretrained`` and the running statistics of their normalisations.

        Source: Abulnaga 2018, section 4.3: new layers first, then all.
        """
        for name in self.pretrained:
            self.get_parameter(name).requires_grad_(not frozen)
        self.frozen = frozen
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Switch to training; normalisations with frozen weights stay in evaluation."""
        super().train(mode)
        if self.frozen:
            names = set(self.pretrained)
            for name, module in self.named_modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm) and f"{name}.weight" in names:
                    module.eval()
        return self

    def extra_repr(self) -> str:
        total = len(list(self.parameters()))
        return f"weights: {len(self.pretrained)} of {total} from a file" if self.pretrained else "weights: from scratch"
