"""Summarise scores over cases: means, spreads and intervals, with the undefined values counted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from monai_isles.evaluation.maps import summarise_maps
from monai_isles.metrics.overlap import EMPTY_BOTH, EMPTY_PREDICTION, EMPTY_REFERENCE
from monai_isles.metrics.volume import STRATA, bland_altman, r2_identity, r2_pearson, size_stratum

_COLUMNS = (
    ("DSC", "dsc", 3),
    ("PPV", "ppv", 3),
    ("Sens.", "sensitivity", 3),
    ("HD mm", "hd_mm", 1),
    ("HD95 mm", "hd95_mm", 1),
    ("ASSD mm", "assd_mm", 2),
    ("AVD ml", "avd_ml", 1),
)


def summary_table(summary: Mapping) -> str:
    """Return the methods side by side (mean and SD), the intervals, the counts, and the rules for empty masks."""
    first = next(iter(summary["methods"].values()))
    kind = "simulated data, not patients" if summary["simulated"] else "data as given"
    head = f"{summary['data']} ({kind}): {first['n']} cases of {first['subjects']} subjects"
    names = ["method", *(title for title, _, _ in _COLUMNS), "R2"]
    lines = [names, *(_method(name, method) for name, method in summary["methods"].items())]
    return "\n".join([head, "", *align(lines), "", *_notes(summary)])


def _method(name: str, method: Mapping) -> list[str]:
    cells = [_cell(method["metrics"][key], digits) for _, key, digits in _COLUMNS]
    return [name, *cells, _plain(method["volumes"]["r2"], 2)]


def _cell(statistics: Mapping, digits: int) -> str:
    return f"{_plain(statistics['mean'], digits)} +- {_plain(statistics['sd'], digits)}"


def _plain(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def align(grid: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows of a table as lines of text, with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in grid]


def _notes(summary: Mapping) -> list[str]:
    notes = ["mean +- SD over cases; distances over the cases where both masks hold a lesion"]
    for name, error in summary.get("left_out", {}).items():
        notes.append(f"left out {name}: {' '.join(error.split())}")
    for name, method in summary["methods"].items():
        low, high = method["metrics"]["dsc"]["ci95"] or (None, None)
        notes.append(f"{name}: DSC 95 % interval {_plain(low, 3)} to {_plain(high, 3)} (bootstrap over subjects)")
        notes.append(
            f"{name}: empty references {method['empty_references']}, empty predictions {method['empty_predictions']}, "
            f"missing predictions {method['missing_predictions']}, undefined distances {method['undefined_distances']}"
            f"; HD {_plain(method['metrics']['hd_mm']['imputed']['mean'], 1)} mm with the diagonal in their place"
        )
        notes.extend(f"{name}: {line}" for line in _more(method))
    notes.extend(f"{name}: {text}" for name, text in summary.get("baselines", {}).items())
    notes.append("rules for empty masks:")
    notes.extend(f"  {name}: {rule}" for name, rule in summary["rules"].items())
    return notes


def _more(method: Mapping) -> list[str]:
    """Return the lines on values without a column; none for a summary without these values."""
    lines = []
    if "lesion_f1_iou25" in method["metrics"]:
        any_overlap, matched = (_cell(method["metrics"][key], 3) for key in ("lesion_f1", "lesion_f1_iou25"))
        lines.append(f"lesion detection F1 {any_overlap} (any overlap), {matched} (one to one, IoU >= 0.25)")
    if "lesion_pq" in method["metrics"]:
        lines.append(f"panoptic quality {_cell(method['metrics']['lesion_pq'], 3)}")
    strata = method.get("strata") or {}
    sized = [
        f"{size} {_plain(row['metrics']['dsc']['mean'], 3)} (n {row['n']}, {row['empty_predictions']} predicted empty)"
        for size, row in strata.items()
        if row["n"]
    ]
    lines += [f"DSC by size of the reference: {', '.join(sized)}"] if sized else []
    agreement = method.get("bland_altman")
    if agreement:
        bias, low, high = (_plain(agreement[key], 1) for key in ("bias_ml", "lower_ml", "upper_ml"))
        lines.append(f"volume bias {bias} ml, limits of agreement {low} to {high} ml (n {agreement['n']})")
    return lines + _maps(method.get("calibration"))


def _maps(calibration: Mapping | None) -> list[str]:
    if not calibration:
        return []
    n, interval, uncertain = calibration["n"], calibration["interval"], calibration.get("uncertainty")
    lines = [f"calibration of {n} maps: ECE {_plain(calibration['ece'], 3)}, by bin {_plain(calibration['ace'], 3)}"]
    if uncertain:
        auroc = uncertain["uncertainty_auroc"]
        lines.append(f"uncertainty tells wrong from right voxels: AUROC {_plain(auroc['mean'], 3)} (n {auroc['n']})")
    if interval["n"]:
        lines.append(f"volume interval holds the reference in {interval['holds_reference']} of {interval['n']} cases")
    return lines


Row = Mapping[str, Any]
METRICS = (
    "dsc",
    "ppv",
    "sensitivity",
    "hd_mm",
    "hd95_mm",
    "assd_mm",
    "assd_half_sum_mm",
    "hd_vox",
    "avd_ml",
    "rve",
    "lesion_f1",
    "lesion_f1_iou25",
    "lesion_pq",
)
BY_SIZE = ("dsc", "ppv", "sensitivity", "hd95_mm", "avd_ml", "lesion_f1", "lesion_f1_iou25", "lesion_pq")
LARGEST = {name: "diagonal_mm" for name in ("hd_mm", "hd95_mm", "assd_mm", "assd_half_sum_mm")}
LARGEST["hd_vox"] = "diagonal_vox"


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
    subjects = [str(row["subject"]) for row in rows]
    draws = _draws(subjects, resamples, seed)
    metrics: dict[str, Any] = {}
    for name in METRICS:
        values = np.array([float(row[name]) for row in rows])
        metrics[name] = _statistics(values, draws)
        if name in LARGEST:
            largest = np.array([float(row[LARGEST[name]]) for row in rows])
            metrics[name]["imputed"] = _statistics(np.where(np.isnan(values), largest, values), draws)
    pred_ml, ref_ml = ([float(row[f"lesion_ml_{side}"]) for row in rows] for side in ("pred", "ref"))
    return {
        **_counts(rows, subjects),
        "metrics": metrics,
        "volumes": {"r2": _number(r2_identity(pred_ml, ref_ml)), "r2_pearson": _number(r2_pearson(pred_ml, ref_ml))},
        "bland_altman": bland_altman(pred_ml, ref_ml),
        "strata": _strata(rows, resamples, seed),
        "calibration": summarise_maps(rows),
    }


def _strata(rows: Sequence[Row], resamples: int, seed: int) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name in STRATA:
        own = [row for row in rows if size_stratum(float(row["lesion_ml_ref"])) == name]
        subjects = [str(row["subject"]) for row in own]
        result[name] = _counts(own, subjects)
        if own:
            draws = _draws(subjects, resamples, seed)
            columns = {key: np.array([float(row[key]) for row in own]) for key in BY_SIZE}
            result[name]["metrics"] = {key: _statistics(values, draws) for key, values in columns.items()}
    return result


def _counts(rows: Sequence[Row], subjects: Sequence[str]) -> dict[str, int]:
    empty = [row["empty"] for row in rows]
    return {
        "n": len(rows),
        "subjects": len(set(subjects)),
        "empty_references": sum(side in (EMPTY_REFERENCE, EMPTY_BOTH) for side in empty),
        "empty_predictions": sum(side in (EMPTY_PREDICTION, EMPTY_BOTH) for side in empty),
        "empty_both": empty.count(EMPTY_BOTH),
        "undefined_distances": sum(side in (EMPTY_REFERENCE, EMPTY_PREDICTION) for side in empty),
        "missing_predictions": sum(bool(row.get("missing")) for row in rows),
    }


def _draws(subjects: Sequence[str], resamples: int, seed: int) -> np.ndarray:
    """Return how often every case is drawn, ``(resamples, cases)``."""
    names, of_case = np.unique(subjects, return_inverse=True)
    random = np.random.default_rng(seed)
    times = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    return times[:, of_case]


def _statistics(values: np.ndarray, draws: np.ndarray) -> dict[str, Any]:
    defined = ~np.isnan(values)
    kept = values[defined]
    if not kept.size:
        return {"n": 0, **dict.fromkeys(("mean", "sd", "median", "q1", "q3", "ci95"))}
    q1, median, q3 = np.percentile(kept, (25, 50, 75))
    numbers = {"mean": kept.mean(), "sd": kept.std(ddof=1) if kept.size > 1 else math.nan}
    numbers |= {"median": median, "q1": q1, "q3": q3}
    return {
        "n": int(kept.size),
        **{key: _number(value) for key, value in numbers.items()},
        "ci95": _interval(kept, draws[:, defined]),
    }


def _interval(values: np.ndarray, draws: np.ndarray) -> list[float] | None:
    drawn = draws.sum(axis=1)
    if values.size < 2:
        return None
    means = (draws[drawn > 0] @ values) / drawn[drawn > 0]
    return [float(end) for end in np.percentile(means, (2.5, 97.5))]


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
