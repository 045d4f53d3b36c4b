"""Dice, PPV and sensitivity by hand and against scikit-learn and MedPy."""

from __future__ import annotations

import numpy as np
import pytest
from medpy.metric.binary import dc
from sklearn.metrics import f1_score, precision_score, recall_score

from monai_isles.errors import IslesError
from monai_isles.metrics import dsc, ppv, sensitivity


def test_worked_by_hand() -> None:
    pred, ref = np.zeros((4, 4, 2)), np.zeros((4, 4, 2))
    pred[0, 0:4, 0] = 1  # 4 voxels
    ref[0, 1:4, 0] = ref[1, 1:4, 0] = 1  # 6 voxels, 3 shared
    assert dsc(pred, ref) == pytest.approx(2 * 3 / 10)
    assert ppv(pred, ref) == pytest.approx(3 / 4)
    assert sensitivity(pred, ref) == pytest.approx(3 / 6)


def test_scikit_learn_and_medpy_agree_on_every_pair(mask_pairs: list) -> None:
    for pred, ref, _ in mask_pairs[::3]:
        p, r = pred.ravel(), ref.ravel()
        assert dsc(pred, ref) == pytest.approx(f1_score(r, p), abs=1e-12)
        assert dsc(pred, ref) == pytest.approx(dc(pred, ref), abs=1e-12)
        assert ppv(pred, ref) == pytest.approx(precision_score(r, p), abs=1e-12)
        assert sensitivity(pred, ref) == pytest.approx(recall_score(r, p), abs=1e-12)


@pytest.mark.parametrize(
    ("pred", "ref", "dice", "precision", "recall"),
    [(0, 0, 1, 1, 1), (1, 0, 0, 0, 0), (0, 1, 0, 0, 0), (1, 1, 1, 1, 1)],
    ids=["both-empty", "reference-empty", "prediction-empty", "both-full"],
)
def test_the_written_rule_holds_for_empty_masks(
    pred: int, ref: int, dice: float, precision: float, recall: float
) -> None:
    masks = np.full((3, 3, 2), pred), np.full((3, 3, 2), ref)
    assert (dsc(*masks), ppv(*masks), sensitivity(*masks)) == (dice, precision, recall)


def test_a_large_mask_does_not_overflow_small_integers() -> None:
    full = np.ones((300, 300, 2), dtype=np.uint8)
    assert dsc(full, full) == ppv(full, full) == sensitivity(full, full) == 1.0


def test_swapping_the_masks_swaps_precision_and_recall(mask_pairs: list) -> None:
    for pred, ref, _ in mask_pairs[:40]:
        assert dsc(pred, ref) == dsc(ref, pred) and ppv(pred, ref) == sensitivity(ref, pred)


@pytest.mark.parametrize("metric", [dsc, ppv, sensitivity])
def test_shapes_that_differ_are_refused(metric) -> None:
    with pytest.raises(IslesError, match=r"(?s)E-MET-01: masks differ in shape.*\(2, 2, 2\) and \(2, 2, 1\)"):
        metric(np.zeros((2, 2, 2)), np.zeros((2, 2, 1)))


@pytest.mark.parametrize("values", [(0, 0.4), (0, 255), (0, 2), (0, np.nan)])
def test_a_mask_that_is_not_binary_is_refused(values: tuple[float, float]) -> None:
    soft = np.array(values).reshape(2, 1, 1)
    with pytest.raises(
        IslesError, match=r"(?s)E-MET-02: mask is not binary.*where prediction.*values 0, .*threshold it"
    ):
        dsc(soft, np.zeros((2, 1, 1)))
    with pytest.raises(IslesError, match=r"(?s)E-MET-02.*where reference"):
        dsc(np.zeros((2, 1, 1)), soft)
