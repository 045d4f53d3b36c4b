"""Lesions counted one by one."""

from __future__ import annotations

import numpy as np
import pytest

from monai_isles.metrics import count_lesions, lesion_f1


def test_lesions_that_touch_by_a_corner_are_two() -> None:
    mask = np.zeros((4, 4, 2))
    mask[0, 0, 0] = mask[1, 1, 0] = mask[1, 1, 1] = 1
    assert count_lesions(mask) == 2


def test_detection_by_hand() -> None:
    ref, pred = np.zeros((12, 4, 1)), np.zeros((12, 4, 1))
    ref[0:2, 0:2] = ref[4:6, 0:2] = ref[8, 0] = 1  # three lesions
    pred[1:5, 1] = 1  # one prediction touches the first two
    pred[11, 3] = 1  # one false
    assert lesion_f1(pred, ref) == pytest.approx(2 / (2 + (1 + 1) / 2))


def test_the_written_rule_holds_for_empty_masks() -> None:
    empty, one = np.zeros((4, 4, 2)), np.ones((4, 4, 2))
    assert (lesion_f1(empty, empty), lesion_f1(one, empty), lesion_f1(empty, one), lesion_f1(one, one)) == (1, 0, 0, 1)
