from __future__ import annotations

import numpy as np
import pytest

from monai_isles.phantom.ct.stroke import draw_stroke, level_of_largest, territories
from monai_isles.phantom.ct.subject import Protocol, make_patient


@pytest.mark.parametrize(
    ("point", "name"), [((45, 0, 20), "mca"), ((-4, 40, 30), "aca"), ((12, -85, 5), "pca"), ((-25, 5, 5), "mca")]
)
def test_well_known_places_lie_in_their_territory(point: tuple[float, float, float], name: str) -> None:
    parts = territories(np.array([point], np.float32))
    assert parts[name][0] > 0.7
    assert sum(p[0] for p in parts.values()) == pytest.approx(1.0, abs=1e-5)


def test_small_lesions_come_from_smaller_vessels_than_large_ones() -> None:
    small = [draw_stroke(np.random.default_rng(i), lesion_ml=3, level_mm=20, height_mm=10).occlusion for i in range(60)]
    large = [
        draw_stroke(np.random.default_rng(i), lesion_ml=120, level_mm=20, height_mm=10).occlusion for i in range(60)
    ]
    assert sum(o in {"ica", "m1"} for o in large) > 50 > 20 > sum(o in {"ica", "m1"} for o in small)


def test_the_cut_keeps_the_asked_number_of_voxels() -> None:
    values = np.random.default_rng(0).random(1000)
    assert (values > level_of_largest(values, 120)).sum() in {119, 120}


@pytest.fixture(scope="module")
def two_slabs():
    return make_patient(
        3,
        seed=11,
        protocol=Protocol(slices=2, frames=46, dt_s=1.0, spacing_mm=(0.9, 0.9, 12.0), slabs=2, lesion_ml=30.0),
    )


def test_two_slabs_are_adjacent_scans_of_one_head_in_one_pose(two_slabs) -> None:
    low, high = (s.pose for s in two_slabs.slabs)
    assert (low.tilt_deg, low.shift_px, low.roll_deg) == (high.tilt_deg, high.shift_px, high.roll_deg)
    assert high.level_mm > low.level_mm
    assert len({s.grid for s in two_slabs.slabs}) == 1


def test_the_lesion_has_the_drawn_volume_and_lies_on_one_side(two_slabs) -> None:
    total = sum(two_slabs.lesion(s).sum() * s.grid.voxel_ml for s in two_slabs.slabs)
    assert total == pytest.approx(60.0, rel=0.1)
    for slab in two_slabs.slabs:
        side = slab.tissues.fill(np.sign(slab.tissues.head_mm[:, 0]))[two_slabs.lesion(slab)]
        assert (side == two_slabs.stroke.side).mean() > 0.97


def test_the_core_lies_inside_the_penumbra(two_slabs) -> None:
    slab = two_slabs.slabs[0]
    assert two_slabs.penumbra_level < two_slabs.core_level < two_slabs.worst_level
    assert two_slabs.region_ml(slab, two_slabs.penumbra_level) > two_slabs.region_ml(slab, two_slabs.core_level) > 0
