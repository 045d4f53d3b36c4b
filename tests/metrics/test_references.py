"""What other libraries know about masks, empty ones too: volumes, lesions and the rule for 0/0, on all 500 pairs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from medpy.metric import binary as medpy_binary
from scipy import ndimage
from sklearn.metrics import f1_score, precision_score, recall_score

from monai_isles.metrics import (
    avd_ml,
    count_lesions,
    dsc,
    hd_mm,
    lesion_f1,
    matched_lesion_f1,
    ppv,
    rve,
    sensitivity,
    volume_ml,
)


def test_there_are_500_pairs_of_every_kind(mask_pairs: list) -> None:
    assert len(mask_pairs) == 500
    sizes = [(int(pred.sum()), int(ref.sum()), pred.size) for pred, ref, _ in mask_pairs]
    assert sum(pred == 1 for pred, _, _ in sizes) > 15 and any(pred == whole for pred, _, whole in sizes)
    edges = [pred[0].any() or pred[-1].any() or pred[:, 0].any() or pred[:, -1].any() for pred, _, _ in mask_pairs]
    assert sum(edges) > 250 and all(spacing[2] > 2.5 * spacing[0] for _, _, spacing in mask_pairs)


def test_volumes_and_lesions_agree_on_every_pair(mask_pairs: list) -> None:
    for pred, ref, spacing in mask_pairs:
        assert rve(pred, ref) == pytest.approx(abs(medpy_binary.ravd(pred, ref)), abs=1e-9)
        assert volume_ml(ref, spacing) == pytest.approx(ndimage.sum(ref) * np.prod(spacing) / 1000, abs=1e-9)
        assert avd_ml(pred, ref, spacing) == pytest.approx(abs(volume_ml(pred, spacing) - volume_ml(ref, spacing)))
        assert count_lesions(pred) == ndimage.label(pred)[1]
        assert matched_lesion_f1(pred, ref) <= lesion_f1(pred, ref) + 1e-12


def test_any_overlap_detection_agrees_with_medpys_object_rates(mask_pairs: list) -> None:
    for pred, ref, _ in mask_pairs[::5]:
        (p, n_pred), (r, n_ref) = ndimage.label(pred), ndimage.label(ref)
        found = sum(pred[r == j].any() for j in range(1, n_ref + 1))
        false = sum(not ref[p == i].any() for i in range(1, n_pred + 1))
        assert lesion_f1(pred, ref) == pytest.approx(found / (found + (false + n_ref - found) / 2), abs=1e-12)


def test_scikit_learn_with_the_same_word_for_zero_over_zero_agrees_on_empty_masks() -> None:
    empty, full, one = np.zeros((5, 4, 2), bool), np.ones((5, 4, 2), bool), np.zeros((5, 4, 2), bool)
    one[0, 0, 0] = True
    for pred, ref in itertools.product((empty, full, one), repeat=2):
        p, r, word = pred.ravel(), ref.ravel(), 1.0 if not (pred.any() or ref.any()) else 0.0
        assert dsc(pred, ref) == pytest.approx(f1_score(r, p, zero_division=word), abs=1e-12)
        assert ppv(pred, ref) == pytest.approx(precision_score(r, p, zero_division=word), abs=1e-12)
        assert sensitivity(pred, ref) == pytest.approx(recall_score(r, p, zero_division=word), abs=1e-12)


def test_medpy_has_no_distance_where_ours_is_undefined() -> None:
    empty, one = np.zeros((5, 4, 2), bool), np.ones((5, 4, 2), bool)
    with pytest.raises(RuntimeError, match="does not contain any binary object"):
        medpy_binary.hd(empty, one)
    assert np.isnan(hd_mm(empty, one, (1, 1, 5))) and hd_mm(empty, empty, (1, 1, 5)) == 0.0
