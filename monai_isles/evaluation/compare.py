"""Compare methods on the same cases: paired tests and an interval of the mean difference."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from monai_isles.errors import refused
from monai_isles.evaluation.summary import draw_subjects, mean_interval

Row = Mapping[str, Any]
TESTED = ("dsc", "ppv", "sensitivity", "hd_mm")
PS = ("p_t", "p_wilcoxon")


def compare_methods(
    rows: Mapping[str, Sequence[Row]],
    pairs: Sequence[tuple[str, str]],
    *,
    metrics: Sequence[str] = TESTED,
    resamples: int = 2000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return ``compare_rows`` of every pair and metric, with Holm's correction over all tests of a kind.

    Args:
        pairs: a method and its comparator; differences are the first minus the second.
    Source: Holm 1979, Scandinavian Journal of Statistics 6:65.
    """
    results: list[dict[str, Any]] = [
        {"row": name, "against": other,
         **compare_rows(rows[other], rows[name], metric=metric, resamples=resamples, seed=seed)}
        for name, other in pairs for metric in metrics
    ]  # fmt: skip
    for unit in ("cases", "subjects"):
        for kind in PS:
            for result, p in zip(results, holm([result[unit][kind] for result in results]), strict=True):
                result[unit][f"{kind}_holm"] = p
    return results


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Return p values corrected by Holm's step-down rule; a missing test (None) is not counted."""
    order = sorted((index for index, p in enumerate(ps) if p is not None), key=lambda index: float(ps[index] or 0))
    corrected: list[float | None] = [None] * len(ps)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * float(ps[index] or 0)))
        corrected[index] = largest
    return corrected


def compare_rows(
    first: Sequence[Row], second: Sequence[Row], *, metric: str = "dsc", resamples: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """Return the paired difference ``second - first`` of one metric over the same cases.

    ``cases`` holds n, mean difference, paired t-test and Wilcoxon signed-rank test (two-sided) over cases, as the
    papers report them; ``subjects`` the same over each subject's mean, the honest n where a subject has several scans;
    ``ci95`` the bootstrap interval of the mean over cases, subjects drawn with their cases. Cases where either value
    is undefined (nan) are left out and counted. A test that does not exist (n below 2, or every difference the same)
    has None.

    Args:
        first, second: rows of ``per_case.csv``, with ``case`` and ``subject``.
    Raises: ``E-CMP-01`` other cases or subjects, ``E-CMP-02`` a case twice, ``E-CMP-03`` no such number.
    Source: paired t-test as in Clerigues 2019, section 4; Wilcoxon 1945, doi:10.2307/3001968; percentile bootstrap,
    Efron 1979, doi:10.1214/aos/1176344552; ``tests/evaluation/test_compare.py``.

    >>> first = [{"case": f"case_{n}", "subject": f"subject_{n}", "dsc": 0.5} for n in range(4)]
    >>> second = [{**row, "dsc": 0.6 + 0.01 * n} for n, row in enumerate(first)]
    >>> round(compare_rows(first, second)["cases"]["mean"], 3)  # second minus first
    0.115
    """
    pairs = _pair(first, second)
    values = np.array([[_number(row, metric) for row in pair] for pair in pairs]).reshape(-1, 2)
    defined = np.isfinite(values).all(axis=1)
    difference = (values[:, 1] - values[:, 0])[defined]
    subjects = [str(pair[0]["subject"]) for pair, fine in zip(pairs, defined, strict=True) if fine]
    _, of_case = np.unique(subjects, return_inverse=True)
    by_subject, several = np.bincount(of_case, difference) / np.bincount(of_case), len(set(subjects)) > 1
    return {
        "metric": metric,
        "undefined": int((~defined).sum()),
        "cases": _tests(difference),
        "subjects": _tests(by_subject),
        "ci95": mean_interval(difference, draw_subjects(subjects, resamples, seed)) if several else None,
        "bootstrap": {"resamples": resamples, "seed": seed, "level": 0.95, "unit": "subject"},
    }


def _tests(difference: np.ndarray) -> dict[str, Any]:
    n = int(difference.size)
    result: dict[str, Any] = {"n": n, "mean": None, "sd": None, "t": None, "p_t": None, "w": None, "p_wilcoxon": None}
    if n:
        result["mean"] = float(difference.mean())
    if n < 2:
        return result
    result["sd"] = float(difference.std(ddof=1))
    if np.ptp(difference) > 1e-12:
        t = stats.ttest_1samp(difference, 0.0)
        result |= {"t": float(t.statistic), "p_t": float(t.pvalue)}
    if np.ptp(difference) > 1e-12 or abs(difference[0]) > 1e-12:
        w = stats.wilcoxon(difference)
        result |= {"w": float(w.statistic), "p_wilcoxon": float(w.pvalue)}
    return result


def _pair(first: Sequence[Row], second: Sequence[Row]) -> list[tuple[Row, Row]]:
    sides = [{str(row["case"]): row for row in rows} for rows in (first, second)]
    for rows, side in zip((first, second), sides, strict=True):
        if len(side) != len(rows):
            raise refused("E-CMP-02", where="rows of one method", found=f"{len(rows)} rows for {len(side)} cases")
    names = set(sides[0]) ^ set(sides[1])
    names |= {n for n in set(sides[0]) & set(sides[1]) if sides[0][n]["subject"] != sides[1][n]["subject"]}
    if names:
        found = f"{len(names)} cases of one side only or of another subject: {', '.join(sorted(names)[:8])}"
        raise refused("E-CMP-01", where=f"{len(first)} against {len(second)} cases", found=found)
    return [(row, sides[1][name]) for name, row in sides[0].items()]


def _number(row: Row, metric: str) -> float:
    try:
        value = row[metric]
        return math.nan if value == "" else float(value)
    except (KeyError, TypeError, ValueError) as error:
        found = repr(row.get(metric, "no such column"))
        raise refused("E-CMP-03", where=f"{row['case']}: {metric}", found=found) from error
