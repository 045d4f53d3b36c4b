from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from monai_isles.perfusion import smooth_in_plane
from monai_isles.perfusion.masks import smooth_slices, smoothing_matrix


def test_equals_scipys_gaussian_far_from_the_edge() -> None:
    image = torch.zeros(1, 41, 41, 1)
    image[0, 20, 20, 0] = 1.0
    ours = smooth_in_plane(image, torch.ones(41, 41, 1), fwhm_mm=4.71, spacing_mm=(1.0, 0.5))[0, :, :, 0].numpy()
    theirs = ndimage.gaussian_filter(image[0, :, :, 0].numpy(), (2.0, 4.0), truncate=8)
    assert np.abs(ours - theirs)[10:31, 10:31].max() < 1e-3 * theirs.max()


@pytest.mark.parametrize("fwhm_mm", [0.0, 6.0])
def test_a_constant_inside_the_mask_stays_constant(fwhm_mm: float) -> None:
    mask = torch.zeros(30, 30, 2, dtype=torch.bool)
    mask[8:20, 5:25] = True
    images = torch.where(mask, 7.0, 1000.0)[None]
    out = smooth_in_plane(images, mask, fwhm_mm=fwhm_mm, spacing_mm=(0.9, 0.9))
    assert torch.allclose(out[0][mask], torch.tensor(7.0), atol=1e-4)
    assert not out[0][~mask].any()


@pytest.mark.parametrize("fwhm_mm", [0.0, 5.0])
def test_slices_first_and_cut_kernels_give_the_same(fwhm_mm: float) -> None:
    images, mask = torch.rand(2, 70, 101, 3), torch.rand(70, 101, 3) > 0.2
    slow = smooth_in_plane(images, mask, fwhm_mm=fwhm_mm, spacing_mm=(0.9, 1.1))
    fast = smooth_slices(
        images.permute(0, 3, 1, 2), mask.permute(2, 0, 1), fwhm_mm=fwhm_mm, spacing_mm=(0.9, 1.1)
    ).permute(0, 2, 3, 1)
    assert torch.allclose(fast, slow, atol=1e-4)


def test_kernels_hold_no_subnormal_numbers_which_slow_products_down() -> None:
    kernel = smoothing_matrix(512, 3.0, 0.45)
    assert kernel[kernel > 0].min() > torch.finfo(torch.float32).tiny
