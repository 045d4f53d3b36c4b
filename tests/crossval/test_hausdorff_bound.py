"""The largest way back is exact, though most points are never asked."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import KDTree

from monai_isles.crossval import case_grid as way_back
from monai_isles.crossval.case_grid import HausdorffBound

CROSS = ndimage.generate_binary_structure(3, 1)


def surface(mask: np.ndarray) -> np.ndarray:
    return np.argwhere(mask & ~ndimage.binary_erosion(mask, CROSS))


def growing(seed: int, shape: tuple[int, int, int]) -> tuple[np.ndarray, list[np.ndarray]]:
    """A reference, and masks that each hold the one before."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=shape), (2, 2, 0.7))
    reference = ndimage.gaussian_filter(rng.normal(size=shape), (3, 3, 0.7)) > 0.02
    return reference, [field > np.quantile(field, q) for q in (0.999, 0.99, 0.9, 0.7, 0.4, 0.1)]


@pytest.mark.parametrize("seed", range(10))
def test_every_growing_mask_gives_the_distance_of_all_points(seed: int) -> None:
    shape = ((40, 30, 1), (30, 30, 2), (24, 24, 9))[seed % 3]
    reference, masks = growing(seed, shape)
    points = surface(reference)
    back = HausdorffBound(points, shape, sizes=1)
    for mask in masks:
        back.lower()
        back.add(surface(mask))
        assert back.largest(0, 0.0) == KDTree(surface(mask)).query(points)[0].max()


def test_a_set_may_grow_by_parts_from_size_to_size() -> None:
    points = np.array([[0, 0, 0], [9, 0, 0], [30, 0, 0]])
    back = HausdorffBound(points, (40, 1, 1), sizes=2)
    back.add(np.array([[2, 0, 0]]))
    assert back.largest(0, 0.0) == 28.0
    back.add(np.array([[29, 0, 0]]))
    assert back.largest(1, 0.0) == 7.0  # 9 is 7 from 2


def test_what_is_larger_anyway_is_returned_without_a_question(monkeypatch: pytest.MonkeyPatch) -> None:
    back = HausdorffBound(np.array([[0, 0, 0], [9, 0, 0]]), (40, 1, 1), sizes=1)
    back.add(np.array([[2, 0, 0]]))
    assert back.largest(0, 5.0) == 7.0
    monkeypatch.setattr(way_back, "KDTree", None)
    back.lower()
    back.add(np.array([[3, 0, 0]]))
    assert back.largest(0, 8.0) == 8.0
