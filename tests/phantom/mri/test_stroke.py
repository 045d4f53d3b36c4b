from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from monai_isles.phantom.ct.anatomy import Grid, Pose, Subject
from monai_isles.phantom.mri.brain import Brain, brain_of, infratentorial
from monai_isles.phantom.mri.facts import SISS, SPES
from monai_isles.phantom.mri.stroke import BrainIschaemia, draw_mri_stroke, draw_region


@pytest.fixture(scope="module")
def brain() -> Brain:
    pose = Pose(0.0, (0.0, 0.0), 0.0, 7.0)
    subject = Subject(np.random.default_rng(1))
    return brain_of(np.random.default_rng(2), subject, pose, Grid((77, 77, 51), (3.0, 3.0, 3.0)))


def test_siss_strokes_lie_everywhere_and_spes_strokes_in_the_middle_cerebral_artery() -> None:
    drawn = [draw_mri_stroke(np.random.default_rng(i), lesion_ml=4.0 + i % 50, kind=SISS) for i in range(200)]
    kinds = {s.occlusion for s in drawn}
    assert {"m1", "m3", "aca", "pca", "cerebellar", "perforator"} <= kinds
    assert 60 < sum(s.side > 0 for s in drawn) < 140
    acute = {draw_mri_stroke(np.random.default_rng(i), lesion_ml=10.0, kind=SPES).occlusion for i in range(100)}
    assert acute <= {"ica", "m1", "m2_superior", "m2_inferior"}


@pytest.mark.parametrize("cerebellar", [True, False])
def test_strokes_keep_to_their_side_of_the_tentorium(brain: Brain, *, cerebellar: bool) -> None:
    draws = (draw_mri_stroke(np.random.default_rng(i), lesion_ml=15.0, kind=SISS) for i in range(500))
    stroke = next(s for s in draws if (s.occlusion == "cerebellar") == cerebellar)
    depth = BrainIschaemia(np.random.default_rng(3), stroke).depth(brain.head_mm, brain.atlas_mm)
    region = draw_region(brain, depth, 15.0).region
    assert (infratentorial(brain.atlas_mm[region]).mean() > 0.8) == cerebellar
    assert (np.sign(brain.atlas_mm[region, 0]) == stroke.side).mean() > 0.95


def test_a_perforators_infarct_is_deep(brain: Brain) -> None:
    draws = (draw_mri_stroke(np.random.default_rng(i), lesion_ml=2.0, kind=SISS) for i in range(500))
    stroke = next(s for s in draws if s.occlusion == "perforator")
    depth = BrainIschaemia(np.random.default_rng(3), stroke).depth(brain.head_mm, brain.atlas_mm)
    region = draw_region(brain, depth, 2.0).region
    assert 12 < np.abs(brain.atlas_mm[region, 0]).mean() < 38 and brain.depth[region].mean() > 15


def test_a_region_has_about_the_asked_volume_and_no_crumbs(brain: Brain) -> None:
    field = -np.linalg.norm(brain.atlas_mm - [40, -5, 25], axis=1) / 20
    field[::397] += 3.0  # single voxels that no expert would outline
    drawn = draw_region(brain, field.astype(np.float32), 30.0)
    assert drawn.ml(brain) == pytest.approx(30.0, rel=0.15)
    labels, count = ndimage.label(brain.fill(drawn.region))
    assert np.bincount(labels.ravel())[1:].min() * brain.grid.voxel_ml >= 0.12 and count < 4
    soft = drawn.soft(0.07)
    assert soft[drawn.field > drawn.level].min() >= 0.5 >= soft[drawn.field < drawn.level].max()


def test_a_region_smaller_than_a_voxel_is_still_there(brain: Brain) -> None:
    field = -np.linalg.norm(brain.atlas_mm - [40, -5, 25], axis=1) / 20
    assert 1 <= draw_region(brain, field.astype(np.float32), 0.001).region.sum() <= 2


def test_a_brain_without_tissue_has_no_region(brain: Brain) -> None:
    fluid = replace(brain, gm=0 * brain.gm, wm=0 * brain.wm, csf=0 * brain.csf + 1)
    assert not draw_region(fluid, brain.depth, 5.0).region.any()
