"""Inputs are filled up to what a network can halve, and cropped back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.networks.nets import UNet

from monai_isles.networks.blocks import AnySize, crop_to, pad_to_multiple


@pytest.mark.parametrize(
    ("shape", "multiple", "padded"),
    [
        ((2, 3, 33, 47), [16, 16], (48, 48)),
        ((1, 1, 32, 64), [16, 16], (32, 64)),
        ((1, 2, 240, 200, 1), [16, 16, 1], (240, 208, 1)),
        ((1, 2, 7, 5, 3), [8, 4, 2], (8, 8, 4)),
    ],
)
def test_sizes_grow_to_the_next_multiple_by_the_border_s_values_and_come_back(
    shape: tuple[int, ...], multiple: list[int], padded: tuple[int, ...]
) -> None:
    x = torch.rand(shape) + 1
    grown, sizes = pad_to_multiple(x, multiple)
    assert tuple(grown.shape[2:]) == padded
    assert torch.equal(crop_to(grown, sizes), x)
    wanted = np.pad(x.numpy(), [(0, 0), (0, 0), *((0, n - s) for n, s in zip(padded, shape[2:], strict=True))], "edge")
    np.testing.assert_array_equal(grown.numpy(), wanted)


def test_the_background_s_value_after_a_z_score_fills_the_border() -> None:
    """Background 0 becomes -1.5 when the image has mean 3 and deviation 2; so does what is filled in."""
    image = torch.zeros(1, 1, 5, 6, 2)
    image[:, :, 1:4, 1:4] = 7.0
    grown, _ = pad_to_multiple((image - 3) / 2, [8, 8, 1])
    assert (grown[:, :, 5:] == -1.5).all() and (grown[..., 6:, :] == -1.5).all()


def test_a_plain_network_takes_any_size_and_is_unchanged_where_the_size_fits() -> None:
    plain = UNet(2, 3, 2, channels=(2, 4, 4), strides=(2, 2)).eval()
    any_size = AnySize(plain, multiple=4)
    fits, odd = torch.rand(1, 3, 16, 24), torch.rand(2, 3, 17, 23)
    assert torch.equal(any_size(fits), plain(fits)) and any_size(odd).shape == (2, 2, 17, 23)
    with pytest.raises(RuntimeError):
        plain(odd)
