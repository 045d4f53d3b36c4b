"""A U-Net of interchangeable blocks, which two of Wang's comparison networks share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from monai_isles.errors import IslesError
from monai_isles.networks.lone_batch_norm import LoneBatchNorm2d
from monai_isles.networks.sizes import cropped_to, padded_to
from monai_isles.networks.xavier import initialise_


class BlockUNet(nn.Module):
    """U-Net with one ``block(ins, outs)`` a level; resolution doubles by repetition and a normalised convolution.

    Shapes: ``(N, in_channels, H, W)`` in, logits ``(N, out_channels, H, W)`` out, any H and W.
    Args:
        block: makes the block of a level for its channels in and out.
        base_channels: channels of the first level; doubled at each further level.
        init: "xavier" or "torch".
    Raises:
        IslesError: ``E-NET-43`` for impossible sizes, ``E-NET-40`` for an unknown initialisation.
    Source: ours; ``tests/networks/test_unets.py``.
    """

    def __init__(
        self,
        block: Callable[[int, int], nn.Module],
        in_channels: int,
        out_channels: int,
        base_channels: int,
        levels: int,
        init: str,
    ) -> None:
        super().__init__()
        if levels < 2 or min(in_channels, out_channels, base_channels) < 1:
            raise IslesError(
                "E-NET-43",
                "no such network",
                where=type(self).__name__,
                found=f"{levels} levels, channels {in_channels}, {out_channels}, {base_channels}",
                fix="levels is at least 2, channels at least 1",
            )
        widths = [base_channels * 2**level for level in range(levels)]
        self.divisor = 2 ** (levels - 1)
        self.encoder = nn.ModuleList(block(i, o) for i, o in zip([in_channels, *widths[:-1]], widths, strict=True))
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ModuleList(
            nn.Sequential(nn.Upsample(scale_factor=2.0), conv_norm_relu(2 * w, w)) for w in widths[-2::-1]
        )
        self.decoder = nn.ModuleList(block(2 * w, w) for w in widths[-2::-1])
        self.head = nn.Conv2d(base_channels, out_channels, kernel_size=1)
        initialise_(self, init)

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


def conv_norm_relu(ins: int, outs: int) -> nn.Sequential:
    """Return a biased 3x3 convolution of unit padding with batch normalisation and ReLU."""
    return nn.Sequential(nn.Conv2d(ins, outs, kernel_size=3, padding=1), LoneBatchNorm2d(outs), nn.ReLU(inplace=True))
