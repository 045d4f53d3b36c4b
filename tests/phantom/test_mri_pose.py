from __future__ import annotations

import numpy as np
import pytest

from monai_isles.phantom.ct.anatomy import Grid, Pose, Subject
from monai_isles.phantom.ct.scan import CaseArrays
from monai_isles.phantom.mri.facts import SISS
from monai_isles.phantom.mri.scan import draw_pose, head_landmarks


@pytest.mark.parametrize("pitch", [0.0, 5.0])
def test_landmarks_mirror_across_one_plane_that_follows_the_pose(pitch: float) -> None:
    pose = Pose(tilt_deg=8.0, shift_px=(3.0, -2.0), roll_deg=3.0, level_mm=7.0, pitch_deg=pitch)
    pairs = head_landmarks(Subject(np.random.default_rng(1)), pose, Grid((115, 115, 77), (2.0, 2.0, 2.0)))
    apart = (pairs[:, 1] - pairs[:, 0]).reshape(-1, 3)
    normal = apart / np.linalg.norm(apart, axis=1, keepdims=True)
    assert np.allclose(normal, normal[0], atol=1e-9) and (apart[:, 0] > 0).all()
    assert np.allclose((pairs.mean(1) - pairs.mean((0, 1))) @ normal[0], 0, atol=1e-9)
    assert np.rad2deg(np.arctan2(normal[0, 1], normal[0, 0])) == pytest.approx(8.0, abs=0.1)


def test_a_nod_turns_the_head_in_its_own_mid_sagittal_plane() -> None:
    nod = Pose(0.0, (0.0, 0.0), 0.0, 7.0, pitch_deg=30.0).rotation()
    assert np.allclose(nod @ [1, 0, 0], [1, 0, 0])
    assert np.allclose(nod @ [0, 1, 0], [0, np.cos(np.pi / 6), 0.5])


def test_poses_stay_in_the_field_of_view_and_are_the_same_at_every_spacing() -> None:
    poses = [draw_pose(np.random.default_rng(i), SISS, 2.0) for i in range(50)]
    assert max(abs(p.tilt_deg) for p in poses) <= 10 and np.std([p.tilt_deg for p in poses]) > 2
    fine = draw_pose(np.random.default_rng(0), SISS, 1.0)
    assert fine.shift_px == pytest.approx(tuple(2 * s for s in poses[0].shift_px))


def test_the_hemispheres_agree_across_the_true_plane_and_not_across_the_grids_middle(siss, mirrored) -> None:
    agree, wrong = [], []
    for case in siss:
        image = case.images["t1"].astype(float)
        agree.append(_alike(image, mirrored(image, case), case))
        wrong.append(_alike(image, image[::-1], case))
    assert min(agree) > 0.75 and np.mean(wrong) < np.mean(agree) - 0.08


def _alike(image: np.ndarray, other: np.ndarray, case: CaseArrays) -> float:
    used = ((image > 0) | (other > 0)) & (case.label == 0)
    return float(np.corrcoef(image[used], other[used])[0, 1])
