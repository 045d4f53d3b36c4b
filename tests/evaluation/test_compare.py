"""Paired comparisons agree with hand cases and with scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from monai_isles.errors import IslesError
from monai_isles.evaluation.compare import compare_methods, compare_rows, holm


def rows(values: object, subjects: object = None) -> list[dict[str, object]]:
    values = list(values)
    names = subjects or [f"s{n}" for n in range(len(values))]
    return [{"case": f"c{n}", "subject": s, "dsc": v} for n, (v, s) in enumerate(zip(values, names, strict=True))]


def test_t_by_hand() -> None:
    found = compare_rows(rows([0, 0, 0]), rows([1, 2, 3]))["cases"]
    assert (found["n"], found["mean"], found["sd"]) == (3, 2.0, 1.0)
    assert found["t"] == pytest.approx(2 * math.sqrt(3))  # 2 / (1 / sqrt 3)
    assert found["p_t"] == pytest.approx(1 - math.sqrt(12 / 14))  # closed form of two degrees of freedom


def test_wilcoxon_by_hand() -> None:
    found = compare_rows(rows([0] * 5), rows([1, 2, 3, 4, -5]))["cases"]
    assert found["w"] == 5.0  # ranks 1 + 2 + 3 + 4 against 5
    assert found["p_wilcoxon"] == pytest.approx(2 * 10 / 32)  # subsets of {1..5} that sum to at most 5: 10


def test_tests_equal_scipys_paired_ones_on_random_scores() -> None:
    random = np.random.default_rng(1)
    first, second = random.uniform(size=30), random.uniform(size=30)
    found = compare_rows(rows(first), rows(second))["cases"]
    t, w = stats.ttest_rel(second, first), stats.wilcoxon(second, first)
    assert (found["t"], found["p_t"]) == pytest.approx((t.statistic, t.pvalue))
    assert (found["w"], found["p_wilcoxon"]) == pytest.approx((w.statistic, w.pvalue))


def test_interval_equals_scipys_bootstrap_where_every_subject_has_one_case() -> None:
    difference = np.random.default_rng(2).normal(0.3, 1, size=40)
    low, high = compare_rows(rows(np.zeros(40)), rows(difference), resamples=20000)["ci95"]
    wanted = stats.bootstrap((difference,), np.mean, n_resamples=20000, method="percentile", random_state=0)
    assert (low, high) == pytest.approx(tuple(wanted.confidence_interval), abs=0.015)


def test_scans_of_one_subject_count_once_in_the_subjects_block_and_are_drawn_together() -> None:
    found = compare_rows(rows([0] * 4, [*"aabc"]), rows([1, 3, 5, 6], [*"aabc"]), resamples=500)
    assert found["cases"]["n"] == 4 and found["subjects"]["n"] == 3
    assert found["subjects"]["mean"] == pytest.approx((2 + 5 + 6) / 3)
    assert found["cases"]["mean"] == pytest.approx(15 / 4)
    pair = compare_rows(rows([0] * 4, [*"aabb"]), rows([1, 3, 1, 3], [*"aabb"]), resamples=500)
    assert pair["ci95"] == [2.0, 2.0]  # every draw holds whole subjects


def test_undefined_values_leave_with_their_partner_and_are_counted() -> None:
    found = compare_rows(rows([0.1, math.nan, 0.2, ""]), rows([0.2, 0.5, "0.4", 0.3]))
    assert found["undefined"] == 2 and found["cases"]["n"] == 2
    assert found["cases"]["mean"] == pytest.approx(0.15)


def test_a_test_that_does_not_exist_is_none() -> None:
    same = compare_rows(rows([0.5] * 6), rows([0.5] * 6))["cases"]
    assert same["mean"] == 0 and same["p_t"] is None and same["p_wilcoxon"] is None
    shifted = compare_rows(rows([0.5] * 6), rows([0.75] * 6))["cases"]
    assert shifted["t"] is None and shifted["p_wilcoxon"] == pytest.approx(2 / 64)
    one = compare_rows(rows([0.5]), rows([0.75]))
    assert one["cases"]["mean"] == 0.25 and one["cases"]["p_t"] is None and one["ci95"] is None
    none = compare_rows(rows([math.nan]), rows([1]))
    assert none["cases"] == {"n": 0, "mean": None, "sd": None, "t": None, "p_t": None, "w": None, "p_wilcoxon": None}


def test_rows_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(IslesError, match=r"E-CMP-01: the methods were not scored on the same cases(?s:.*)c2"):
        compare_rows(rows([1, 2]), rows([1, 2, 3]))
    with pytest.raises(IslesError, match=r"E-CMP-01(?s:.*)of another subject: c1"):
        compare_rows(rows([1, 2]), rows([1, 2], ["s0", "x"]))
    with pytest.raises(IslesError, match="E-CMP-02: a case is listed twice"):
        compare_rows([*rows([1]), *rows([1])], rows([1]))
    with pytest.raises(IslesError, match=r"E-CMP-03: the metric is not a number(?s:.*)no such column"):
        compare_rows(rows([1]), rows([1]), metric="hd")


def test_holms_correction_by_hand() -> None:
    # in order .01 .03 .04: times 3, 2, 1, and no smaller than the one before
    assert holm([0.01, 0.04, None, 0.03]) == [pytest.approx(0.03), pytest.approx(0.06), None, pytest.approx(0.06)]
    assert holm([0.6, 0.5]) == [1.0, 1.0] and holm([]) == []


def test_methods_are_tested_pair_by_pair_and_corrected_over_all_tests() -> None:
    random = np.random.default_rng(3)
    scored = {name: [{**row, "ppv": row["dsc"] / 2} for row in rows(random.uniform(size=12) + shift)]
              for name, shift in (("a", 0.0), ("b", 0.3), ("c", 0.4))}  # fmt: skip
    found = compare_methods(scored, [("b", "a"), ("c", "b")], metrics=("dsc", "ppv"), resamples=100)
    assert [(one["row"], one["against"], one["metric"]) for one in found] == [
        ("b", "a", "dsc"), ("b", "a", "ppv"), ("c", "b", "dsc"), ("c", "b", "ppv")
    ]  # fmt: skip
    values = [[row["dsc"] for row in scored[name]] for name in ("b", "a")]
    wanted = stats.ttest_rel(*values).pvalue
    assert found[0]["cases"]["p_t"] == pytest.approx(wanted) == found[0]["subjects"]["p_t"]
    for unit in ("cases", "subjects"):
        assert [one[unit]["p_t_holm"] for one in found] == holm([one[unit]["p_t"] for one in found])
        assert [one[unit]["p_wilcoxon_holm"] for one in found] == holm([one[unit]["p_wilcoxon"] for one in found])


def test_scans_of_one_subject_are_no_independent_evidence_and_the_test_over_subjects_knows_it() -> None:
    random, found = np.random.default_rng(0), []
    for _ in range(200):  # no difference in truth; both scans of each of ten subjects have the same error
        error = np.repeat(random.normal(size=10), 2)
        names = [f"s{n // 2}" for n in range(20)]
        result = compare_rows(rows(np.zeros(20), names), rows(error, names), resamples=2)
        found.append([result[unit]["p_t"] < 0.05 for unit in ("cases", "subjects")])
    by_case, by_subject = np.mean(found, axis=0)
    assert by_case > 0.12 and 0.02 < by_subject < 0.08
