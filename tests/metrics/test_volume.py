"""Volumes by hand and their agreement against scikit-learn and SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import r2_score

from monai_isles.errors import IslesError
from monai_isles.metrics import avd_ml, r2_identity, r2_pearson, rve, volume_ml


def test_a_volume_is_voxels_times_voxel_volume() -> None:
    mask = np.zeros((10, 10, 4))
    mask[0:5, 0:4, 0:2] = 1  # 40 voxels of 0.8 * 0.9 * 5 = 3.6 mm3
    assert volume_ml(mask, (0.8, 0.9, 5.0)) == pytest.approx(40 * 3.6 / 1000)


def test_absolute_and_relative_difference_by_hand() -> None:
    pred, ref = np.zeros((10, 10, 1)), np.zeros((10, 10, 1))
    pred[0, 0:6], ref[0:2, 0:5] = 1, 1  # 6 and 10 voxels
    assert avd_ml(pred, ref, (1, 1, 10)) == pytest.approx(0.04) == avd_ml(ref, pred, (1, 1, 10))
    assert rve(pred, ref) == pytest.approx(0.4) and rve(ref, pred) == pytest.approx(4 / 6)


def test_the_written_rule_holds_for_empty_masks() -> None:
    empty, one = np.zeros((4, 4, 2)), np.ones((4, 4, 2))
    assert rve(empty, empty) == 0.0 and rve(empty, one) == 1.0 and math.isnan(rve(one, empty))
    assert avd_ml(one, empty, (1, 1, 1)) == pytest.approx(0.032) and avd_ml(empty, empty, (1, 1, 1)) == 0.0


def test_the_coefficient_of_determination_sees_a_bias_that_correlation_does_not() -> None:
    ref = [10.0, 20.0, 30.0]
    pred = [20.0, 30.0, 40.0]  # 10 ml too much everywhere: 1 - 300 / 200
    assert r2_identity(pred, ref) == pytest.approx(-0.5) and r2_pearson(pred, ref) == pytest.approx(1.0)


def test_scikit_learn_and_scipy_agree_on_random_volumes() -> None:
    random = np.random.default_rng(3)
    for _ in range(200):
        ref = random.gamma(1.0, 30.0, size=int(random.integers(3, 60)))
        pred = ref * random.uniform(0.5, 1.5) + random.normal(0, 10, ref.size)
        assert r2_identity(pred, ref) == pytest.approx(r2_score(ref, pred), abs=1e-9)
        assert r2_pearson(pred, ref) == pytest.approx(pearsonr(pred, ref).statistic ** 2, abs=1e-9)


def test_agreement_is_undefined_where_nothing_varies() -> None:
    assert math.isnan(r2_identity([3.0], [3.0])) and math.isnan(r2_pearson([3.0], [3.0]))
    assert math.isnan(r2_identity([1.0, 2.0], [5.0, 5.0])) and math.isnan(r2_pearson([1.0, 1.0], [4.0, 5.0]))
    assert math.isnan(r2_identity([], [])) and math.isnan(r2_identity([0.1, 0.2, 0.3], [0.7, 0.7, 0.7]))


def test_lists_of_different_length_are_refused() -> None:
    with pytest.raises(IslesError, match=r"(?s)E-MET-04: volume lists differ in length.*1 predicted, 2 reference"):
        r2_identity([1.0], [1.0, 2.0])


def test_a_wrong_spacing_is_refused() -> None:
    with pytest.raises(IslesError, match=r"(?s)E-MET-03.*for 3 axes"):
        volume_ml(np.ones((2, 2, 2)), (1.0, 1.0))
