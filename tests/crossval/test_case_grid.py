"""The grid of one case equals the plain loop over thresholds and sizes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from monai_isles.crossval.protocols import SIZES_VOX, THRESHOLDS, case_grid
from monai_isles.errors import IslesError
from monai_isles.metrics import dsc, hd_vox
from monai_isles.postprocessing import binarise


def blobs(seed: int, shape: tuple[int, ...] = (40, 36, 4), smooth: float = 2.0) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), (smooth, smooth, 0.5))
    return ((noise - noise.min()) / np.ptp(noise)).astype(np.float32)


def plain(probability: np.ndarray, reference: np.ndarray, thresholds, sizes) -> tuple[np.ndarray, np.ndarray]:
    masks = [binarise(probability, threshold, size) for threshold in thresholds for size in sizes]
    both = np.array([(dsc(mask, reference), hd_vox(mask, reference)) for mask in masks]).reshape(
        len(thresholds), len(sizes), 2
    )
    return both[..., 0], both[..., 1]


@pytest.mark.parametrize("seed", range(12))
def test_grid_equals_the_plain_loop_on_random_maps(seed: int) -> None:
    shape = (40, 36, 1) if seed % 3 == 0 else (40, 36, 4)
    probability, reference = blobs(seed, shape), blobs(100 + seed, shape) > 0.62
    sizes = (1, 4, 10, 50, 100, 400)
    dice, hd, excess = case_grid(probability, reference, THRESHOLDS, sizes)
    wanted_dsc, wanted_hd = plain(probability, reference, THRESHOLDS, sizes)
    masks = [int(binarise(probability, threshold, size).sum()) for threshold in THRESHOLDS for size in sizes]
    np.testing.assert_array_equal(excess.ravel(), np.array(masks) - int(reference.sum()))
    np.testing.assert_array_equal(dice, wanted_dsc)
    np.testing.assert_allclose(hd, wanted_hd, rtol=1e-12, equal_nan=True)


@pytest.mark.parametrize("case", ["no reference", "no prediction", "neither", "full reference", "size order"])
def test_grid_equals_the_plain_loop_where_a_side_is_empty_or_full(case: str) -> None:
    probability, reference = blobs(3), blobs(103) > 0.6
    sizes = SIZES_VOX[::-1] if case == "size order" else (0, 1, *SIZES_VOX)
    if case in ("no reference", "neither"):
        reference = np.zeros_like(reference)
    if case in ("no prediction", "neither"):
        probability = np.zeros_like(probability)
    if case == "full reference":
        reference = np.ones_like(reference)
    dice, hd, _ = case_grid(probability, reference, (0.4, 0.6, 0.95), sizes)
    wanted_dsc, wanted_hd = plain(probability, reference, (0.4, 0.6, 0.95), sizes)
    np.testing.assert_array_equal(dice, wanted_dsc)
    np.testing.assert_allclose(hd, wanted_hd, rtol=1e-12, equal_nan=True)


@pytest.mark.parametrize("seed", range(6))
def test_grid_equals_the_plain_loop_where_the_order_of_the_grid_is_mixed(seed: int) -> None:
    shape = ((30, 26, 9), (26, 30, 2), (50, 50, 1))[seed % 3]
    probability, reference = blobs(200 + seed, shape, smooth=1.3), blobs(300 + seed, shape, smooth=3.0) > 0.5
    thresholds, sizes = (0.6, 0.3, 0.45, 0.3, 0.5, 0.55), (5, 200, 1, 30, 30, 2)
    dice, hd, _ = case_grid(probability, reference, thresholds, sizes)
    wanted_dsc, wanted_hd = plain(probability, reference, thresholds, sizes)
    np.testing.assert_array_equal(dice, wanted_dsc)
    np.testing.assert_allclose(hd, wanted_hd, rtol=1e-12, equal_nan=True)


def test_a_slice_alone_is_searched_in_the_plane() -> None:
    probability, reference = blobs(5)[..., 0], blobs(105)[..., 0] > 0.55
    dice, hd, _ = case_grid(probability, reference, (0.4, 0.6), (1, 20))
    wanted_dsc, wanted_hd = plain(probability, reference, (0.4, 0.6), (1, 20))
    np.testing.assert_array_equal(dice, wanted_dsc)
    np.testing.assert_allclose(hd, wanted_hd, rtol=1e-12, equal_nan=True)


def test_a_small_component_far_away_counts_until_its_size_is_asked_for() -> None:
    probability, reference = np.zeros((60, 10, 1), np.float32), np.zeros((60, 10, 1), bool)
    reference[0:4, 0:4] = True
    probability[0:4, 0:4], probability[50, 0] = 0.9, 0.5
    dice, hd, _ = case_grid(probability, reference, (0.3, 0.6), (1, 2, 17))
    assert hd[0, 0] == 47.0 and hd[0, 1] == 0.0  # from voxel 50 to voxel 3
    assert dice[0, 0] == pytest.approx(32 / 33) and dice[1, 0] == 1.0
    assert dice[0, 2] == 0.0 and np.isnan(hd[0, 2])  # nothing of 17 voxels: one side empty


def test_other_shapes_and_impossible_grids_are_refused() -> None:
    volume = np.zeros((4, 4, 1), np.float32)
    with pytest.raises(IslesError, match="E-MET-01"):
        case_grid(volume, np.zeros((4, 4, 2), bool), (0.5,), (1,))
    with pytest.raises(IslesError, match="E-POST-02"):
        case_grid(volume, volume > 0, (1.5,), (1,))
    with pytest.raises(IslesError, match="E-POST-03"):
        case_grid(volume, volume > 0, (0.5,), (-1,))
