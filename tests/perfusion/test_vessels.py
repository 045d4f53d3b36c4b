from __future__ import annotations

import numpy as np
import pytest

from monai_isles.perfusion import find_vessels
from monai_isles.perfusion.vessels import saturated_curves


@pytest.fixture()
def voxels(aif, tissue) -> tuple[np.ndarray, np.ndarray]:
    """Brain with an artery that fills six tenths of a voxel; near the skull a pure vein and moving bone."""
    rng = np.random.default_rng(0)
    vein = np.concatenate([np.zeros(5, np.float32), aif[:-5]])
    step = np.where(np.arange(len(aif)) > 30, 400.0, 0.0)
    brain = np.stack([tissue(50, 4, 1)] * 3000 + [0.6 * aif] * 20)
    cranial = np.stack([tissue(50, 4, 1)] * 3000 + [vein] * 10 + [step] * 30)
    return tuple((a + rng.normal(0, 3, a.shape)).astype(np.float32) for a in (brain, cranial))


def test_a_thin_artery_is_scaled_to_the_area_of_the_vein(voxels, aif) -> None:
    found = find_vessels(*voxels, 1.0)
    assert found.measured_aif.sum() == pytest.approx(0.6 * aif.sum(), rel=0.1)
    assert found.aif.sum() == pytest.approx(aif.sum(), rel=0.05) and int(found.aif.argmax()) == int(aif.argmax())
    assert found.vof.max() < 1.1 * aif.max(), "moving bone was taken for a vein"


def test_scaling_can_be_left_out_and_never_shrinks_the_artery(voxels, aif) -> None:
    assert find_vessels(*voxels, 1.0, venous_scaling=False).scale == 1.0
    assert find_vessels(voxels[0], voxels[0][:3000], 1.0).scale == pytest.approx(1.0, abs=0.05)


def test_the_venous_curve_is_one_veins_and_not_a_mean_of_early_and_late_vessels(tissue, aif) -> None:
    """Arteries as wide as the vein lie up to the skull too: their mean would have two humps and half the height."""
    late = np.concatenate([np.zeros(6, np.float32), aif[:-6]])
    rng = np.random.default_rng(1)
    brain = np.stack([tissue(50, 4, 1)] * 3000 + [0.5 * aif] * 20)
    cranial = np.stack([tissue(50, 4, 1)] * 3000 + [0.91 * aif] * 4 + [0.9 * late] * 6)
    brain, cranial = ((a + rng.normal(0, 3, a.shape)).astype(np.float32) for a in (brain, cranial))
    found = find_vessels(brain, cranial, 1.0)
    assert found.vof.max() == pytest.approx(0.9 * aif.max(), rel=0.1)
    assert int(found.vof.argmax()) - int(aif.argmax()) in (5, 6, 7)


def test_a_vein_is_found_below_the_edges_of_moving_bone(tissue, aif) -> None:
    late = np.concatenate([np.zeros(6, np.float32), aif[:-6]])
    step = np.where(np.arange(len(aif)) > 25, 300.0, 0.0)
    brain = np.stack([tissue(50, 4, 1)] * 3000 + [aif] * 20)
    cranial = np.stack([tissue(50, 4, 1)] * 40000 + [late] * 10 + [step] * 600).astype(np.float32)
    cranial += np.random.default_rng(2).normal(0, 3, cranial.shape).astype(np.float32)
    found = find_vessels(brain.astype(np.float32), cranial, 1.0)
    assert found.vof.max() == pytest.approx(aif.max(), rel=0.1) and found.scale == 1.0


def test_a_taller_vein_is_no_artery(tissue, aif) -> None:
    """Two slices often hold more vein than artery: the vein fills the tallest curves, but it follows the tissue."""
    vein = 1.4 * np.concatenate([np.zeros(9, np.float32), aif[:-9]])
    brain = np.stack([tissue(50, 4, 1)] * 3000 + [0.5 * aif] * 14 + [vein] * 120)
    brain = (brain + np.random.default_rng(3).normal(0, 3, brain.shape)).astype(np.float32)
    found = find_vessels(brain, brain, 1.0)
    assert abs(int(found.measured_aif.argmax()) - int(aif.argmax())) <= 1
    assert found.lead_s > 1.5 and set(found.aif_index) <= set(range(3000, 3014))
    assert set(found.vof_index) <= set(range(3014, 3134)) and found.scale == pytest.approx(2.8, rel=0.1)


def test_without_an_artery_the_lead_is_negative(tissue, aif) -> None:
    vein = np.concatenate([np.zeros(9, np.float32), aif[:-9]])
    brain = np.stack([tissue(50, 4, 1)] * 3000 + [vein] * 60)
    found = find_vessels((brain + np.random.default_rng(4).normal(0, 2, brain.shape)).astype(np.float32), brain, 1.0)
    tissue_peak = int(tissue(50, 4, 1).argmax())
    assert found.lead_s == pytest.approx(tissue_peak - (int(aif.argmax()) + 9), abs=1.0) and found.lead_s < 0


def test_voxels_that_are_cut_off_are_left_out_where_others_remain(tissue, aif) -> None:
    rng = np.random.default_rng(5)
    whole = 0.8 * aif + rng.normal(0, 2, (12, len(aif)))
    cut = np.minimum(1.2 * aif + rng.normal(0, 2, (12, len(aif))), 170.0)
    rest = tissue(50, 4, 1) + rng.normal(0, 2, (3000, len(aif)))
    assert saturated_curves(cut).all() and not saturated_curves(whole).any()
    some = find_vessels(np.concatenate([rest, whole, cut]).astype(np.float32), rest.astype(np.float32), 1.0)
    assert some.saturated == 0.0 and some.measured_aif.max() == pytest.approx(0.8 * aif.max(), rel=0.05)
    none = find_vessels(np.concatenate([rest, cut]).astype(np.float32), rest.astype(np.float32), 1.0)
    assert none.saturated == 1.0
