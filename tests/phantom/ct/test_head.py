from __future__ import annotations

import time

import numpy as np
import pytest
from scipy import ndimage

from benchmarks.posed_heads import head_with_pose
from monai_isles.phantom.atlas import load_atlas


def mirrored(points: np.ndarray, plane_point: np.ndarray, normal: np.ndarray) -> np.ndarray:
    return points - 2 * ((points - plane_point) @ normal)[:, None] * normal


@pytest.mark.parametrize(
    ("tilt", "shift", "roll"), [(0.0, (0.0, 0.0), 0.0), (15.0, (18.0, -12.0), 0.0), (-9.0, (-20.0, 5.0), 3.0)]
)
def test_landmarks_mirror_across_one_plane_that_follows_the_pose(
    tilt: float, shift: tuple[float, float], roll: float
) -> None:
    head = head_with_pose(seed=3, tilt_deg=tilt, shift_px=shift, roll_deg=roll, slices=4, noise_hu=0.0)
    mm = head.landmarks * np.array(head.spacing_mm)
    normal = mm[0, 1] - mm[0, 0]
    normal /= np.linalg.norm(normal)
    assert np.allclose(mirrored(mm[:, 0], mm.mean(1)[0], normal), mm[:, 1], atol=1e-6)
    assert np.rad2deg(np.arctan2(normal[1], normal[0])) == pytest.approx(tilt, abs=0.05)
    assert (head.landmarks[:, 0, 0] < head.landmarks[:, 1, 0]).all()  # the left point first, RAS+


def test_the_head_itself_is_symmetric_about_that_plane() -> None:
    head = head_with_pose(seed=5, tilt_deg=10.0, shift_px=(9.0, -7.0), slices=2, noise_hu=0.0)
    left, right = (ndimage.map_coordinates(head.ct, head.landmarks[:, k].T, order=1) for k in (0, 1))
    wrong = ndimage.map_coordinates(head.ct, (head.landmarks[:, 1] + [25.0, 0, 0]).T, order=1)
    assert np.abs(left - right).mean() < 5 < np.abs(left - wrong).mean()


def test_tilt_and_shift_move_the_same_head() -> None:
    straight = head_with_pose(seed=2, noise_hu=0.0)
    moved = head_with_pose(seed=2, shift_px=(6.0, -4.0), noise_hu=0.0)
    assert np.allclose(np.roll(straight.ct, (6, -4), (0, 1))[30:-30, 30:-30], moved.ct[30:-30, 30:-30], atol=0.5)


@pytest.mark.parametrize(("side", "sign"), [("left", -1), ("right", 1)])
def test_a_lesion_darkens_the_patients_own_side_only(side: str, sign: int) -> None:
    plain, struck = (head_with_pose(seed=2, lesion=s, noise_hu=0.0) for s in (None, side))
    darker = plain.ct - struck.ct > 5
    assert darker.sum() > 500
    assert sign * (np.nonzero(darker)[0].mean() - 127.5) > 20


def test_tissues_have_the_hounsfield_values_of_a_head() -> None:
    head = head_with_pose(seed=4, slices=2, noise_hu=0.0)
    assert head.ct[0, 0, 0] == -1000 and head.ct.max() > 700
    assert 25 < np.median(head.ct[head.brain]) < 40
    assert 0.2 < head.brain.mean() < 0.5


def test_a_head_takes_less_than_a_second() -> None:
    load_atlas()
    start = time.process_time()
    head_with_pose(seed=1, slices=4)
    assert time.process_time() - start < 1.0


def changed(change: str) -> tuple[np.ndarray, np.ndarray, float]:
    """The CT without and with the change on the left, and the volume in ml of a voxel."""
    plain, struck = (head_with_pose(seed=2, slices=4, lesion=s, change=change, noise_hu=0.0) for s in (None, "left"))
    return plain.ct, struck.ct, float(np.prod(plain.spacing_mm)) / 1000


def test_an_old_infarct_is_filled_with_fluid() -> None:
    plain, struck, voxel_ml = changed("cavity")
    inside = plain - struck > 18
    assert np.median(struck[inside]) == pytest.approx(7.0, abs=2.5)  # HU of the ventricles
    assert 50 < inside.sum() * voxel_ml < 130 and np.nonzero(inside)[0].max() < 128


def test_a_large_stroke_darkens_most_of_one_hemisphere() -> None:
    plain, struck, voxel_ml = changed("stroke")
    inside = plain - struck > 5
    assert inside.sum() * voxel_ml > 120 and np.nonzero(inside)[0].max() < 132
    assert (plain - struck).max() == pytest.approx(10.0, abs=0.1)


def test_a_craniectomy_takes_the_bone_off_one_side() -> None:
    plain, struck, _ = changed("craniectomy")
    bone = plain > 300
    lost = bone & (struck < 150)
    assert 0.15 < lost.sum() / bone.sum() < 0.5 and np.nonzero(lost)[0].max() < 128
    assert (struck[128:] == plain[128:]).mean() > 0.99
