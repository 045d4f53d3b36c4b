from __future__ import annotations

import numpy as np
import pytest

from monai_isles.errors import IslesError
from monai_isles.perfusion import arterial_curve


@pytest.fixture()
def voxels(aif, tissue) -> np.ndarray:
    """3000 tissue voxels, 20 of an artery, 20 of a late artery, 40 of a taller vein; 2 HU of noise."""
    late, vein = np.roll(aif, 6), 1.3 * np.roll(aif, 4)
    rows = [tissue(50, 4, 1)] * 3000 + [aif] * 20 + [late] * 20 + [vein] * 40
    return (np.stack(rows) + np.random.default_rng(0).normal(0, 2, (3080, len(aif)))).astype(np.float32)


def test_the_artery_is_the_early_one_and_not_the_tallest(voxels, aif) -> None:
    chosen = arterial_curve(voxels, 1.0)
    assert np.abs(chosen - aif).max() < 5


def test_a_series_without_vessels_is_refused() -> None:
    noise = np.random.default_rng(0).normal(0, 2, (500, 40)).astype(np.float32)
    with pytest.raises(IslesError, match=r"E-PERF-03: no artery stands out(?s:.*)500 curves"):
        arterial_curve(noise, 1.0)


def test_no_voxels_at_all_are_refused() -> None:
    with pytest.raises(IslesError, match=r"E-PERF-03(?s:.*)no voxel in 0 curves"):
        arterial_curve(np.zeros((0, 40), np.float32), 1.0)


def test_the_edge_of_bone_in_a_head_that_moved_is_no_artery(voxels, aif) -> None:
    """Its curves are taller, and high before the bolus or jump up and down: 400 of them beside 20 of the artery."""
    before = np.where(np.arange(len(aif)) < 4, 500.0, 0.0)
    jumps = 500.0 * (np.arange(len(aif)) % 3 == 0)
    chosen = arterial_curve(np.concatenate([voxels, np.stack([before, jumps] * 200)]).astype(np.float32), 1.0)
    assert np.abs(chosen - aif).max() < 5
