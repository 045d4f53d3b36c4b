"""The 2D U-Net of Ronneberger 2015, with padded convolutions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from monai_isles.errors import IslesError
from monai_isles.networks.lone_batch_norm import LoneBatchNorm2d
from monai_isles.networks.sizes import cropped_to, padded_to

Norm = Callable[[int], nn.Module]
_NORMS: dict[str, Norm] = {"batch": LoneBatchNorm2d, "none": nn.Identity}


class RonnebergerUNet(nn.Module):
    """U-Net: two convolutions a level, max pooling, transposed convolutions, concatenated skips.

    Shapes: ``(N, in_channels, H, W)`` in, logits ``(N, out_channels, H, W)`` out, any H and W: zeros fill the input up
    to the next multiple of ``2 ** (levels - 1)`` and the logits are cropped back.
    Args:
        base_channels: channels of the first level; doubled at each further level.
        norm: "batch", "none", or what makes a normalisation for a number of channels.
    Raises:
        IslesError: ``E-NET-20`` for impossible sizes or an unknown normalisation.
    Source: Ronneberger 2015 (arXiv:1505.04597), as compared in Abulnaga 2018 (doi:10.1007/978-3-030-11723-8_36), and in
    Wang 2020 (doi:10.1016/j.media.2020.101787), Table 3: 31.04 M parameters with 4 channels and batch normalisation.
    """

    def __init__(
        self,
        in_channels: int = 5,
        out_channels: int = 2,
        base_channels: int = 64,
        levels: int = 5,
        norm: str | Norm = "batch",
    ) -> None:
        super().__init__()
        make = _NORMS.get(norm) if isinstance(norm, str) else norm
        if levels < 2 or min(in_channels, out_channels, base_channels) < 1 or make is None:
            raise IslesError(
                "E-NET-20",
                "no such U-Net",
                where="RonnebergerUNet",
                found=f"{levels} levels, channels {in_channels}, {out_channels}, {base_channels}, norm {norm!r}",
                fix="levels is at least 2, channels at least 1, norm is 'batch', 'none' or a function of the channels",
            )
        widths = [base_channels * 2**level for level in range(levels)]
        self.divisor = 2 ** (levels - 1)
        self.encoder = nn.ModuleList(
            double_conv(i, o, make) for i, o in zip([in_channels, *widths[:-1]], widths, strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, kernel_size=2, stride=2) for w in widths[-2::-1])
        self.decoder = nn.ModuleList(double_conv(2 * w, w, make) for w in widths[-2::-1])
        self.head = nn.Conv2d(base_channels, out_channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        x, sizes = padded_to(x, [self.divisor, self.divisor])
        skips: list[Tensor] = []
        for level, block in enumerate(self.encoder):
            x = block(self.pool(x) if level > 0 else x)
            skips.append(x)
        skips.pop()
        for grow, block in zip(self.up, self.decoder):  # noqa: B905 (TorchScript)
            x = block(torch.cat([skips.pop(), grow(x)], dim=1))
        return cropped_to(self.head(x), sizes)


def double_conv(ins: int, outs: int, norm: Norm) -> nn.Sequential:
    """Return two biased 3x3 convolutions of unit padding, each with its normalisation and ReLU."""
    return nn.Sequential(
        nn.Conv2d(ins, outs, kernel_size=3, padding=1),
        norm(outs),
        nn.ReLU(inplace=True),
        nn.Conv2d(outs, outs, kernel_size=3, padding=1),
        norm(outs),
        nn.ReLU(inplace=True),
    )
