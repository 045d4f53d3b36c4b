"""Calibration by hand and against scikit-learn; uncertainty against error as the area under the ROC curve."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, roc_auc_score

from monai_isles.errors import IslesError
from monai_isles.metrics import brier_score, reliability, uncertainty_auroc, uncertainty_errors


def maps(seed: int, size: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    probability = random.beta(0.5, 1.5, size)
    return probability, random.random(size) < probability**1.5


def test_by_hand() -> None:
    found = reliability(np.array([0.0, 0.1, 0.15, 0.95, 1.0, 0.95]), np.array([0, 0, 1, 1, 1, 0]), bins=10)
    assert found.voxels.tolist() == [2, 1, 0, 0, 0, 0, 0, 0, 0, 3] and found.lesion.tolist()[-1] == 2
    gaps = (0.1, 0.85, 2.9 - 2)
    assert found.ece() == pytest.approx(sum(gaps) / 6)
    assert found.ace() == pytest.approx((0.1 / 2 + 0.85 + 0.9 / 3) / 3)
    assert found.curve()[1] == {"voxels": 1, "probability": 0.15, "lesion": 1.0}
    assert found.curve()[4] == {"voxels": 0, "probability": None, "lesion": None}


@pytest.mark.parametrize("seed", range(4))
def test_scikit_learn_agrees(seed: int) -> None:
    probability, lesion = maps(seed)
    share, mean = calibration_curve(lesion, probability, n_bins=10)
    found = reliability(probability, lesion)
    curve = [b for b in found.curve() if b["voxels"]]
    assert [b["lesion"] for b in curve] == pytest.approx(share, abs=1e-12)
    assert [b["probability"] for b in curve] == pytest.approx(mean, abs=1e-12)
    assert brier_score(probability, lesion) == pytest.approx(brier_score_loss(lesion, probability), abs=1e-12)
    wrong = (probability > 0.4) != lesion
    uncertainty = np.round(np.sqrt(probability * (1 - probability)), 2)
    assert uncertainty_auroc(uncertainty, wrong) == pytest.approx(roc_auc_score(wrong, uncertainty), abs=1e-12)


def test_a_calibrated_map_has_no_gap_and_a_sure_wrong_one_the_largest() -> None:
    random = np.random.default_rng(3)
    probability = random.random(200_000)
    assert reliability(probability, random.random(200_000) < probability).ece() < 0.006
    assert reliability(np.ones(5), np.zeros(5)).ece() == 1.0 == brier_score(np.ones(5), np.zeros(5))


def test_cases_add_up_to_the_whole() -> None:
    (p, y), (q, z) = maps(5), maps(6)
    both = reliability(p, y) + reliability(q, z)
    assert both.ece() == pytest.approx(reliability(np.r_[p, q], np.r_[y, z]).ece(), abs=1e-12)
    parts = uncertainty_errors(p / 2, y) + uncertainty_errors(q / 2, z)
    assert (parts == uncertainty_errors(np.r_[p, q] / 2, np.r_[y, z])).all() and parts[0].sum() == p.size + q.size


def test_levels_of_uncertainty_by_hand() -> None:
    levels = uncertainty_errors(np.array([0.0, 0.05, 0.06, 0.5]), np.array([0, 1, 1, 1]))
    assert levels[0].tolist() == [2, 1, 0, 0, 0, 0, 0, 0, 0, 1] and levels[1].tolist() == [1, 1, 0, 0, 0, 0, 0, 0, 0, 1]


def test_what_does_not_exist_is_nan() -> None:
    nothing = np.zeros(0)
    assert all(math.isnan(v) for v in (reliability(nothing, nothing).ece(), reliability(nothing, nothing).ace()))
    assert math.isnan(brier_score(nothing, nothing)) and math.isnan(uncertainty_auroc(np.ones(3), np.zeros(3)))


def test_maps_that_cannot_be_judged_are_refused() -> None:
    with pytest.raises(IslesError, match=r"E-CAL-01: map and truth differ in shape(?s:.*)\(3,\) and \(2,\)"):
        uncertainty_auroc(np.ones(3), np.ones(2))
    for values in ([0.5, 1.2], [-0.1, 0.5], [np.nan, 0.5]):
        with pytest.raises(IslesError, match="E-CAL-02: not a probability"):
            reliability(np.array(values), np.zeros(2))
    with pytest.raises(IslesError, match="E-CAL-03: the number of bins"):
        reliability(np.ones(2), np.ones(2), bins=0)
