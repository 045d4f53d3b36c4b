"""The bounds of volumes: ranks by hand, coverage on cases that can be exchanged; the chance of a lesion."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from monai_isles.inference.calibrated import Calibration
from monai_isles.metrics import fit_chance, fit_volume_errors
from monai_isles.metrics.calibration import tolerance_ranks


@pytest.mark.parametrize(
    ("n", "ranks"),  # from tables of two-sided tolerance limits: 38 and 65 cases for the first and the second rank
    [(18, None), (19, (1, 19)), (38, (1, 38)), (64, (1, 64)), (65, (2, 64)), (96, (3, 94))],
)
def test_ranks_of_tolerance_limits(n: int, ranks: tuple[int, int] | None) -> None:
    assert tolerance_ranks(n) == ranks


@pytest.mark.parametrize("n", [38, 65, 96, 288])
def test_nine_in_ten_fits_hold_nine_in_ten_cases(n: int) -> None:
    low, high = tolerance_ranks(n) or (0, 0)
    errors = np.sort(np.random.default_rng(n).random((20_000, n)), axis=1)  # uniform: a distance is a share of cases
    assert 0.895 < (errors[:, high - 1] - errors[:, low - 1] >= 0.9).mean() < 0.96


def test_bounds_by_hand() -> None:
    pred = [float(v) for v in range(10, 29)]  # 19 cases, one group: the least and the largest error
    errors = np.linspace(-0.9, 0.9, 19)[::-1]
    ref = np.expm1(np.log1p(pred) + errors)
    (group,) = fit_volume_errors(pred, ref.tolist())
    assert group == {"up_to_ml": None, "low": pytest.approx(-0.9), "high": pytest.approx(0.9), "n": 19}
    low, high = Calibration(volume=[group]).interval(9.0) or (0, 0)
    assert (low, high) == pytest.approx((10 * np.exp(-0.9) - 1, 10 * np.exp(0.9) - 1), abs=1e-3)
    assert fit_volume_errors(pred[:18], ref[:18].tolist()) == []


def test_groups_hold_equally_many_and_end_where_they_end() -> None:
    pred = np.arange(60.0)
    groups = fit_volume_errors(pred.tolist(), (1.1 * pred + 0.1).tolist())
    assert [group["n"] for group in groups] == [20, 20, 20]
    assert [group["up_to_ml"] for group in groups] == [19.0, 39.0, None]
    assert all(group["low"] == 0.0 for group in groups)  # all true volumes are larger: the prediction stays inside
    assert len(fit_volume_errors(pred[:40].tolist(), pred[:40].tolist())) == 2


def test_exchangeable_cases_are_held_in_every_size() -> None:
    random = np.random.default_rng(5)
    held, sizes = [], []
    for _ in range(150):
        ref = random.lognormal(2.5, 1.2, 180)
        pred = np.maximum(ref * random.lognormal(0.1, 0.3, 180) + random.normal(0, 2, 180), 0)
        found = Calibration(volume=fit_volume_errors(pred[:120].tolist(), ref[:120].tolist()))
        bounds = np.array([found.interval(float(v)) for v in pred[120:]])
        held += ((bounds[:, 0] <= ref[120:] + 1e-3) & (ref[120:] - 1e-3 <= bounds[:, 1])).tolist()
        sizes += pred[120:].tolist()
    inside, third = np.array(held), np.digitize(sizes, np.quantile(sizes, (1 / 3, 2 / 3)))
    assert 0.93 < inside.mean() < 0.97
    assert all(0.92 < inside[third == k].mean() < 0.97 for k in range(3))


def test_the_chance_of_a_lesion_is_what_scikit_learn_fits() -> None:
    random = np.random.default_rng(6)
    x = random.normal(size=(3000, 2))
    right = random.random(3000) < expit(0.4 + x @ np.array([1.5, -0.7]))
    found = fit_chance(x, right)
    theirs = LogisticRegression(C=1 / (0.01 * 3000), tol=1e-10).fit(x, right)
    assert found == pytest.approx([float(theirs.intercept_[0]), *theirs.coef_[0].tolist()], abs=1e-3)
    assert fit_chance(x[:50], np.ones(50, bool))[0] > 3  # all were right: sure, and finite
