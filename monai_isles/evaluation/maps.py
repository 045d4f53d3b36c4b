"""Score the probability and uncertainty maps of a prediction: calibration, errors found, volume interval."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_isles.case import Case
from monai_isles.evaluation.pairs import on_reference_grid
from monai_isles.io.read import Image, read_image
from monai_isles.metrics import calibration

MAP_COLUMNS = (
    "ece", "ace", "brier", "uncertainty_auroc", "uncertainty_right", "uncertainty_wrong", "lesion_ml_low",
    "lesion_ml_high",
)  # fmt: skip
_CURVE, _LEVELS = "_curve", "_levels"
Row = Mapping[str, Any]


def map_scores(mask: Path, pred: np.ndarray, ref: Image, *, case: Case) -> dict[str, Any]:
    """Return the map columns of one case over voxels reached by a window or in the lesion, none without maps."""
    files = {name: mask.with_name(f"{name}.nii.gz") for name in ("probability", "uncertainty")}
    if not mask.name.startswith("lesion.") or not files["probability"].is_file():
        return {}
    truth = ref.data > 0
    probability = _read(files["probability"], "probability", ref, case)
    seen = (probability > 0) | truth
    curve = calibration.reliability(probability[seen], truth[seen])
    facts: dict[str, Any] = {"ece": curve.ece(), "ace": curve.ace(), _CURVE: curve}
    facts["brier"] = calibration.brier_score(probability[seen], truth[seen])
    result = mask.with_name("result.json")
    ends = json.loads(result.read_text(encoding="utf-8")).get("lesion_ml_interval") if result.is_file() else None
    facts["lesion_ml_low"], facts["lesion_ml_high"] = map(float, ends or (math.nan, math.nan))
    if files["uncertainty"].is_file():
        uncertainty = _read(files["uncertainty"], None, ref, case)[seen]
        wrong = pred[seen] != truth[seen]
        facts["uncertainty_auroc"] = calibration.uncertainty_auroc(uncertainty, wrong)
        facts |= {"uncertainty_right": _mean(uncertainty[~wrong]), "uncertainty_wrong": _mean(uncertainty[wrong])}
        facts[_LEVELS] = calibration.uncertainty_errors(uncertainty, wrong)
    return facts


def summarise_maps(rows: Sequence[Row]) -> dict[str, Any] | None:
    """Return the calibration over all cases with maps, None without maps.

    ``ece``, ``ace`` and ``curve`` are over all their voxels together, ``*_by_case`` the means over cases;
    ``uncertainty.levels`` is the share of wrong voxels by uncertainty; ``interval`` counts the cases whose reference
    volume lies in the predicted interval.
    """
    mapped = [row for row in rows if _CURVE in row]
    if not mapped:
        return None
    curve: calibration.Reliability = sum((row[_CURVE] for row in mapped[1:]), mapped[0][_CURVE])
    result: dict[str, Any] = {"n": len(mapped), "voxels": int(curve.voxels.sum())}
    result |= {"ece": finite_or_none(curve.ece()), "ace": finite_or_none(curve.ace()), "curve": curve.curve()}
    result |= {f"{name}_by_case": _over_cases(mapped, name) for name in ("ece", "ace", "brier")}
    levels = [row[_LEVELS] for row in mapped if _LEVELS in row]
    if levels:
        names, edges = ("uncertainty_auroc", "uncertainty_right", "uncertainty_wrong"), calibration.UNCERTAINTY_EDGES
        result["uncertainty"] = {name: _over_cases(mapped, name) for name in names}
        result["uncertainty"]["levels"] = [
            {"from": low, "to": high, "voxels": int(n), "wrong": float(k / n) if n else None}
            for low, high, n, k in zip(edges, edges[1:], *np.sum(levels, axis=0), strict=False)
        ]
    held = [
        float(row["lesion_ml_low"]) <= float(row["lesion_ml_ref"]) <= float(row["lesion_ml_high"])
        for row in mapped
        if math.isfinite(float(row["lesion_ml_low"]))
    ]
    result["interval"] = {"n": len(held), "holds_reference": sum(held)}
    return result


def _read(path: Path, kind: str | None, ref: Image, case: Case) -> np.ndarray:
    image = read_image(path, kind=kind, where=case.name)
    return on_reference_grid(image, ref, case, kind=path.name.partition(".")[0]).data


def _over_cases(rows: Sequence[Row], name: str) -> dict[str, float | int | None]:
    values = np.array([float(row.get(name, math.nan)) for row in rows])
    kept = values[np.isfinite(values)]
    return {"n": int(kept.size), "mean": float(kept.mean()) if kept.size else None}


def _mean(values: np.ndarray) -> float:
    return float(values.mean(dtype=np.float64)) if values.size else math.nan


def finite_or_none(value: float) -> float | None:
    """Return a number as JSON can hold it."""
    return float(value) if math.isfinite(value) else None
