"""Left and right of heads of known pose, and the choice of the healthy side."""

from __future__ import annotations

import numpy as np
import pytest

from monai_isles.errors import IslesError
from monai_isles.perfusion.thresholds import contralateral_side, upright_hemispheres
from monai_isles.transforms.registration import split_head


@pytest.mark.parametrize(("angle", "offset"), [(0.0, 0.0), (12.0, 3.0), (-9.0, -4.0)])
def test_the_midline_of_a_tilted_head_is_found(make_head, angle: float, offset: float) -> None:
    volumes, left = make_head(angle, offset)
    brain = volumes["cbf"] > 0
    found, midline = split_head(volumes["ct"], np.zeros((1, 1, 1), bool), (2.0, 2.0, 6.0))
    assert midline == "mirror"
    assert found.shape == brain.shape and found.dtype == np.bool_
    assert np.mean(found[brain] != left[brain]) < 0.02


def test_left_is_the_low_end_of_the_first_axis(make_head) -> None:
    found, _ = split_head(make_head()[0]["ct"], np.zeros((1, 1, 1), bool), (2.0, 2.0, 6.0))
    assert found[5, 48].all() and not found[90, 48].any()


def test_without_a_ct_the_brain_is_split_at_its_centre(make_head) -> None:
    volumes, left = make_head(0.0, 6.0)
    brain = volumes["cbf"] > 0
    assert np.mean(upright_hemispheres(brain)[brain] != left[brain]) < 0.02
    assert upright_hemispheres(np.zeros((4, 4, 1), bool))[:, 0, 0].tolist() == [True, True, False, False]


def test_the_healthy_side_has_less_hypoperfusion_and_no_label_is_asked(make_head) -> None:
    volumes, left = make_head(10.0)
    brain = volumes["cbf"] > 0
    assert np.array_equal(contralateral_side(volumes["tmax"], brain, left), brain & ~left)
    assert np.array_equal(contralateral_side(volumes["tmax"], brain, ~left), brain & ~left)


def test_six_seconds_exactly_is_not_hypoperfused() -> None:
    brain, left = np.ones((4, 2, 1), bool), np.zeros((4, 2, 1), bool)
    left[:2] = True
    tmax = np.where(left, 6.0, 6.1)
    assert np.array_equal(contralateral_side(tmax, brain, left), left)


def test_two_equal_sides_are_both_the_reference() -> None:
    brain, left = np.ones((4, 2, 1), bool), np.zeros((4, 2, 1), bool)
    left[:2] = True
    assert contralateral_side(np.zeros((4, 2, 1)), brain, left).all()


def test_a_side_without_brain_is_refused() -> None:
    brain = np.zeros((4, 2, 1), bool)
    brain[:2] = True
    with pytest.raises(IslesError, match=r"(?s)E-EVAL-01: one side of the head holds no brain.*4 voxels left, 0 right"):
        contralateral_side(np.zeros((4, 2, 1)), brain, brain)
