"""ResNet-50 and -101 that keep an eighth of the resolution by dilation, under torchvision's names."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from monai_isles.errors import IslesError
from monai_isles.networks.lone_batch_norm import LoneBatchNorm2d

DEPTHS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
STEMS = ("single", "deep64", "deep128")
EXPANSION = 4


class DilatedResNet(nn.Module):
    """Bottleneck ResNet; layers 3 and 4 dilate their 3x3 convolutions by 2 and 4 where they would have strided.

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
    Raises:
        IslesError: ``E-NET-21`` for another depth, stem, width or stride.
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
            raise IslesError(
                "E-NET-21",
                "no such dilated ResNet",
                where="backbone of the network",
                found=f"{backbone!r}, stem {stem!r}, base_channels {base_channels}, output stride {output_stride}",
                fix=f"{' or '.join(DEPTHS)}; stem {', '.join(STEMS)}; base_channels at least 2; output stride 8 or 32",
            )
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
        x = F.relu(self.bn1(self.conv1(x)))
        if self.deep:
            x = F.relu(self.bn2(self.conv2(x)))
            x = F.relu(self.bn3(self.conv3(x)))
        x = F.max_pool2d(x, kernel_size=3, stride=2, padding=1)
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


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
    """Give ``network`` the convolutions before the first pooling; return the channels that come out."""
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
