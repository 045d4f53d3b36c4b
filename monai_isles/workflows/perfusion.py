"""Measure the maps of one perfusion series, or of many; if one fails, the others still run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from monai_isles import __version__
from monai_isles.cohort.task import Place, Record, Task
from monai_isles.data.scans import SeriesInput, read_perfusion_series
from monai_isles.data.study import find_studies, studies_of, study_places
from monai_isles.errors import refused
from monai_isles.io.clock import UserTimes
from monai_isles.io.publish import publish_csv, publish_image, publish_json
from monai_isles.io.runs import RunFolder, done_before, sweep_parts
from monai_isles.modalities import MEASURED_MAPS
from monai_isles.perfusion.maps import PerfusionMaps, map_settings, measured_maps, perfusion_record
from monai_isles.perfusion.prepared import prepare_series
from monai_isles.perfusion.quality import NO_ARTERY, Flag
from monai_isles.perfusion.thresholds import contralateral_side, ischaemia, relative_cbf
from monai_isles.transforms.registration import split_head
from monai_isles.workflows.measure_study import map_flags, publish_maps, run_studies

MAPS = (*MEASURED_MAPS, "rcbf")
MASKS = ("core", "hypoperfused")
RECORD, TABLE = "perfusion.json", "per_case.csv"


@dataclass(frozen=True)
class Measuring:
    """Hold how a series is read and its maps are measured (``monai_isles.perfusion.measured_maps``)."""

    method: str | None = None
    truncation: float | str | None = None
    smoothing_mm: float | None = None
    dt_s: UserTimes = None
    motion: bool = True
    device: str = "cpu"
    series: str | None = None
    slab_mm: float | None = None

    def __post_init__(self) -> None:
        if self.smoothing_mm is not None and not 0 <= self.smoothing_mm <= 30:
            raise refused("E-USE-31", where="--smoothing-mm", found=f"{self.smoothing_mm:g} mm")

    def settings(self) -> dict[str, object]:
        """Return the settings for the record of a series."""
        made = map_settings(self.method, self.truncation, self.smoothing_mm)
        return {**made, "motion": self.motion, "device": self.device}


def perfusion(
    paths: Sequence[str | Path], out: Path, measuring: Measuring, *, place: Place, strict: bool = False
) -> dict[str, Any]:
    """Measure one series into ``out``, or several into ``out/<name>``; return the record of the one, or of all."""
    places = study_places(paths[0]) if len(paths) == 1 else []
    studies = studies_of(places[0], measuring.series) if len(places) == 1 else []
    if len(studies) == 1:
        with RunFolder(out, outputs=[f"{name}.nii.gz" for name in (*MAPS, "brain", *MASKS)]) as held:
            record, sha256 = measure_series(
                studies[0].series, out, replace(measuring, series=studies[0].uid), files=studies[0].own_files
            )
            held.finish({"kind": "perfusion", "series": str(paths[0]), "sha256": sha256, **record})
        return record
    with RunFolder(out) as held:
        place = {"gpus": int(measuring.device.startswith("cuda")), **place}
        work = partial(measure_one, out=out.absolute(), measuring=measuring)
        found = find_studies(paths, series=measuring.series)
        cases = run_studies(work, found, place=place, title="maps", unit="series", strict=strict)
        sweep_parts(out)
        _publish_table(out, cases)
        held.finish(record := {"kind": "perfusion of a cohort", "settings": measuring.settings(), "cases": cases})
    return record


def measure_series(
    path: str | Path, out: Path, measuring: Measuring, *, files: Sequence[Path] = (),
    stamp: Mapping[str, object] | None = None,
) -> tuple[dict[str, Any], str]:  # fmt: skip
    """Read, prepare, measure and write one series; return its record and the SHA-256 of its reference file.

    ``out`` gets ``cbf cbv mtt tmax ttp rcbf brain`` as NIfTI; ``core`` and ``hypoperfused`` where an artery was found;
    and ``perfusion.json``, the record with ``stamp``.
    """
    options: dict[str, Any] = {key: getattr(measuring, key) for key in ("dt_s", "series", "slab_mm")}
    series = read_perfusion_series(path, **options, files=files)
    spacing_mm, motion = series.like.spacing_mm, measuring.motion
    prepared = prepare_series(series.array, spacing_mm=spacing_mm, times_s=series.times_s, motion=motion)
    chosen: dict[str, Any] = {key: getattr(measuring, key) for key in ("method", "truncation", "smoothing_mm")}
    maps = measured_maps(prepared, **chosen, device=torch.device(measuring.device))
    left, midline = split_head(prepared.baseline_hu, maps.brain, spacing_mm, where=str(path))
    healthy = contralateral_side(maps.tmax, maps.brain, left)
    flow = maps.cbf[healthy & (maps.cbf > 0)]
    publish_maps(out, maps, series.like)
    rcbf = relative_cbf(maps.cbf, maps.brain, healthy)
    text = "RCBF part of the healthy side"
    publish_image(out / "rcbf.nii.gz", rcbf, series.like, dtype="float32", description=text)
    record = perfusion_record(prepared, maps, measuring.settings())
    remarks = [Flag("series", "info", remark) for remark in series.remarks]
    record["flags"] = map_flags(record["flags"], maps, prepared.dt_s, remarks, where=str(path))
    record |= {
        "midline": midline,
        "times_from": series.times_from,
        "tube_kv": series.tube_kv,
        "healthy_side_cbf_ml_100g_min": round(float(flow.mean(dtype=float)), 3),
        "ischaemia": _volumes(maps, series, left, healthy, out),
        "map_files": {name: f"{name}.nii.gz" for name in (*MAPS, "brain")},
    }
    publish_json(out / RECORD, {**record, **(stamp or {})})
    return record, series.like.sha256


def _volumes(
    maps: PerfusionMaps, series: SeriesInput, left: np.ndarray, healthy: np.ndarray, out: Path
) -> dict[str, Any]:
    """Write core and hypoperfused tissue and return their record; only the reason if no artery leads the tissue."""
    if not maps.artery_leads:
        for name in MASKS:
            (out / f"{name}.nii.gz").unlink(missing_ok=True)
        return {"not_computed": NO_ARTERY}
    result = ischaemia(
        maps.cbf, maps.tmax, maps.brain, series.like.spacing_mm, contralateral=healthy, cbv=maps.cbv, left=left
    )
    for name in MASKS:
        publish_image(out / f"{name}.nii.gz", getattr(result, name), series.like, dtype="uint8", description=name)
    return result.record()


def _publish_table(out: Path, records: Mapping[str, Record]) -> None:
    """Write ``per_case.csv``: one line for each series, empty where it failed."""
    columns, volumes = ("frames", "dt_s", "brain_ml"), ("core_ml", "hypoperfused_ml", "mismatch_ml", "mismatch_ratio")
    lines = []
    for name, record in records.items():
        there = record["outcome"] != "failed"
        made = json.loads((out / name / RECORD).read_bytes()) if there else {}
        medians, found = made.get("medians", {}), made.get("ischaemia", {})
        values = (*map(made.get, columns), *map(medians.get, MAPS[:-1]), *map(found.get, volumes))
        lines.append((name, int(there), *values))
    publish_csv(out / TABLE, ("case", "measured", *columns, *MAPS[:-1], *volumes), lines)


def measure_one(task: Task, *, out: Path, measuring: Measuring) -> Record:
    """Measure the series of a task, unless it is done with the same files and settings."""
    folder = out / task.case
    stamp = {"version": __version__, "source_sha256": task.about.sha256(), "asked": asdict(measuring)}
    if done_before(folder / RECORD, stamp, [folder / f"{name}.nii.gz" for name in (*MAPS, "brain")]):
        return {"outcome": "done before"}
    study, measuring = task.about, replace(measuring, series=task.about.uid)
    measure_series(study.series, folder, measuring, files=study.own_files, stamp=stamp)
    return {"outcome": "ok"}
