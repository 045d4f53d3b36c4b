"""Statistics over cases by hand, against SciPy and pandas, and the counts of what is undefined."""

from __future__ import annotations

import math

import numpy as np
import pandas
import pytest
from scipy.stats import bootstrap

from monai_isles.evaluation import summarise
from monai_isles.evaluation.summary import METRICS, draw_subjects, mean_interval


def _row(
    subject: str, value: float, *, empty: str = "none", ml: tuple[float, float] = (10.0, 10.0)
) -> dict[str, object]:
    row: dict[str, object] = dict.fromkeys(METRICS, value)
    sizes = {"diagonal_mm": 100.0, "diagonal_vox": 50.0, "lesion_ml_pred": ml[0], "lesion_ml_ref": ml[1]}
    return {**row, **sizes, "subject": subject, "empty": empty, "missing": 0}


def test_means_and_spreads_by_hand() -> None:
    dice = summarise([_row(str(k), v) for k, v in enumerate((0.2, 0.4, 0.9))])["metrics"]["dsc"]
    assert dice["n"] == 3 and dice["mean"] == pytest.approx(0.5) and dice["median"] == pytest.approx(0.4)
    assert dice["sd"] == pytest.approx(math.sqrt((0.09 + 0.01 + 0.16) / 2))
    assert (dice["q1"], dice["q3"]) == (pytest.approx(0.3), pytest.approx(0.65))


def test_pandas_agrees() -> None:
    values = np.random.default_rng(0).random(31)
    ours = summarise([_row(str(k), v) for k, v in enumerate(values)])["metrics"]["dsc"]
    theirs = pandas.Series(values).describe()
    for name, other in {"mean": "mean", "sd": "std", "median": "50%", "q1": "25%", "q3": "75%"}.items():
        assert ours[name] == pytest.approx(theirs[other], abs=1e-12)


def test_a_distance_that_is_undefined_is_counted_and_has_two_means() -> None:
    rows = [_row("a", 10.0), _row("b", 20.0), {**_row("c", 0.0), "hd_mm": math.nan, "empty": "prediction"}]
    summary = summarise(rows)
    distance = summary["metrics"]["hd_mm"]
    assert (distance["n"], distance["mean"]) == (2, pytest.approx(15.0))
    assert (distance["imputed"]["n"], distance["imputed"]["mean"]) == (3, pytest.approx((10 + 20 + 100) / 3))
    assert summary["n"] == 3 and summary["undefined_distances"] == 1 and summary["empty_predictions"] == 1


def test_every_kind_of_emptiness_is_counted() -> None:
    rows = [_row(str(k), 1.0, empty=e) for k, e in enumerate(("none", "prediction", "reference", "reference", "both"))]
    summary = summarise(rows)
    names = ("empty_references", "empty_predictions", "empty_both", "undefined_distances")
    assert [summary[name] for name in names] == [3, 2, 1, 3]


def test_nothing_defined_is_none_not_nan() -> None:
    distance = summarise([_row("a", math.nan)])["metrics"]["hd_mm"]
    assert distance["n"] == 0 and distance["mean"] is None and distance["ci95"] is None
    assert distance["imputed"]["mean"] == 100.0 and distance["imputed"]["sd"] is None


def test_the_interval_agrees_with_scipy_when_every_case_is_a_subject() -> None:
    values = np.random.default_rng(5).beta(2, 2, 60)
    ours = summarise([_row(str(k), v) for k, v in enumerate(values)], resamples=20000)["metrics"]["dsc"]["ci95"]
    theirs = bootstrap((values,), np.mean, n_resamples=20000, method="percentile", rng=1).confidence_interval
    assert ours == pytest.approx([theirs.low, theirs.high], abs=0.004)


def test_scans_of_one_subject_stay_together_so_the_interval_is_wider() -> None:
    values = np.repeat(np.random.default_rng(6).random(12), 4)
    alone = summarise([_row(str(k), v) for k, v in enumerate(values)])["metrics"]["dsc"]["ci95"]
    grouped = summarise([_row(str(k // 4), v) for k, v in enumerate(values)])
    assert grouped["subjects"] == 12
    low, high = grouped["metrics"]["dsc"]["ci95"]
    assert high - low == pytest.approx(2 * (alone[1] - alone[0]), rel=0.15)  # a quarter of the independent draws


def test_scans_of_one_subject_alone_have_no_interval() -> None:
    assert summarise([_row("a", 0.2), _row("a", 0.6)])["metrics"]["dsc"]["ci95"] is None
    rows = [_row("a", 0.2), _row("a", 0.6), _row("b", 0.4)]
    assert summarise(rows)["metrics"]["dsc"]["ci95"] == pytest.approx([0.4, 0.4])


def test_the_interval_is_the_same_for_the_same_seed() -> None:
    rows = [_row(str(k), v) for k, v in enumerate((0.11, 0.52, 0.93, 0.34, 0.75, 0.06, 0.47, 0.28))]
    intervals = [summarise(rows, seed=seed)["metrics"]["dsc"]["ci95"] for seed in (1, 1, 2)]
    assert intervals[0] == intervals[1] != intervals[2]


def test_volumes_agree_by_the_coefficient_of_determination() -> None:
    rows = [_row("a", 1.0, ml=(20.0, 10.0)), _row("b", 1.0, ml=(30.0, 20.0)), _row("c", 1.0, ml=(40.0, 30.0))]
    assert summarise(rows)["volumes"] == {"r2": pytest.approx(-0.5), "r2_pearson": pytest.approx(1.0)}
    assert summarise(rows[:1])["volumes"] == {"r2": None, "r2_pearson": None}


@pytest.mark.parametrize(("subjects", "held"), [(8, 0.86), (32, 0.94)])
def test_the_interval_holds_the_mean_as_often_as_the_docs_say(subjects: int, held: float) -> None:
    random, hits = np.random.default_rng(0), 0
    for sample in range(400):
        values = np.where(random.random(subjects) < 0.12, 0.0, random.beta(3, 1.8, subjects))  # some lesions are missed
        draws = draw_subjects([str(k) for k in range(subjects)], 400, sample)
        low, high = mean_interval(values, draws)
        hits += low <= 0.88 * 3 / 4.8 <= high
    assert abs(hits / 400 - held) < 0.04
