from __future__ import annotations

import numpy as np
import pytest

from monai_isles.phantom.atlas import TABLES
from monai_isles.phantom.ct.anatomy import Grid, Pose, Subject
from monai_isles.phantom.mri.brain import Brain, brain_of
from monai_isles.phantom.mri.facts import SISS, SPES
from monai_isles.phantom.mri.siss import tissue_signal
from monai_isles.phantom.mri.stroke import MriDistractors, MriSigns


@pytest.fixture(scope="module")
def brain() -> Brain:
    pose = Pose(0.0, (0.0, 0.0), 0.0, 7.0)
    subject = Subject(np.random.default_rng(1))
    return brain_of(np.random.default_rng(2), subject, pose, Grid((77, 77, 51), (3.0, 3.0, 3.0)))


@pytest.fixture(scope="module")
def infarcted(brain: Brain) -> MriSigns:
    for seed in range(100):
        distractors = MriDistractors(np.random.default_rng(seed), side=1.0, kind=SISS)
        signs = distractors.signs(brain)
        if (signs.cavity > 0.9).sum() > 20:
            assert "old_infarct" in distractors.names()
            return signs
    raise AssertionError("no subject with a cavity")


def test_an_old_infarct_is_fluid_inside_and_gliotic_around(brain: Brain, infarcted: MriSigns) -> None:
    nothing = np.zeros_like(brain.gm)
    healthy = MriSigns(nothing, nothing, nothing, nothing)
    cavity, rim = infarcted.cavity > 0.9, (infarcted.rim > 0.6) & (brain.csf < 0.2)
    change = {}
    for name in ("t1", "t2", "flair", "dwi"):
        before = tissue_signal(brain, healthy, TABLES["siss"][name]["tissue"], TABLES["siss"][name]["old"])
        after = tissue_signal(brain, infarcted, TABLES["siss"][name]["tissue"], TABLES["siss"][name]["old"])
        change[name] = (after[cavity].mean() / before[cavity].mean(), after[rim].mean() / before[rim].mean())
    assert change["flair"][0] < 0.4 and change["t1"][0] < 0.5 and change["dwi"][0] < 0.5 and change["t2"][0] > 1.5
    assert change["flair"][1] > 1.2 and change["t2"][1] > 1.2 and change["t1"][1] < 0.9


def test_white_matter_disease_grows_with_its_grade_and_lies_in_white_matter(brain: Brain) -> None:
    volumes = {}
    for seed in range(40):
        distractors = MriDistractors(np.random.default_rng(seed), side=1.0, kind=SISS)
        hyper = distractors.signs(brain).hyper
        volumes.setdefault(distractors.grade, []).append(hyper.sum() * brain.grid.voxel_ml)
        if hyper.sum() > 50:
            assert (brain.wm * hyper).sum() / hyper.sum() > 0.6
    means = [np.mean(volumes[grade]) for grade in sorted(volumes)]
    assert len(means) == 4 and means == sorted(means) and means[0] < 3 < means[-1] < 120


def test_a_narrowed_carotid_delays_the_side_without_the_stroke(brain: Brain) -> None:
    draws = (MriDistractors(np.random.default_rng(i), side=1.0, kind=SPES) for i in range(100))
    delay = next(d for d in draws if "carotid_stenosis" in d.names()).signs(brain).delay_s
    left, right = delay[brain.atlas_mm[:, 0] < -15], delay[brain.atlas_mm[:, 0] > 15]
    assert left.mean() > 0.8 and left.max() < 7 and right.max() < 0.2
