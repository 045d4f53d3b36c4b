"""The block around the brain and its filling, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_isles.inference.windows_plan import brain_box, filled_up


def test_the_box_holds_the_brain_of_all_slices_and_the_margin_within_the_image() -> None:
    mask = np.zeros((40, 30, 3), bool)
    mask[10, 5, 0] = mask[20, 25, 2] = True
    assert brain_box(mask, (4, 8)) == (slice(6, 25), slice(0, 30))
    assert brain_box(np.zeros((40, 30, 3), bool), (4, 8)) == (slice(0, 40), slice(0, 30))


@pytest.mark.parametrize(("size", "filled"), [((16, 32), (16, 32)), ((17, 31), (32, 32)), ((1, 1), (16, 16))])
def test_zeros_fill_up_to_the_next_multiple(size: tuple[int, int], filled: tuple[int, int]) -> None:
    image, mask = filled_up(torch.ones(2, *size, 3), np.ones((*size, 3), bool), 16)
    assert image.shape == (2, *filled, 3) and mask.shape == (*filled, 3)
    assert mask.sum() == np.prod(size) * 3 and float(image.sum()) == 2 * mask.sum()
