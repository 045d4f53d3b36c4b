"""Bland-Altman by hand and against NumPy and SciPy; size strata at their edges."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from monai_isles.errors import IslesError
from monai_isles.metrics import bland_altman
from monai_isles.metrics.volume import STRATA, size_stratum


def test_bias_and_limits_by_hand() -> None:
    found = bland_altman([12.0, 22.0, 26.0], [10.0, 20.0, 30.0])  # differences 2, 2, -4
    assert (found["n"], found["bias_ml"]) == (3, 0.0)
    sd = np.sqrt((4 + 4 + 16) / 2)
    assert (found["lower_ml"], found["upper_ml"]) == (pytest.approx(-1.96 * sd), pytest.approx(1.96 * sd))


def test_scipy_agrees() -> None:
    random = np.random.default_rng(1)
    ref = random.gamma(1.5, 20, 60)
    pred = 1.2 * ref + random.normal(0, 5, 60)
    found = bland_altman(pred, ref)
    interval = stats.ttest_1samp(pred - ref, 0).confidence_interval()
    assert found["bias_ci95"] == pytest.approx([interval.low, interval.high], abs=1e-9)
    assert found["slope"] == pytest.approx(stats.linregress((pred + ref) / 2, pred - ref).slope, abs=1e-9)


def test_what_does_not_exist_is_none() -> None:
    assert bland_altman([], []) | {"bias_ml": None, "sd_ml": None} == bland_altman([], [])
    one = bland_altman([3.0], [1.0])
    assert (one["bias_ml"], one["sd_ml"], one["bias_ci95"]) == (2.0, None, None)
    assert bland_altman([3.0, 5.0], [5.0, 3.0])["slope"] is None
    with pytest.raises(IslesError, match="E-MET-04"):
        bland_altman([1.0], [])


@pytest.mark.parametrize(("ml", "place"), [(0, 0), (0.01, 1), (9.999, 1), (10, 2), (50, 2), (50.001, 3), (300, 3)])
def test_every_volume_has_one_stratum(ml: float, place: int) -> None:
    assert size_stratum(ml) == STRATA[place]


@pytest.mark.parametrize("ml", [-0.1, float("nan")])
def test_what_is_no_volume_has_none(ml: float) -> None:
    with pytest.raises(IslesError, match="E-MET-10: not a volume"):
        size_stratum(ml)
