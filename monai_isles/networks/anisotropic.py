"""The 3D U-Net of Çiçek 2016 with pooling in plane only."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from monai_isles.errors import refused
from monai_isles.networks.blocks import cropped_to, padded_to
from monai_isles.networks.norms import LoneBatchNorm3d

_STEP = (2, 2, 1)
_DOWN, _UP = (1, 2, 3, 3, 3), (3, 3, 2, 1)


class AnisotropicVNet(nn.Module):
    """V-Net with 3x3x3 kernels of unit padding; convolutions that halve or double have size and stride (2, 2, 1).

    Residual stages of 1, 2, 3, 3, 3 convolutions going down and 3, 3, 2, 1 going up, parametric ReLU. The first stage's
    input is repeated, channel after channel, to the width of its sum.

    Shapes: ``(N, in_channels, H, W, D)`` in, logits ``(N, out_channels, H, W, D)`` out; any D >= 1, any H and W: zeros
    fill the plane up to the next multiple of 16 and the logits are cropped back.
    Args:
        base_channels: channels of the first stage; doubled by each step down.
        batch_norm: normalise after each convolution, which the publication does not.
    Raises:
        IslesError: ``E-NET-27`` for impossible channels.
    Source: Milletari 2016 (arXiv:1606.04797), Figure 2; kernels and steps: Abulnaga 2018
    (doi:10.1007/978-3-030-11723-8_36), section 4.4.
    """

    def __init__(
        self, in_channels: int = 5, out_channels: int = 2, base_channels: int = 16, *, batch_norm: bool = False
    ) -> None:
        super().__init__()
        if min(in_channels, out_channels, base_channels) < 1:
            raise refused(
                "E-NET-27", where="AnisotropicVNet", found=f"channels {in_channels}, {out_channels}, {base_channels}"
            )
        widths = [base_channels * 2**level for level in range(len(_DOWN))]
        self.divisor = 2 ** (len(_DOWN) - 1)
        ins = [in_channels, *widths[1:]]
        self.encoder = nn.ModuleList(_Stage(i, w, n, batch_norm) for i, w, n in zip(ins, widths, _DOWN, strict=True))
        self.down = nn.ModuleList(_step(nn.Conv3d, w, 2 * w, batch_norm) for w in widths[:-1])
        wide = [widths[-1], *(2 * w for w in widths[-2:0:-1])]
        self.up = nn.ModuleList(
            _step(nn.ConvTranspose3d, i, w, batch_norm) for i, w in zip(wide, widths[-2::-1], strict=True)
        )
        self.decoder = nn.ModuleList(
            _Stage(2 * w, 2 * w, n, batch_norm) for w, n in zip(widths[-2::-1], _UP, strict=True)
        )
        self.head = nn.Conv3d(2 * widths[0], out_channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        x, sizes = padded_to(x, [self.divisor, self.divisor, 1])
        skips: list[Tensor] = []
        for level, stage in enumerate(self.encoder):
            x = stage(x)
            skips.append(x)
            for step, shrink in enumerate(self.down):
                if step == level:
                    x = shrink(x)
        skips.pop()
        for grow, stage in zip(self.up, self.decoder):  # noqa: B905 (TorchScript)
            x = stage(torch.cat([grow(x), skips.pop()], dim=1))
        return cropped_to(self.head(x), sizes)


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


class AnisotropicUNet(nn.Module):
    """3D U-Net whose max pooling and transposed convolutions have size and stride (2, 2, 1).

    Shapes: ``(N, in_channels, H, W, D)`` in, logits ``(N, out_channels, H, W, D)`` out; any D >= 1, any H and W: zeros
    fill the plane up to the next multiple of ``2 ** (levels - 1)`` and the logits are cropped back.
    Args:
        base_channels: channels of the first convolution; each level ends with twice what its first one gives.
    Raises:
        IslesError: ``E-NET-26`` for impossible sizes.
    Source: Çiçek 2016 (arXiv:1606.06650), Figure 2, convolutions padded (its 19 069 955 parameters are those of
    the convolutions at 3 channels and labels, and steps of 2 in depth too); steps: Abulnaga 2018
    (doi:10.1007/978-3-030-11723-8_36), section 4.4.
    """

    def __init__(self, in_channels: int = 5, out_channels: int = 2, base_channels: int = 32, levels: int = 4) -> None:
        super().__init__()
        if levels < 2 or min(in_channels, out_channels, base_channels) < 1:
            raise refused(
                "E-NET-26",
                where="AnisotropicUNet",
                found=f"{levels} levels, channels {in_channels}, {out_channels}, {base_channels}",
            )
        widths = [2 * base_channels * 2**level for level in range(levels)]
        self.divisor = 2 ** (levels - 1)
        self.encoder = nn.ModuleList(
            _double_conv(i, w // 2, w) for i, w in zip([in_channels, *widths[:-1]], widths, strict=True)
        )
        self.pool = nn.MaxPool3d(_STEP)
        self.up = nn.ModuleList(nn.ConvTranspose3d(w, w, _STEP, stride=_STEP, bias=False) for w in widths[:0:-1])
        self.decoder = nn.ModuleList(_double_conv(3 * w, w, w) for w in widths[-2::-1])
        self.head = nn.Conv3d(widths[0], out_channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        x, sizes = padded_to(x, [self.divisor, self.divisor, 1])
        skips: list[Tensor] = []
        for level, block in enumerate(self.encoder):
            x = block(self.pool(x) if level > 0 else x)
            skips.append(x)
        skips.pop()
        for grow, block in zip(self.up, self.decoder):  # noqa: B905 (TorchScript)
            x = block(torch.cat([skips.pop(), grow(x)], dim=1))
        return cropped_to(self.head(x), sizes)


def _double_conv(ins: int, middle: int, outs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(ins, middle, kernel_size=3, padding=1),
        LoneBatchNorm3d(middle),
        nn.ReLU(inplace=True),
        nn.Conv3d(middle, outs, kernel_size=3, padding=1),
        LoneBatchNorm3d(outs),
        nn.ReLU(inplace=True),
    )
