"""Predict many cases, each alone: one that fails takes no other along."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from monai_isles.cohort.task import FAULTS, failed, reason
from monai_isles.data.remote import fetched
from monai_isles.inference.ischaemia import perfusion_block
from monai_isles.inference.outputs import lesion_confidence, require_own_names, volume_interval
from monai_isles.inference.predictor import Predictor
from monai_isles.io.checksums import sha256_of
from monai_isles.io.findings import Finding, collect_remarks, remark_lines
from monai_isles.io.publish import publish_json
from monai_isles.progress import progress

Item, Read, Worked, Result = TypeVar("Item"), TypeVar("Read"), TypeVar("Worked"), TypeVar("Result")


def overlapped(
    items: Iterable[Item],
    read: Callable[[Item], Read],
    work: Callable[[Read], Worked],
    write: Callable[[Worked], Result],
) -> Iterator[Result]:
    """Yield ``write(work(read(item)))`` of every item in order; three items at most are in memory.

    ``read`` and ``write`` have a thread each, ``work`` stays in the caller's; each stage sees the items one by one and
    in order. What a stage raises ends the iteration.

    Source: ours; ``tests/inference/test_overlap.py``.
    """
    waiting = iter(items)
    with ThreadPoolExecutor(1, "read") as reader, ThreadPoolExecutor(1, "write") as writer:
        for thread in (reader, writer):
            thread.submit(int).result()  # started now: later there may be no memory for it

        def begin() -> Future[Read] | None:
            return next((reader.submit(read, item) for item in waiting), None)

        reading, writing = begin(), None
        while reading is not None:
            there = reading.result()
            reading = begin()
            worked = work(there)
            if writing is not None:
                yield writing.result()
            writing = writer.submit(write, worked)
        if writing is not None:
            yield writing.result()


log = logging.getLogger(__name__)
_CASE_FAULTS, _reason = FAULTS, reason
After = Callable[[Mapping[str, object], Mapping[str, Any], dict[str, object]], None]


def predict_cases(
    predictor: Predictor,
    entries: Sequence[Mapping[str, object]],
    out: Path,
    *,
    after: After | None = None,
) -> dict[str, dict[str, object]]:
    """Predict every entry into ``out/<case>`` and return one record a case: ``ok``, ``done before`` or ``failed``.

    ``result.json`` holds the volume, ``lesion_ml_interval`` (``volume_interval``), ``lesions`` (``lesion_confidence``),
    ``remarks`` (what was repaired or is unusual) and, where the case has CBF and Tmax, ``perfusion``
    (``perfusion_block``) beside what made them. A case whose
    ``result.json`` states the same weights, settings, inputs and maps as they lie there is not predicted again. The
    next case is read and the last one written while the networks run (``overlapped``); ``seconds`` are those of a
    case's own stages.

    Args:
        entries: flat dictionaries (``monai_isles.case.Case.entry``).
        after: called with entry, maps and result of each case before its ``result.json`` is written, in the thread
            that writes.
    Source: ours; ``tests/inference/test_predict.py``.
    """
    way = _Way(predictor, out, after)
    cases = overlapped(entries, way.read, way.infer, way.write)
    return {case.name: case.record for case in progress(cases, "predict", total=len(entries))}


@dataclass
class _OnTheWay:
    """One case between two stages; ``record`` ends its way."""

    entry: Mapping[str, object]
    stamp: dict[str, object] = field(default_factory=dict)
    data: Any = None
    maps: Any = None
    record: dict[str, object] = field(default_factory=dict)
    seconds: float = 0.0
    remarks: list[Finding] = field(default_factory=list)

    @property
    def name(self) -> str:
        return str(self.entry["case"])


@dataclass(frozen=True)
class _Way:
    """The three stages of a case; a fault in one of them is the record of the case and takes no other along."""

    predictor: Predictor
    out: Path
    after: After | None

    def read(self, entry: Mapping[str, object]) -> _OnTheWay:
        return self._staged(_OnTheWay(entry), self._read)

    def infer(self, case: _OnTheWay) -> _OnTheWay:
        return self._staged(case, self._infer)

    def write(self, case: _OnTheWay) -> _OnTheWay:
        return self._staged(case, self._write)

    @staticmethod
    def _staged(case: _OnTheWay, stage: Callable[[_OnTheWay], None]) -> _OnTheWay:
        if case.record:
            return case
        started = time.monotonic()
        try:
            with collect_remarks() as remarks:
                stage(case)
            case.remarks += remarks
        except _CASE_FAULTS as error:
            log.debug("case %s failed", case.name, exc_info=error)
            case.record = failed(error)
        if case.record:
            case.data = case.maps = None
        case.seconds += time.monotonic() - started
        return case

    def _read(self, case: _OnTheWay) -> None:
        require_own_names(self.predictor.postprocessing, case.entry, self.out / case.name)
        fetched(case.entry)
        case.stamp = _stamp(self.predictor, case.entry)
        if _same_as_before(self.out / case.name / "result.json", case.stamp):
            case.record = {"outcome": "done before"}
            return
        case.data = self.predictor.prepared(case.entry)

    def _infer(self, case: _OnTheWay) -> None:
        case.maps = self.predictor.inferred(case.data)

    def _write(self, case: _OnTheWay) -> None:
        started = time.monotonic()
        maps = self.predictor.finished(case.entry, case.data, case.maps)
        measured = _measure(maps, self.predictor.settings)
        seconds = round(case.seconds + time.monotonic() - started, 2)
        result = case.stamp | measured | _registration(case.data) | {"seconds": seconds}
        remarks = [*remark_lines(case.remarks), *result.get("remarks", [])]
        result |= {"remarks": remarks} if remarks else {}
        block = perfusion_block(case.entry, self.predictor.settings)
        result |= {} if block is None else {"perfusion": block}
        if self.after is not None:
            self.after(case.entry, maps, result)
        result["maps_sha256"] = _checksums(self.out / case.name, maps)
        publish_json(self.out / case.name / "result.json", result)
        case.record = {"outcome": "ok", "lesion_ml": result["lesion_ml"], "seconds": seconds}


def _stamp(predictor: Predictor, entry: Mapping[str, object]) -> dict[str, object]:
    modalities = {key: str(entry[key]) for key in predictor.modalities if key in entry}
    return {
        "case": entry["case"],
        "bundle": predictor.bundle,
        "weights_sha256": list(predictor.weights.values()),
        **predictor.settings,
        "resample": bool(entry.get("resample")),
        "modalities": modalities,
        "modalities_sha256": {key: sha256_of(Path(path)) for key, path in modalities.items()},
    }


def _registration(data: Mapping[str, Any]) -> dict[str, object]:
    """Return how the mirrored channels were made, and the remark on it if there is one; nothing without them."""
    record = data.get("mirror")
    if record is None:
        return {}
    numbers = ("angle_deg", "roll_deg", "offset_mm", "residual_mm", "flip_residual_mm", "overlap", "similarity")
    rounded = {key: round(record[key], 3) if math.isfinite(record[key]) else None for key in numbers}
    remarks = {"remarks": [record["remark"]]} if record["remark"] else {}
    maps = {key: np.round(record[key], 6).tolist() for key in ("matrix", "shift_mm")}
    return {"registration": {"method": record["method"], **rounded, **maps}, **remarks}


def _same_as_before(path: Path, stamp: Mapping[str, object]) -> bool:
    if not path.is_file():
        return False
    try:
        before = json.loads(path.read_bytes())
    except ValueError:
        return False
    if not isinstance(before, dict) or any(before.get(key) != value for key, value in stamp.items()):
        return False
    kept = before.get("maps_sha256")
    return isinstance(kept, dict) and bool(kept) and kept == _checksums(path.parent, kept)


def _checksums(folder: Path, maps: Mapping[str, object]) -> dict[str, str]:
    """Return the SHA-256 of the maps of a case that lie in its folder."""
    files = {name: folder / f"{name}.nii.gz" for name in maps}
    return {name: sha256_of(path) for name, path in files.items() if path.is_file()}


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
