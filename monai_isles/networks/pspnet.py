"""The pyramid scene parsing network of Abulnaga 2018, with the initializer that lets pre-trained weights in."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Self

from torch import Tensor, nn
from torch.nn import functional as F

from monai_isles.errors import IslesError
from monai_isles.networks.dilated_resnet import DilatedResNet
from monai_isles.networks.lone_batch_norm import LoneBatchNorm2d
from monai_isles.networks.pretrained import load_pretrained
from monai_isles.networks.pyramid_pooling import PyramidPooling


class PSPNet(nn.Module):
    """Initializer, dilated ResNet at an eighth of the resolution, pyramid pooling, final convolution, classifier.

    ``initializer`` is equation (1): batch normalisation, then a 1x1 convolution to three channels. ``pretrained`` names
    the parameters that came from ``weights``, and the printed network says how many: a run's record shows it.

    Shapes: ``(N, in_channels, H, W)`` in, logits ``(N, out_channels, H, W)`` out, any H and W.
    Args:
        backbone: "resnet50" or "resnet101"; the paper does not say which.
        weights: file with a ResNet's or PSPNet's state dictionary (``load_pretrained``); None trains from scratch.
        base_channels: 64 in the publication; the pyramid's and the final widths scale with it.
        stem, dilate_first: what ``DilatedResNet`` says; "deep128" and True for the PSPNet authors' own weights.
        dropout: channel dropout before the classifier.
    Raises:
        IslesError: ``E-NET-25`` for impossible channels; ``E-NET-21`` to ``E-NET-24`` of backbone and weights.
    Source: Abulnaga 2018 (doi:10.1007/978-3-030-11723-8_36), sections 4.2 and 4.3; Zhao 2017 (arXiv:1612.01105), whose
    auxiliary loss is left out. Sizes at 64 base channels: ``tests/networks/test_pspnet.py``.
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
        if min(in_channels, out_channels) < 1:
            raise IslesError(
                "E-NET-25",
                "no such PSPNet",
                where="PSPNet",
                found=f"channels {in_channels} in, {out_channels} out",
                fix="give at least one of each",
            )
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
        matched = load_pretrained(self, weights).matched if weights else ()
        own = dict(self.named_parameters())
        self.pretrained = tuple(name for name in matched if name in own)

    def forward(self, x: Tensor) -> Tensor:
        y = self.pyramid(self.backbone(self.initializer(x)))
        y = self.classifier(self.dropout(self.final(y)))
        return F.interpolate(y, size=x.shape[2:], mode="bilinear", align_corners=False)

    def freeze_pretrained(self, frozen: bool = True) -> None:
        """Hold (or let go) every parameter of ``pretrained``, and the running statistics of their normalisations.

        Source: Abulnaga 2018, section 4.3: new layers first, then all.
        """
        names = set(self.pretrained)
        for name, parameter in self.named_parameters():
            if name in names:
                parameter.requires_grad_(not frozen)
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
