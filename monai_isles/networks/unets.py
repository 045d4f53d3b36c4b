"""A U-Net of interchangeable blocks, which two of Wang's comparison networks share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from monai_isles.errors import refused
from monai_isles.networks.blocks import cropped_to, initialise_, padded_to
from monai_isles.networks.norms import LoneBatchNorm2d

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
            raise refused(
                "E-NET-20",
                where="RonnebergerUNet",
                found=f"{levels} levels, channels {in_channels}, {out_channels}, {base_channels}, norm {norm!r}",
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
            raise refused(
                "E-NET-43",
                where=type(self).__name__,
                found=f"{levels} levels, channels {in_channels}, {out_channels}, {base_channels}",
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


class R2UNet(BlockUNet):
    """U-Net whose levels are a 1x1 entry and two recurrent convolutions, bridged by a sum.

    Shapes: ``(N, in_channels, H, W)`` in, logits ``(N, out_channels, H, W)`` out, any H and W.
    Args:
        base_channels: channels of the first level; doubled at each further level.
        steps: t, how often a recurrent convolution takes its own result back.
        init: "xavier" or "torch".
    Source: Alom 2018 (arXiv:1802.06955), Figures 3 and 4; Wang 2020 (doi:10.1016/j.media.2020.101787), Table 3:
    39.09 M with 4 channels. The steps of a recurrent convolution share weights and batch normalisation.
    """

    def __init__(
        self,
        in_channels: int = 4,
        out_channels: int = 2,
        base_channels: int = 64,
        levels: int = 5,
        steps: int = 2,
        init: str = "xavier",
    ) -> None:
        block = partial(RecurrentBlock, steps=steps)
        super().__init__(block, in_channels, out_channels, base_channels, levels, init)


class RecurrentBlock(nn.Module):
    """Bring the input to ``outs`` channels and add two recurrent convolutions of it.

    Shapes: ``(N, ins, H, W)`` in, ``(N, outs, H, W)`` out.
    """

    def __init__(self, ins: int, outs: int, steps: int) -> None:
        super().__init__()
        self.entry = nn.Conv2d(ins, outs, kernel_size=1)
        self.path = nn.Sequential(RecurrentConv(outs, steps), RecurrentConv(outs, steps))

    def forward(self, x: Tensor) -> Tensor:
        x = self.entry(x)
        return x + self.path(x)


class RecurrentConv(nn.Module):
    """Convolve, then ``steps`` times convolve the sum of input and last result with the same weights.

    Shapes: ``(N, C, H, W)`` in and out.
    """

    def __init__(self, channels: int, steps: int) -> None:
        super().__init__()
        self.conv = conv_norm_relu(channels, channels)
        self.steps = steps

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv(x)
        for _ in range(self.steps):
            out = self.conv(x + out)
        return out


class WangResUNet(BlockUNet):
    """U-Net whose levels are a 3x3 entry convolution and two residual units of two 3x3 convolutions.

    Shapes: ``(N, in_channels, H, W)`` in, logits ``(N, out_channels, H, W)`` out, any H and W.
    Args:
        base_channels: channels of the first level; doubled at each further level.
        init: "xavier" or "torch".
    Source: Xiao 2018 (ITME, doi:10.1109/ITME.2018.00080): a U-Net with residual units at each level. Wang 2020
    (doi:10.1016/j.media.2020.101787) does not describe them; its Table 3 gives 81.91 M. This reading has 81.67 M with 4
    channels, 0.24 M (0.3 %) less: the nearest we counted among U-Nets of 64 to 1024 channels with the same block at all
    levels, an entry of 1x1 or 3x3 (or 1x1 shortcuts) and units of two or three 3x3 or of 1x1, 3x3, 1x1 convolutions.
    Sizes within 0.01 M exist among mixed blocks, but nothing tells which of many was meant.
    """

    def __init__(
        self,
        in_channels: int = 4,
        out_channels: int = 2,
        base_channels: int = 64,
        levels: int = 5,
        init: str = "xavier",
    ) -> None:
        super().__init__(_level, in_channels, out_channels, base_channels, levels, init)


class ResidualUnit(nn.Module):
    """Add two convolutions to their input; ReLU follows the sum.

    Shapes: ``(N, C, H, W)`` in and out.
    Source: He 2016 (CVPR, doi:10.1109/CVPR.2016.90), Figure 2.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            conv_norm_relu(channels, channels),
            nn.Conv2d(channels, channels, kernel_size=3, padding=1),
            LoneBatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.path(x))


def _level(ins: int, outs: int) -> nn.Sequential:
    return nn.Sequential(conv_norm_relu(ins, outs), ResidualUnit(outs), ResidualUnit(outs))
