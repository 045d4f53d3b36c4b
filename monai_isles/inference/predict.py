"""Predict many cases, each alone: one that fails takes no other along."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_isles.errors import IslesError, find_isles_error
from monai_isles.inference.confidence import lesion_confidence, volume_interval
from monai_isles.inference.perfusion_block import perfusion_block
from monai_isles.inference.predictor import Predictor
from monai_isles.io import publish_json, sha256_of
from monai_isles.progress import progress

log = logging.getLogger(__name__)
_CASE_FAULTS = (IslesError, RuntimeError, ValueError, OSError, MemoryError)


def predict_cases(
    predictor: Predictor,
    entries: Sequence[Mapping[str, object]],
    out: Path,
    *,
    after: Callable[[Mapping[str, object], Mapping[str, Any], dict[str, object]], None] | None = None,
) -> dict[str, dict[str, object]]:
    """Predict every entry into ``out/<case>`` and return one record a case: ``ok``, ``done before`` or ``failed``.

    ``result.json`` holds the volume, ``lesion_ml_interval`` (``volume_interval``), ``lesions`` (``lesion_confidence``)
    and, where the case has CBF and Tmax, ``perfusion`` (``perfusion_block``) beside what made them. A case whose
    ``result.json`` states the same weights, settings and inputs is not predicted again.

    Args:
        entries: flat dictionaries (``monai_isles.case.Case.entry``).
        after: called with entry, maps and result of each case before its ``result.json`` is written.
    Source: ours; ``tests/inference/test_predict.py``.
    """
    records: dict[str, dict[str, object]] = {}
    for entry in progress(entries, "predict", total=len(entries)):
        name = str(entry["case"])
        folder = out / name
        started = time.monotonic()
        try:
            stamp = _stamp(predictor, entry)
            if _same_as_before(folder / "result.json", stamp):
                records[name] = {"outcome": "done before"}
                continue
            maps = predictor.predict(entry)
            result = stamp | _measure(maps, predictor.settings) | {"seconds": round(time.monotonic() - started, 2)}
            block = perfusion_block(entry, predictor.settings)
            result |= {} if block is None else {"perfusion": block}
            if after is not None:
                after(entry, maps, result)
            publish_json(folder / "result.json", result)
            records[name] = {"outcome": "ok", "lesion_ml": result["lesion_ml"], "seconds": result["seconds"]}
        except _CASE_FAULTS as error:
            log.debug("case %s failed", name, exc_info=error)
            records[name] = {"outcome": "failed", "error": str(find_isles_error(error) or _reason(error))}
    return records


def _reason(error: BaseException) -> str:
    """Return the error and the one that caused it: MONAI wraps what a transform raises."""
    first = error
    while first.__cause__ is not None:
        first = first.__cause__
    said = [f"{type(e).__name__}: {e}" for e in ((error, first) if first is not error else (error,))]
    return ", caused by ".join(said)


def _stamp(predictor: Predictor, entry: Mapping[str, object]) -> dict[str, object]:
    modalities = {key: str(entry[key]) for key in predictor.modalities if key in entry}
    return {
        "case": entry["case"],
        "bundle": predictor.bundle,
        "weights_sha256": list(predictor.weights.values()),
        **predictor.settings,
        "modalities": modalities,
        "modalities_sha256": {key: sha256_of(Path(path)) for key, path in modalities.items()},
    }


def _same_as_before(path: Path, stamp: Mapping[str, object]) -> bool:
    if not path.is_file():
        return False
    try:
        before = json.loads(path.read_bytes())
    except ValueError:
        return False
    return isinstance(before, dict) and all(before.get(key) == value for key, value in stamp.items())


def _measure(maps: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, object]:
    lesion = maps["lesion"]
    spacing = [round(float(s), 6) for s in lesion.pixdim]
    voxel_ml = float(spacing[0] * spacing[1] * spacing[2]) / 1000
    mask, probability = (maps[key][0].cpu().numpy() for key in ("lesion", "probability"))
    uncertainty = maps["uncertainty"][0].cpu().numpy() if "uncertainty" in maps else None
    found: dict[str, object] = {"lesion_ml": round(int(lesion.sum()) * voxel_ml, 3), "spacing_mm": spacing}
    if uncertainty is not None:
        cut = (settings["threshold"], settings["min_size_vox"] or 0)
        found["lesion_ml_interval"] = list(volume_interval(probability, uncertainty, *cut, voxel_ml))
    return found | {"lesions": lesion_confidence(mask, probability, uncertainty, voxel_ml)}
