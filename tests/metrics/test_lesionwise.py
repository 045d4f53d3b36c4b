"""Lesions counted one by one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from monai_isles.errors import IslesError
from monai_isles.metrics import count_lesions, lesion_f1, matched_lesion_f1, panoptic_quality


def test_lesions_that_touch_by_a_corner_are_two() -> None:
    mask = np.zeros((4, 4, 2))
    mask[0, 0, 0] = mask[1, 1, 0] = mask[1, 1, 1] = 1
    assert count_lesions(mask) == 2 and count_lesions(mask, connectivity=26) == 1
    with pytest.raises(IslesError, match=r"E-MET-50(?s:.*)18"):
        count_lesions(mask, connectivity=18)


def test_panoptic_quality_by_hand() -> None:
    """IoU 3/4 and 1/2: only the first is above one half; of two lesions on each side one is found."""
    ref, pred = np.zeros((20, 1, 1)), np.zeros((20, 1, 1))
    ref[0:4] = ref[10:12] = 1
    pred[1:4] = pred[11] = 1
    assert panoptic_quality(pred, ref) == pytest.approx(0.75 / (1 + 0.5 + 0.5))
    assert [panoptic_quality(a, b) for a in (0 * ref, ref) for b in (0 * ref, ref)] == [1, 0, 0, 1]


def test_corners_join_lesions_where_asked() -> None:
    """Two voxels that touch by a corner: two lesions of which one is missed, or one lesion found by half."""
    ref, pred = np.zeros((4, 4, 2)), np.zeros((4, 4, 2))
    ref[0, 0, 0] = ref[1, 1, 1] = pred[0, 0, 0] = 1
    assert lesion_f1(pred, ref) == pytest.approx(2 / 3) and lesion_f1(pred, ref, 26) == 1.0
    assert panoptic_quality(pred, ref) == pytest.approx(2 / 3) and panoptic_quality(pred, ref, 26) == 0.0
    assert matched_lesion_f1(pred, ref, 0.5, 26) == 1.0


def test_detection_by_hand() -> None:
    ref, pred = np.zeros((12, 4, 1)), np.zeros((12, 4, 1))
    ref[0:2, 0:2] = ref[4:6, 0:2] = ref[8, 0] = 1  # three lesions
    pred[1:5, 1] = 1  # one prediction touches the first two
    pred[11, 3] = 1  # one false
    assert lesion_f1(pred, ref) == pytest.approx(2 / (2 + (1 + 1) / 2))


def test_the_written_rule_holds_for_empty_masks() -> None:
    empty, one = np.zeros((4, 4, 2)), np.ones((4, 4, 2))
    assert (lesion_f1(empty, empty), lesion_f1(one, empty), lesion_f1(empty, one), lesion_f1(one, one)) == (1, 0, 0, 1)


def test_one_prediction_over_two_lesions_finds_one_of_them_at_most() -> None:
    ref, pred = np.zeros((12, 4, 1)), np.zeros((12, 4, 1))
    ref[0:4, 0] = ref[5:7, 0] = 1
    pred[0:7, 0] = 1  # IoU 4/7 with the first, 2/7 with the second
    assert lesion_f1(pred, ref) == 1.0 and matched_lesion_f1(pred, ref) == pytest.approx(2 / 3)


def test_the_cut_itself_counts_and_below_it_does_not() -> None:
    ref, pred = np.zeros((20, 1, 1)), np.zeros((20, 1, 1))
    ref[0:4], pred[0] = 1, 1
    assert matched_lesion_f1(pred, ref) == 1.0 and matched_lesion_f1(pred, ref, iou=0.2501) == 0.0
    ref[4] = 1
    assert matched_lesion_f1(pred, ref) == 0.0


def test_the_matching_with_most_pairs_counts_where_the_nearest_first_would_lose_one() -> None:
    ref, pred = np.zeros((30, 3, 1)), np.zeros((30, 3, 1))
    ref[0:12, 0] = 1  # touched by both predictions
    ref[14:20, 0] = 1  # touched by the first alone
    pred[4:18, 0] = 1  # IoU 8/18 with the long lesion, 4/16 with the short one
    pred[0:3, 0] = 1  # IoU 3/12 with the long lesion
    assert matched_lesion_f1(pred, ref) == 1.0


def test_matched_detection_agrees_with_every_assignment_tried(mask_pairs: list) -> None:
    for pred, ref, _ in mask_pairs[::6]:
        labels = [ndimage.label(mask) for mask in (pred, ref)]
        (p, n_pred), (r, n_ref) = labels
        iou = np.array([[((p == i) & (r == j)).sum() / ((p == i) | (r == j)).sum() for j in range(1, n_ref + 1)]
                        for i in range(1, n_pred + 1)])  # fmt: skip
        rows, columns = linear_sum_assignment(-(iou >= 0.25).astype(float))
        found = int((iou[rows, columns] >= 0.25).sum())
        assert matched_lesion_f1(pred, ref) == pytest.approx(2 * found / (n_pred + n_ref))


def test_the_written_rule_holds_for_matched_lesions_too() -> None:
    empty, one = np.zeros((4, 4, 2)), np.ones((4, 4, 2))
    pairs = ((empty, empty), (one, empty), (empty, one), (one, one))
    assert [matched_lesion_f1(*pair) for pair in pairs] == [1, 0, 0, 1]
