"""U-Nets: one skeleton and the seven networks of the papers built on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from monai_isles.errors import refused
from monai_isles.networks.blocks import (
    LoneBatchNorm2d,
    LoneBatchNorm3d,
    SqueezeExcitation,
    SwitchableNorm2d,
    conv_norm_relu,
    crop_to,
    double_conv,
    pad_to_multiple,
    require_sizes,
    xavier_,
)

Norm = Callable[[int], nn.Module]
_NORMS: dict[str, Norm] = {"batch": LoneBatchNorm2d, "none": nn.Identity}


class UNetSkeleton(nn.Module):
    """Run encoder stages and steps down, then steps up and decoder stages, each joined with its skip connection.

    Shapes: ``(N, C, *spatial)`` in, logits ``(N, K, *spatial)`` out, any spatial size: the input is padded to the next
    multiple of ``multiple`` and the logits are cropped back. ``grown_first`` concatenates the upsampled features before
    the skip connection, as V-Net does.
    Source: Ronneberger 2015 (arXiv:1505.04597), Figure 1; ``tests/networks/test_unets.py``.
    """

    def __init__(
        self, encoder: Iterable[nn.Module], down: Iterable[nn.Module], up: Iterable[nn.Module],
        decoder: Iterable[nn.Module], head: nn.Module, multiple: list[int], *, grown_first: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.encoder, self.down = nn.ModuleList(encoder), nn.ModuleList(down)
        self.up, self.decoder, self.head = nn.ModuleList(up), nn.ModuleList(decoder), head
        self.multiple, self.grown_first = multiple, grown_first

    def forward(self, x: Tensor) -> Tensor:
        x, sizes = pad_to_multiple(x, self.multiple)
        skips: list[Tensor] = []
        for stage, shrink in zip(self.encoder, self.down):  # noqa: B905 (TorchScript)
            x = stage(x)
            skips.append(x)
            x = shrink(x)
        x = self.encoder[-1](x)  # the deepest stage has no step down
        for grow, stage in zip(self.up, self.decoder):  # noqa: B905 (TorchScript)
            beside = skips.pop()
            grown = grow(x)
            x = stage(torch.cat([grown, beside] if self.grown_first else [beside, grown], dim=1))
        return crop_to(self.head(x), sizes)


def _widths(base_channels: int, levels: int) -> list[int]:
    return [base_channels * 2**level for level in range(levels)]


class RonnebergerUNet(UNetSkeleton):
    """U-Net: two convolutions a level, max pooling, transposed convolutions, concatenated skips.

    Shapes: ``(N, in_channels, H, W)`` in, logits ``(N, out_channels, H, W)`` out, any H and W.
    Args:
        base_channels, levels: channels of the first level, doubled at each of the next; number of levels.
        norm: "batch", "none", or a function from a number of channels to a normalisation.
    Raises: ``E-NET-20`` for impossible sizes or an unknown normalisation.
    Source: Ronneberger 2015 (arXiv:1505.04597), as compared in Abulnaga 2018 (doi:10.1007/978-3-030-11723-8_36), and in
    Wang 2020 (doi:10.1016/j.media.2020.101787), Table 3: 31.04 M parameters with 4 channels and batch normalisation.

    >>> RonnebergerUNet(5, base_channels=2)(torch.zeros(1, 5, 40, 40)).shape
    torch.Size([1, 2, 40, 40])
    """

    def __init__(
        self,
        in_channels: int = 5,
        out_channels: int = 2,
        base_channels: int = 64,
        levels: int = 5,
        norm: str | Norm = "batch",
    ) -> None:
        make = _NORMS.get(norm) if isinstance(norm, str) else norm
        if levels < 2 or min(in_channels, out_channels, base_channels) < 1 or make is None:
            result = f"{levels} levels, channels {in_channels}, {out_channels}, {base_channels}, norm {norm!r}"
            raise refused("E-NET-20", where="RonnebergerUNet", found=result)
        widths = _widths(base_channels, levels)
        super().__init__(
            [double_conv(i, o, o, norm=make) for i, o in zip([in_channels, *widths[:-1]], widths, strict=True)],
            [nn.MaxPool2d(2) for _ in widths[1:]],
            [nn.ConvTranspose2d(2 * w, w, kernel_size=2, stride=2) for w in widths[-2::-1]],
            [double_conv(2 * w, w, w, norm=make) for w in widths[-2::-1]],
            nn.Conv2d(base_channels, out_channels, kernel_size=1),
            [2 ** (levels - 1)] * 2,
        )


_SLNET_NORMS = {"switchable": SwitchableNorm2d, **_NORMS}


class SLNet(RonnebergerUNet):
    """Segment a stroke lesion: each encoder block of the U-Net ends in squeeze and excitation.

    Shapes: ``(N, in_channels, H, W)`` in, logits ``(N, out_channels, H, W)`` out, any H and W.
    Args:
        norm: "switchable", "batch" (Table 3, w/o SN) or "none".
        squeeze_excitation: False leaves the calibration out (Table 3, w/o SE).
        init: "xavier", or "torch" to keep PyTorch's own initialisation.
    Raises: ``E-NET-41`` for an unknown normalisation; ``E-NET-20``, ``E-NET-40`` for other settings.
    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), section 3.3 and Figure 5. Table 3, with 4 channels: 33.84 M,
    31.04 M without calibration, 33.84 M with batch normalisation.

    >>> SLNet(1, base_channels=2)(torch.zeros(1, 1, 40, 40)).shape
    torch.Size([1, 2, 40, 40])
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 2,
        norm: str = "switchable",
        squeeze_excitation: bool = True,
        base_channels: int = 64,
        levels: int = 5,
        init: str = "xavier",
    ) -> None:
        if norm not in _SLNET_NORMS:
            raise refused("E-NET-41", where="SLNet", found=f"norm {norm!r}", norms=", ".join(_SLNET_NORMS))
        if init not in ("xavier", "torch"):
            raise refused("E-NET-40", where="SLNet", found=f"init {init!r}")
        super().__init__(in_channels, out_channels, base_channels, levels, norm=_SLNET_NORMS[norm])
        if squeeze_excitation:
            self.encoder = nn.ModuleList(
                nn.Sequential(block, SqueezeExcitation(width))
                for block, width in zip(self.encoder, _widths(base_channels, levels), strict=True)
            )
        if init == "xavier":
            xavier_(self)


class BlockUNet(UNetSkeleton):
    """U-Net with one ``block(ins, outs)`` a level; resolution doubles by repetition and a normalised convolution."""

    def __init__(
        self,
        block: Callable[[int, int], nn.Module],
        in_channels: int,
        out_channels: int,
        base_channels: int,
        levels: int,
    ) -> None:
        sizes = {"channels": in_channels, "classes": out_channels, "base_channels": base_channels}
        require_sizes("E-NET-43", self, levels=levels, **sizes)
        widths = _widths(base_channels, levels)
        super().__init__(
            [block(i, o) for i, o in zip([in_channels, *widths[:-1]], widths, strict=True)],
            [nn.MaxPool2d(2) for _ in widths[1:]],
            [nn.Sequential(nn.Upsample(scale_factor=2.0), conv_norm_relu(2 * w, w)) for w in widths[-2::-1]],
            [block(2 * w, w) for w in widths[-2::-1]],
            nn.Conv2d(base_channels, out_channels, kernel_size=1),
            [2 ** (levels - 1)] * 2,
        )
        xavier_(self)


class R2UNet(BlockUNet):
    """U-Net whose levels are a 1x1 entry and two recurrent convolutions, bridged by a sum.

    Shapes: ``(N, in_channels, H, W)`` in, logits ``(N, out_channels, H, W)`` out, any H and W.
    Args:
        steps: t, number of recurrent steps of a convolution.
    Source: Alom 2018 (arXiv:1802.06955), Figures 3 and 4; Wang 2020 (doi:10.1016/j.media.2020.101787), Table 3:
    39.09 M with 4 channels. The steps of a recurrent convolution share weights and batch normalisation.

    >>> R2UNet(4, base_channels=2)(torch.zeros(1, 4, 40, 40)).shape
    torch.Size([1, 2, 40, 40])
    """

    def __init__(
        self, in_channels: int = 4, out_channels: int = 2, base_channels: int = 64, levels: int = 5, steps: int = 2
    ) -> None:
        super().__init__(partial(RecurrentBlock, steps=steps), in_channels, out_channels, base_channels, levels)


class RecurrentBlock(nn.Module):
    """Bring the input to ``outs`` channels and add two recurrent convolutions of it."""

    def __init__(self, ins: int, outs: int, steps: int) -> None:
        super().__init__()
        self.entry = nn.Conv2d(ins, outs, kernel_size=1)
        self.path = nn.Sequential(RecurrentConv(outs, steps), RecurrentConv(outs, steps))

    def forward(self, x: Tensor) -> Tensor:
        x = self.entry(x)
        return x + self.path(x)


class RecurrentConv(nn.Module):
    """Convolve, then ``steps`` times convolve the sum of input and last result with the same weights."""

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
    Source: Xiao 2018 (ITME, doi:10.1109/ITME.2018.00080): a U-Net with residual units at each level. Wang 2020
    (doi:10.1016/j.media.2020.101787) does not describe them; its Table 3 gives 81.91 M. This reading has 81.67 M with 4
    channels, 0.24 M (0.3 %) less: the nearest we counted among U-Nets of 64 to 1024 channels with the same block at all
    levels, an entry of 1x1 or 3x3 (or 1x1 shortcuts) and units of two or three 3x3 or of 1x1, 3x3, 1x1 convolutions.
    Mixed blocks come within 0.01 M, but many do, and the paper does not say which was used.

    >>> WangResUNet(4, base_channels=2)(torch.zeros(1, 4, 40, 40)).shape
    torch.Size([1, 2, 40, 40])
    """

    def __init__(self, in_channels: int = 4, out_channels: int = 2, base_channels: int = 64, levels: int = 5) -> None:
        super().__init__(_level, in_channels, out_channels, base_channels, levels)


class ResidualUnit(nn.Module):
    """Add two convolutions to their input; ReLU follows the sum (He 2016, doi:10.1109/CVPR.2016.90, Figure 2)."""

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


_STEP = (2, 2, 1)
_DOWN, _UP = (1, 2, 3, 3, 3), (3, 3, 2, 1)


class AnisotropicVNet(UNetSkeleton):
    """V-Net with 3x3x3 kernels of unit padding; convolutions that halve or double have size and stride (2, 2, 1).

    Residual stages of 1, 2, 3, 3, 3 convolutions going down and 3, 3, 2, 1 going up, parametric ReLU. The first stage's
    input is repeated, channel after channel, to the width of its sum.

    Shapes: ``(N, in_channels, H, W, D)`` in, logits ``(N, out_channels, H, W, D)`` out; any D >= 1, H and W.
    Args:
        batch_norm: normalise after each convolution, which the publication does not.
    Raises: ``E-NET-27`` for impossible channels.
    Source: Milletari 2016 (arXiv:1606.04797), Figure 2; kernels and steps: Abulnaga 2018
    (doi:10.1007/978-3-030-11723-8_36), section 4.4.

    >>> AnisotropicVNet(5, base_channels=2)(torch.zeros(1, 5, 32, 32, 2)).shape  # volumes of two slices survive
    torch.Size([1, 2, 32, 32, 2])
    """

    def __init__(
        self, in_channels: int = 5, out_channels: int = 2, base_channels: int = 16, *, batch_norm: bool = False
    ) -> None:
        require_sizes("E-NET-27", self, channels=in_channels, classes=out_channels, base_channels=base_channels)
        widths = _widths(base_channels, len(_DOWN))
        ins = [in_channels, *widths[1:]]
        encoder = [_Stage(i, w, n, batch_norm) for i, w, n in zip(ins, widths, _DOWN, strict=True)]
        down = [_step(nn.Conv3d, w, 2 * w, batch_norm) for w in widths[:-1]]
        wide = [widths[-1], *(2 * w for w in widths[-2:0:-1])]
        up = [_step(nn.ConvTranspose3d, i, w, batch_norm) for i, w in zip(wide, widths[-2::-1], strict=True)]
        decoder = [_Stage(2 * w, 2 * w, n, batch_norm) for w, n in zip(widths[-2::-1], _UP, strict=True)]
        head = nn.Conv3d(2 * widths[0], out_channels, kernel_size=1)
        side = 2 ** (len(_DOWN) - 1)
        super().__init__(encoder, down, up, decoder, head, [side, side, 1], grown_first=True)


class _Stage(nn.Module):
    """Add the stage's input to the output of its last convolution, then PReLU."""

    def __init__(self, ins: int, outs: int, convolutions: int, batch_norm: bool) -> None:
        super().__init__()
        self.times, self.outs = -(-outs // ins), outs
        layers: list[nn.Module] = []
        for index in range(convolutions):
            layers += [nn.PReLU(outs)] if index else []
            layers += [nn.Conv3d(outs if index else ins, outs, kernel_size=3, padding=1)]
            layers += [LoneBatchNorm3d(outs)] if batch_norm else []
        self.path = nn.Sequential(*layers)
        self.act = nn.PReLU(outs)

    def forward(self, x: Tensor) -> Tensor:
        same = x.repeat(1, self.times, 1, 1, 1)[:, : self.outs] if self.times > 1 else x[:, : self.outs]
        return self.act(self.path(x) + same)


def _step(kind: type[nn.Module], ins: int, outs: int, batch_norm: bool) -> nn.Sequential:
    norm = [LoneBatchNorm3d(outs)] if batch_norm else []
    return nn.Sequential(kind(ins, outs, kernel_size=_STEP, stride=_STEP), *norm, nn.PReLU(outs))


class AnisotropicUNet(UNetSkeleton):
    """3D U-Net whose max pooling and transposed convolutions have size and stride (2, 2, 1).

    Shapes: ``(N, in_channels, H, W, D)`` in, logits ``(N, out_channels, H, W, D)`` out; any D >= 1, H and W.
    Args:
        base_channels: channels of the first convolution; each level ends with twice what its first one gives.
    Raises: ``E-NET-26`` for impossible sizes.
    Source: Çiçek 2016 (arXiv:1606.06650), Figure 2, convolutions padded (its 19 069 955 parameters are those of
    the convolutions at 3 channels and labels, and steps of 2 in depth too); steps: Abulnaga 2018
    (doi:10.1007/978-3-030-11723-8_36), section 4.4.

    >>> AnisotropicUNet(5, base_channels=2)(torch.zeros(1, 5, 32, 32, 2)).shape  # volumes of two slices survive
    torch.Size([1, 2, 32, 32, 2])
    """

    def __init__(self, in_channels: int = 5, out_channels: int = 2, base_channels: int = 32, levels: int = 4) -> None:
        sizes = {"channels": in_channels, "classes": out_channels, "base_channels": base_channels}
        require_sizes("E-NET-26", self, levels=levels, **sizes)
        widths = _widths(2 * base_channels, levels)
        side = 2 ** (levels - 1)
        block = partial(double_conv, dims=3, norm=LoneBatchNorm3d)
        super().__init__(
            [block(i, w // 2, w) for i, w in zip([in_channels, *widths[:-1]], widths, strict=True)],
            [nn.MaxPool3d(_STEP) for _ in widths[1:]],
            [nn.ConvTranspose3d(w, w, _STEP, stride=_STEP, bias=False) for w in widths[:0:-1]],
            [block(3 * w, w, w) for w in widths[-2::-1]],
            nn.Conv3d(widths[0], out_channels, kernel_size=1),
            [side, side, 1],
        )
