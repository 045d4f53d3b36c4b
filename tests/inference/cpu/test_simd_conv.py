"""Neighbouring pixels as channels: the same convolution, product for product."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from monai_isles.inference.cpu.folded_res_unet import LaneConv, side_by_side

LAST = {2: torch.channels_last, 3: torch.channels_last_3d}


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("ins", "outs", "pixels"),
    [(10, 8, 16), (8, 2, 16), (8, 2, 12), (3, 1, 32), (4, 16, 8), (4, 20, 8), (3, 2, 8), (1, 2, 8)],
)
def test_it_equals_the_plain_convolution(dims: int, stride: int, ins: int, outs: int, pixels: int) -> None:
    conv = {2: nn.Conv2d, 3: nn.Conv3d}[dims](ins, outs, 3, stride=stride, padding=1)
    x = torch.randn(2, ins, *[6] * (dims - 1), pixels).contiguous(memory_format=LAST[dims])
    with torch.no_grad():
        plain, ours = conv(x), LaneConv(conv)(x)
    torch.testing.assert_close(ours, plain, atol=1e-5, rtol=0)
    assert ours.is_contiguous(memory_format=LAST[dims])


@pytest.mark.parametrize(
    ("outs", "pixels", "stride", "together"),
    [
        (8, 64, 1, 2),
        (2, 64, 1, 4),
        (2, 12, 1, 4),
        (2, 6, 1, 2),
        (8, 6, 2, 1),
        (32, 64, 1, 1),
        (8, 7, 1, 1),
        (2, 4, 1, 2),
    ],
)
def test_as_many_neighbours_as_fill_sixteen_lanes_and_divide_the_row(
    outs: int, pixels: int, stride: int, together: int
) -> None:
    assert LaneConv(nn.Conv2d(4, outs, 3, stride=stride, padding=1)).neighbours(pixels) == together


def test_the_kernels_lie_side_by_side() -> None:
    wide = side_by_side(torch.tensor([1.0, 2.0, 3.0]).view(1, 1, 1, 3), 2, stride=1)
    assert wide.flatten(1).tolist() == [[1, 2, 3, 0], [0, 1, 2, 3]]
    assert side_by_side(torch.ones(1, 1, 1, 3), 2, stride=2).flatten(1).tolist() == [[1, 1, 1, 0, 0], [0, 0, 1, 1, 1]]
