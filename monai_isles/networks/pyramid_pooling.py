"""Pyramid pooling: what a map holds on average, over all of it and over ever smaller parts of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from monai_isles.networks.lone_batch_norm import LoneBatchNorm2d


class PyramidPooling(nn.Module):
    """Put averages over a 1x1, 2x2, 3x3 and 6x6 grid beside the map they come from.

    Each grid goes through a 1x1 convolution to an equal share of the channels, batch normalisation and ReLU, and is
    upsampled bilinearly (corners not aligned). The 1x1 grid of one slice holds a single value a channel:
    ``LoneBatchNorm2d`` says how it is normalised.

    Shapes: ``(N, C, H, W)`` in, ``(N, C + len(bins) * (C // len(bins)), H, W)`` out, ``out_channels`` of them; any H
    and W, also below the bins.
    Source: Zhao 2017 (arXiv:1612.01105); Abulnaga 2018 (doi:10.1007/978-3-030-11723-8_36), section 4.2.
    """

    def __init__(self, channels: int, bins: Sequence[int] = (1, 2, 3, 6)) -> None:
        super().__init__()
        share = channels // len(bins)
        self.out_channels = channels + len(bins) * share
        self.branches = nn.ModuleList(_Branch(channels, share, size) for size in bins)

    def forward(self, x: Tensor) -> Tensor:
        maps = [x]
        for branch in self.branches:
            maps.append(branch(x))
        return torch.cat(maps, dim=1)


class _Branch(nn.Module):
    def __init__(self, ins: int, outs: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.conv = nn.Conv2d(ins, outs, kernel_size=1, bias=False)
        self.norm = LoneBatchNorm2d(outs)

    def forward(self, x: Tensor) -> Tensor:
        rows = _averaging(x.shape[2], self.size, x)
        columns = _averaging(x.shape[3], self.size, x)
        y = rows @ x @ columns.transpose(0, 1)
        y = F.relu(self.norm(self.conv(y)))
        return F.interpolate(y, size=x.shape[2:], mode="bilinear", align_corners=False)


def _averaging(size: int, bins: int, like: Tensor) -> Tensor:
    """Return the matrix that averages ``size`` values to ``bins``, as adaptive pooling does, for graphs of any size.

    Shapes: ``(bins, size)``; row i is 1 / count from floor(i size / bins) up to ceil((i + 1) size / bins).
    """
    place = torch.arange(size, device=like.device)
    first = torch.arange(bins, device=like.device)[:, None] * size
    inside = (place >= first // bins) & (place < (first + size + bins - 1) // bins)
    weight = inside.to(like.dtype)
    return weight / weight.sum(dim=1, keepdim=True)
