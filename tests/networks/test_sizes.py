"""Inputs are filled up to what a network can halve, and cropped back."""

from __future__ import annotations

import pytest
import torch

from monai_isles.networks.blocks import cropped_to, padded_to


@pytest.mark.parametrize(
    ("shape", "multiple", "padded"),
    [
        ((2, 3, 33, 47), [16, 16], (48, 48)),
        ((1, 1, 32, 64), [16, 16], (32, 64)),
        ((1, 2, 240, 200, 1), [16, 16, 1], (240, 208, 1)),
        ((1, 2, 7, 5, 3), [8, 4, 2], (8, 8, 4)),
    ],
)
def test_sizes_grow_to_the_next_multiple_with_zeros_at_the_end_and_come_back(
    shape: tuple[int, ...], multiple: list[int], padded: tuple[int, ...]
) -> None:
    x = torch.rand(shape) + 1
    grown, sizes = padded_to(x, multiple)
    assert tuple(grown.shape[2:]) == padded
    assert torch.equal(cropped_to(grown, sizes), x)
    assert int((grown == 0).sum()) == grown.numel() - x.numel()
