"""The residual U-Net that Wang 2020 compares with, in the reading nearest to its size."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from monai_isles.networks.unets import BlockUNet, conv_norm_relu
from monai_isles.networks.lone_batch_norm import LoneBatchNorm2d


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
