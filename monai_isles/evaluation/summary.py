"""Summarise scores over cases: means, spreads and intervals, with the undefined values counted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from monai_isles.evaluation.maps import finite_or_none, summarise_maps
from monai_isles.metrics.overlap import EMPTY_BOTH, EMPTY_PREDICTION, EMPTY_REFERENCE
from monai_isles.metrics.volume import STRATA, bland_altman, r2_identity, r2_pearson, size_stratum

Row = Mapping[str, Any]
METRICS = (
    "dsc", "ppv", "sensitivity", "hd_mm", "hd95_mm", "assd_mm", "assd_half_sum_mm", "hd_vox", "avd_ml", "rve",
    "lesion_f1", "lesion_f1_iou25", "lesion_pq",
)  # fmt: skip
BY_SIZE = ("dsc", "ppv", "sensitivity", "hd95_mm", "avd_ml", "lesion_f1", "lesion_f1_iou25", "lesion_pq")
LARGEST = dict.fromkeys(("hd_mm", "hd95_mm", "assd_mm", "assd_half_sum_mm"), "diagonal_mm") | {"hd_vox": "diagonal_vox"}


def summarise(rows: Sequence[Row], *, resamples: int = 2000, seed: int = 0) -> dict[str, Any]:
    """Return the counts and statistics of one method over its cases.

    Every metric has n (cases where it is defined), mean, sd (n - 1), median, q1, q3 and a 95 % interval of the mean;
    a distance also has ``imputed``: the same over all cases, with the image diagonal for undefined distances.
    Undefined numbers are None. ``strata`` holds the same by size of the reference lesion (``BY_SIZE`` only),
    ``bland_altman`` the agreement of the volumes, ``calibration`` that of the maps, None without maps.

    Args:
        rows: one dictionary per case, as from ``score_case``, with ``subject``.
        resamples, seed: of the bootstrap, which draws subjects with replacement and keeps the cases of one together.
    Source: percentile bootstrap, Efron 1979, doi:10.1214/aos/1176344552; ``tests/evaluation/test_summary.py``.

    >>> from monai_isles.evaluation import score_case
    >>> mask = np.ones((2, 2, 1))
    >>> rows = [{"subject": "anna", **score_case(mask, mask, (1.0, 1.0, 5.0))}]
    >>> summarise(rows)["metrics"]["dsc"]["mean"]
    1.0
    """
    draws = draw_subjects([str(row["subject"]) for row in rows], resamples, seed)
    metrics = {name: _statistics(_column(rows, name), draws) for name in METRICS}
    for name, largest in LARGEST.items():
        values = _column(rows, name)
        metrics[name]["imputed"] = _statistics(np.where(np.isnan(values), _column(rows, largest), values), draws)
    volumes = [_column(rows, f"lesion_ml_{side}") for side in ("pred", "ref")]
    return {
        **_counts(rows),
        "metrics": metrics,
        "volumes": {"r2": finite_or_none(r2_identity(*volumes)), "r2_pearson": finite_or_none(r2_pearson(*volumes))},
        "bland_altman": bland_altman(*volumes),
        "strata": _strata(rows, resamples, seed),
        "calibration": summarise_maps(rows),
    }


def _strata(rows: Sequence[Row], resamples: int, seed: int) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name in STRATA:
        own = [row for row in rows if size_stratum(float(row["lesion_ml_ref"])) == name]
        result[name] = _counts(own)
        if own:
            draws = draw_subjects([str(row["subject"]) for row in own], resamples, seed)
            result[name]["metrics"] = {key: _statistics(_column(own, key), draws) for key in BY_SIZE}
    return result


def _column(rows: Sequence[Row], name: str) -> np.ndarray:
    return np.array([float(row[name]) for row in rows])


def _counts(rows: Sequence[Row]) -> dict[str, int]:
    empty = [row["empty"] for row in rows]
    return {
        "n": len(rows),
        "subjects": len({str(row["subject"]) for row in rows}),
        "empty_references": sum(side in (EMPTY_REFERENCE, EMPTY_BOTH) for side in empty),
        "empty_predictions": sum(side in (EMPTY_PREDICTION, EMPTY_BOTH) for side in empty),
        "empty_both": empty.count(EMPTY_BOTH),
        "undefined_distances": sum(side in (EMPTY_REFERENCE, EMPTY_PREDICTION) for side in empty),
        "missing_predictions": sum(bool(row.get("missing")) for row in rows),
    }


def draw_subjects(subjects: Sequence[str], resamples: int, seed: int) -> np.ndarray:
    """Return how often every case is drawn with its subject, ``(resamples, cases)``."""
    names, of_case = np.unique(subjects, return_inverse=True)
    random = np.random.default_rng(seed)
    times = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    return times[:, of_case]


def mean_interval(values: np.ndarray, draws: np.ndarray) -> list[float]:
    """Return the 95 % interval of the mean over the drawn cases."""
    drawn = draws.sum(axis=1)  # a draw may hold no case with this metric
    means = (draws[drawn > 0] @ values) / drawn[drawn > 0]
    return [float(end) for end in np.percentile(means, (2.5, 97.5))]


def _statistics(values: np.ndarray, draws: np.ndarray) -> dict[str, Any]:
    defined = ~np.isnan(values)
    kept = values[defined]
    if not kept.size:
        return {"n": 0, **dict.fromkeys(("mean", "sd", "median", "q1", "q3", "ci95"))}
    q1, median, q3 = np.percentile(kept, (25, 50, 75))
    numbers = {"mean": kept.mean(), "sd": kept.std(ddof=1) if kept.size > 1 else math.nan}
    numbers |= {"median": median, "q1": q1, "q3": q3}
    drawn = draws[:, defined]  # equal columns: one subject, whose draws hold no spread
    interval = mean_interval(kept, drawn) if np.ptp(drawn, axis=1).any() else None
    return {"n": int(kept.size), **{key: finite_or_none(value) for key, value in numbers.items()}, "ci95": interval}
