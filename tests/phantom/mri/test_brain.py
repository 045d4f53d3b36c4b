from __future__ import annotations

import numpy as np
import pytest

from monai_isles.phantom.ct.anatomy import Grid, Pose, Subject
from monai_isles.phantom.mri.brain import Brain, brain_of, infratentorial


@pytest.fixture(scope="module")
def brain() -> Brain:
    pose = Pose(tilt_deg=0.0, shift_px=(0.0, 0.0), roll_deg=0.0, level_mm=7.0)
    subject = Subject(np.random.default_rng(1))
    return brain_of(np.random.default_rng(2), subject, pose, Grid((77, 77, 51), (3.0, 3.0, 3.0)))


def test_a_brain_has_the_volume_and_tissues_of_a_brain(brain: Brain) -> None:
    litres = len(brain.index) * brain.grid.voxel_ml / 1000
    assert 1.1 < litres < 1.9
    assert np.allclose(brain.gm + brain.wm + brain.csf, 1, atol=0.02)
    assert 0.35 < brain.gm.mean() < 0.6 and 0.2 < brain.wm.mean() < 0.45 and 0.05 < brain.csf.mean() < 0.3


def test_sulci_lie_near_the_surface_and_ventricles_in_the_middle(brain: Brain) -> None:
    fluid = brain.csf > 0.6
    ventricles = fluid & (brain.depth > 30)
    assert np.abs(brain.atlas_mm[ventricles, 0]).mean() < 22
    assert brain.csf[brain.depth < 8].mean() > 2 * brain.csf[(brain.depth > 12) & (brain.depth < 25)].mean()
    assert brain.periventricular[ventricles].mean() > 0.8 > 0.1 > brain.periventricular[brain.depth < 8].mean()


def test_box_and_grid_hold_each_value_at_its_place(brain: Brain) -> None:
    heights = brain.whole(brain.head_mm[:, 2])
    assert heights.shape == brain.grid.shape
    z = np.nonzero(heights)[2]
    assert np.corrcoef(z, heights[heights != 0])[0, 1] > 0.999
    assert np.array_equal(brain.fill(brain.gm).ravel()[brain.index], brain.gm)


@pytest.mark.parametrize(
    ("point", "below"),
    [
        ((20, -65, -35), True),
        ((0, -30, -40), True),
        ((45, -10, 30), False),
        ((48, -5, -22), False),
        ((8, -85, 5), False),
    ],
    ids=["cerebellum", "brainstem", "frontal", "temporal", "occipital"],
)
def test_the_tentorium_parts_cerebellum_and_brainstem_from_the_rest(
    point: tuple[float, float, float], *, below: bool
) -> None:
    assert (infratentorial(np.array([point], np.float32))[0] > 0.5) == below
