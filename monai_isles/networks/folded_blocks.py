"""The blocks of ``networks.blocks`` as they are once trained: batch norm folded, channels-last, lanes filled."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from monai_isles.networks.blocks import Down, PredictionDropout, ResidualBlock
from monai_isles.networks.channel_rows import RowAffine, RowPReLU
from monai_isles.inference.cpu.simd_conv import LaneConv

_MAX_POOL = {4: F.max_pool2d, 5: F.max_pool3d}


def affine_of(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Return scale and shift a channel of a batch norm in evaluation."""
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale


def folded_preactivated(layers: nn.Sequential) -> nn.Sequential:
    """Return batch norm, PReLU, convolution of ``blocks.preactivated`` with the statistics standing."""
    norm, prelu, conv = layers
    return nn.Sequential(RowAffine(*affine_of(norm)), RowPReLU(prelu.weight), LaneConv(conv))


class FoldedResidualBlock(nn.Module):
    """``ResidualBlock`` in evaluation: the second batch norm lies in the first convolution's weights.

    The first one cannot: its input is also what the block adds to.

    Shapes: ``(N, C, *spatial)`` channels-last in and out.
    Args:
        block: trained, left as it is.
    Source: ours; ``tests/inference/cpu/test_folded_res_unet.py``.
    """

    def __init__(self, block: ResidualBlock) -> None:
        super().__init__()
        layers = [part for part in block.path if isinstance(part, nn.Sequential)]
        self.site = PredictionDropout() if isinstance(block.path[0], PredictionDropout) else None
        head = folded_preactivated(layers[0])
        for norm, prelu, conv in layers[1:]:
            scale, shift = affine_of(norm)
            before = head[-1]
            spread = scale.view(-1, *[1] * (before.weight.dim() - 1))
            before.weight.copy_((before.weight * spread).detach())
            before.bias.copy_((before.bias * scale + shift).detach())
            head.extend([RowPReLU(prelu.weight), LaneConv(conv)])
        self.path = head

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Run the block; ``mask`` multiplies the input in place of what the site would do."""
        if mask is not None:
            return self.path(x * mask).add_(x)
        return self.path(x if self.site is None else self.site(x)).add_(x)


class FoldedDown(nn.Module):
    """``Down`` in evaluation.

    Shapes: ``(N, C, *spatial)`` channels-last in, ``(N, 2C, *spatial / 2)`` out.
    """

    def __init__(self, down: Down) -> None:
        super().__init__()
        self.conv = folded_preactivated(down.conv)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.conv(x), _MAX_POOL[x.dim()](x, 2)], dim=1)
