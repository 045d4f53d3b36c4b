"""The recurrent residual U-Net of Alom 2018, which Wang 2020 compares with."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from monai_isles.networks.unets import BlockUNet, conv_norm_relu


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
