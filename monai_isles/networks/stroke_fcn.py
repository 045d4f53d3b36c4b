"""The fully convolutional network that Wang 2020 compares against."""

from __future__ import annotations

from torch import Tensor, nn

from monai_isles.errors import refused
from monai_isles.networks.blocks import cropped_to, initialise_, padded_to

_VGG16 = ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3))  # width over the first, convolutions


class StrokeFCN(nn.Module):
    """FCN: the convolutions of VGG16, then five doublings of resolution that add the pooled features on their way.

    Shapes: ``(N, in_channels, H, W)`` in, logits ``(N, out_channels, H, W)`` out, any H and W.
    Args:
        base_channels: channels of the first convolution; 64 is VGG16.
        init: "xavier" or "torch".
    Raises:
        IslesError: ``E-NET-42`` for a number of channels below 1, ``E-NET-40`` for an unknown initialisation.
    Source: Long 2015 (CVPR, doi:10.1109/CVPR.2015.7298965), Simonyan 2015 (arXiv:1409.1556), configuration D. Wang
    2020 (doi:10.1016/j.media.2020.101787), Table 3, gives 18.64 M; met with 4 channels by 3x3 transposed convolutions
    with ReLU and batch normalisation to 512, 256, 128, 64 and 32 channels before a 1x1 classifier.

    >>> import torch
    >>> StrokeFCN(in_channels=4)(torch.zeros(1, 4, 32, 32)).shape
    torch.Size([1, 2, 32, 32])
    """

    def __init__(
        self, in_channels: int = 4, out_channels: int = 2, base_channels: int = 64, init: str = "xavier"
    ) -> None:
        super().__init__()
        if min(in_channels, out_channels) < 1 or base_channels < 2:
            raise refused(
                "E-NET-42", where="StrokeFCN", found=f"channels {in_channels}, {out_channels}, {base_channels}"
            )
        widths = [base_channels * times for times, _ in _VGG16]
        ins = [in_channels, *widths[:-1]]
        self.stages = nn.ModuleList(
            _stage(i, o, convolutions) for i, o, (_, convolutions) in zip(ins, widths, _VGG16, strict=True)
        )
        ups = [*widths[-2::-1], base_channels // 2]
        self.up = nn.ModuleList(_double(i, o) for i, o in zip([widths[-1], *ups[:-1]], ups, strict=True))
        self.head = nn.Conv2d(ups[-1], out_channels, kernel_size=1)
        initialise_(self, init)

    def forward(self, x: Tensor) -> Tensor:
        x, sizes = padded_to(x, [32, 32])
        skips: list[Tensor] = []
        for stage in self.stages:
            x = stage(x)
            skips.append(x)
        skips.pop()
        for grow in self.up:
            x = grow(x)
            if len(skips) > 0:
                x = x + skips.pop()
        return cropped_to(self.head(x), sizes)


def _stage(ins: int, outs: int, convolutions: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for index in range(convolutions):
        layers += [nn.Conv2d(outs if index else ins, outs, kernel_size=3, padding=1), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.MaxPool2d(2))


def _double(ins: int, outs: int) -> nn.Sequential:
    grow = nn.ConvTranspose2d(ins, outs, kernel_size=3, stride=2, padding=1, output_padding=1)
    return nn.Sequential(grow, nn.ReLU(inplace=True), nn.BatchNorm2d(outs))
