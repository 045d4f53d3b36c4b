"""Scores of one case by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from monai_isles import evaluation
from monai_isles.evaluation import score_case
from monai_isles.evaluation.score import COLUMNS


def test_one_case_by_hand() -> None:
    pred, ref = np.zeros((12, 10, 2)), np.zeros((12, 10, 2))
    pred[2:6, 2:6, 0], ref[2:10, 2:6, 0] = 1, 1  # 16 of 32 voxels found, the far end 4 voxels of 2 mm short
    scores = score_case(pred, ref, (2.0, 2.0, 6.0))
    expected = {
        "dsc": 32 / 48,
        "ppv": 1.0,
        "sensitivity": 0.5,
        "hd_mm": 8.0,
        "hd_vox": 4.0,
        "rve": 0.5,
        "lesion_f1": 1.0,
    }
    expected |= {"avd_ml": 16 * 0.024, "lesion_ml_ref": 32 * 0.024, "lesion_ml_pred": 16 * 0.024}
    expected |= {"assd_mm": 4 * (2 + 4 + 6 + 8) / 48, "assd_half_sum_mm": 4 * (2 + 4 + 6 + 8) / 32 / 2}
    expected |= {"lesions_ref": 1, "lesions_pred": 1, "empty": "none"}
    assert {name: scores[name] for name in expected} == pytest.approx(expected)
    assert scores["diagonal_mm"] == pytest.approx(math.sqrt(22**2 + 18**2 + 6**2))
    assert set(scores) <= set(COLUMNS)


def test_every_public_name_is_there_and_no_other() -> None:
    assert all(getattr(evaluation, name) is not None for name in evaluation.__all__)
    with pytest.raises(AttributeError, match="attribute (nothing|nonsense)"):
        _ = evaluation.nothing
