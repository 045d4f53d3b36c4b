"""Measure the maps of perfusion series: of one or many for their own sake, or as the inputs of a bundle."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from monai_isles import __version__
from monai_isles.bundle.bundle import OTHER_WEIGHTS, TRAINED
from monai_isles.cohort.engine import run_cases
from monai_isles.cohort.task import Place, Record, Task, stands_elsewhere
from monai_isles.data.scans import SeriesInput, read_perfusion_series
from monai_isles.data.study import RECORD, StudyFiles, StudyImages, find_studies, read_study, studies_of, study_places
from monai_isles.dicom.header import read_words
from monai_isles.errors import refused
from monai_isles.inference.ischaemia import brain_facts, unseen_intensities
from monai_isles.io.clock import UserTimes
from monai_isles.io.orientation import from_ras
from monai_isles.io.publish import publish, publish_csv, publish_image, publish_json
from monai_isles.io.read import Image
from monai_isles.io.runs import RunFolder, done_before, sweep_parts, tell_replaced
from monai_isles.io.values import AIR_HU
from monai_isles.modalities import MEASURED_MAPS
from monai_isles.perfusion.maps import MAP_UNITS, PerfusionMaps, map_settings, measured_maps, perfusion_record
from monai_isles.perfusion.prepared import PreparedSeries, prepare_series
from monai_isles.perfusion.quality import NO_ARTERY, Flag
from monai_isles.perfusion.thresholds import contralateral_side, ischaemia, relative_cbf
from monai_isles.transforms.registration import split_head

MAPS = (*MEASURED_MAPS, "rcbf")
MASKS = ("core", "hypoperfused")
TABLE = "per_case.csv"
_MEAN_CT = "mean before the bolus, HU"
_NAMED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
RESIDUAL, LEAST_RESIDUAL_HU = 2.0, 10.0
_ENHANCED_PART, _OTHER_BRAIN_HU = 0.2, 15.0


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
            study = studies[0]
            record = measure_series(study.series, out, replace(measuring, series=study.uid), files=study.own_files)
            held.finish({"kind": "perfusion", "series": str(paths[0]), "sha256": study.sha256(), **record})
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
) -> dict[str, Any]:  # fmt: skip
    """Read, prepare, measure and write one series; return its record.

    ``out`` gets ``cbf cbv mtt tmax ttp rcbf brain`` as NIfTI; ``core`` and ``hypoperfused`` where an artery was found;
    and ``perfusion.json``, the record with ``stamp``.
    """
    options: dict[str, Any] = {key: getattr(measuring, key) for key in ("dt_s", "series", "slab_mm")}
    series = read_perfusion_series(path, **options, files=files)
    prepared, maps, record = _measure_maps(series, out, measuring, where=str(path))
    left, midline = split_head(prepared.baseline_hu, maps.brain, series.like.spacing_mm, where=str(path))
    healthy = contralateral_side(maps.tmax, maps.brain, left)
    flow = maps.cbf[healthy & (maps.cbf > 0)]
    rcbf = relative_cbf(maps.cbf, maps.brain, healthy)
    text = "RCBF part of the healthy side"
    publish_image(out / "rcbf.nii.gz", rcbf, series.like, dtype="float32", description=text)
    record |= {
        "midline": midline,
        "healthy_side_cbf_ml_100g_min": round(float(flow.mean(dtype=float)), 3),
        "ischaemia": _volumes(maps, series, left, healthy, out),
        "map_files": {name: f"{name}.nii.gz" for name in (*MAPS, "brain")},
    }
    publish_json(out / RECORD, {**record, **(stamp or {})})
    return record


def _measure_maps(
    series: SeriesInput, folder: Path, measuring: Measuring, *, where: str
) -> tuple[PreparedSeries, PerfusionMaps, dict[str, Any]]:
    """Measure a series and write its maps and brain; return it as prepared, the maps, and their record."""
    spacing_mm, motion = series.like.spacing_mm, measuring.motion
    prepared = prepare_series(series.array, spacing_mm=spacing_mm, times_s=series.times_s, motion=motion)
    chosen: dict[str, Any] = {key: getattr(measuring, key) for key in ("method", "truncation", "smoothing_mm")}
    maps = measured_maps(prepared, **chosen, device=torch.device(measuring.device))
    (folder / RECORD).unlink(missing_ok=True)  # of former maps: after a kill it would vouch for a mixture
    for key in MEASURED_MAPS:
        text = f"{key.upper()} {MAP_UNITS[key]}"
        publish_image(folder / f"{key}.nii.gz", getattr(maps, key), series.like, dtype="float32", description=text)
    text = "brain, no vessels, no fluid"
    publish_image(folder / "brain.nii.gz", maps.brain, series.like, dtype="uint8", description=text)
    record = perfusion_record(prepared, maps, measuring.settings(), where=where)
    record["flags"] += [asdict(Flag("series", "info", remark)) for remark in series.remarks]
    return prepared, maps, record | {"times_from": series.times_from, "tube_kv": series.tube_kv}


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
    tell_replaced(folder / RECORD, "source_sha256", stamp["source_sha256"])
    study, measuring = task.about, replace(measuring, series=task.about.uid)
    measure_series(study.series, folder, measuring, files=study.own_files, stamp=stamp)
    return {"outcome": "ok"}


@dataclass(frozen=True)
class MeasuredStudy:
    """Hold a study whose maps lie in ``<case>/maps``.

    Args:
        entry: flat dictionary of paths of the CT and the maps, as a bundle's preprocessing reads it.
        record: content of ``maps/perfusion.json``.
        slices: DICOM files of the first time, one per slice; empty for NIfTI.
    """

    entry: Mapping[str, object]
    record: Mapping[str, Any]
    slices: tuple[Path, ...]
    simulated: bool

    def network_entry(self, optional: Collection[str]) -> dict[str, object]:
        """Return the entry without what a bundle measures itself, so that every command gives the same result."""
        made = {*MEASURED_MAPS, *(["ct"] if self.record["ct"] == _MEAN_CT else [])} if "ctp" in self.entry else set()
        return {key: value for key, value in self.entry.items() if key not in made & set(optional)}


def measure_study(
    study: StudyFiles, name: str, out: Path, *, dt_s: UserTimes = None, series: bool = False, device: str = "cpu",
    resample: bool = False, slab_mm: float | None = None,
) -> MeasuredStudy:  # fmt: skip
    """Write ``<out>/<name>/maps``: CT, the maps, brain, ``perfusion.json``; keep existing files of the same source.

    The CT is the plain one of the study if it lies on the series' grid, else the mean of the frames before the bolus,
    with the noise of that mean and the slices of the series. ``series`` also writes the series itself, repaired and in
    even frames, for bundles that read it.
    """
    folder, measured = out / name / "maps", maps_of(name, out, series=series)
    keys = [key for key in measured if key not in ("case", "subject")]
    stamp: dict[str, Any] = {"version": __version__, "source_sha256": study.sha256(), "dt_asked_s": dt_s}
    stamp |= {"resample": resample} | ({} if slab_mm is None else {"slab_mm": slab_mm})
    record = done_before(folder / RECORD, stamp, [Path(str(measured[key])) for key in keys])
    if record is None:
        tell_replaced(folder / RECORD, "source_sha256", stamp["source_sha256"])
        record = _measure(study, folder, stamp, dt_s=dt_s, series=series, device=device)
    return MeasuredStudy(measured, record, tuple(study.files[n] for n in record["slices"]), study.simulated)


def maps_of(name: str, out: Path, *, series: bool = False) -> dict[str, object]:
    """Return the flat dictionary of paths that ``MeasuredStudy.entry`` has for a study of this name."""
    keys = ("ct", *MEASURED_MAPS, *(["ctp"] if series else []))
    return {"case": name, "subject": name, **{key: str(out / name / "maps" / f"{key}.nii.gz") for key in keys}}


def _measure(
    study: StudyFiles, folder: Path, stamp: Mapping[str, Any], *, dt_s: UserTimes, series: bool, device: str
) -> dict[str, Any]:
    images = read_study(study, dt_s=dt_s, resample=bool(stamp["resample"]), slab_mm=stamp.get("slab_mm"))
    like = images.series.like
    prepared, maps, record = _measure_maps(images.series, folder, Measuring(device=device), where=study.name)
    del record["settings"]["device"]
    if images.plain_ct is not None and (reason := _not_plain(images.plain_ct, prepared, maps)):
        images = replace(images, plain_ct=None, notes=(*images.notes, f"the still CT was not used: {reason}"))
    ct = prepared.baseline_hu if images.plain_ct is None else images.plain_ct
    text = _MEAN_CT if images.plain_ct is None else "plain CT, HU"
    publish_image(folder / "ct.nii.gz", ct.astype(np.float32), like, dtype="float32", description=text)
    if series:
        _publish_series(folder / "ctp.nii.gz", prepared, like)
    remarks, slices = _remarks(prepared, images), images.series.slices
    if slices and not all(read_words(slices[0], _NAMED) or ()):
        why = "the source lacks the UIDs that DICOM results refer to: none is written"
        remarks, slices = [*remarks, Flag("series", "info", why)], ()
    record["flags"] += map(asdict, remarks)
    record = {
        **stamp,
        **record,
        "kind": study.kind,
        "ct": text,
        "slices": [study.files.index(file) for file in slices],
    }
    record["series"] = {
        "frames as read": len(images.series.array),
        "seconds": round(float(images.series.times_s[-1] - images.series.times_s[0]), 2),
        "frame times": images.series.times_from,
        **_series_facts(record),
    }
    publish_json(folder / RECORD, record)
    return record


def _not_plain(ct: np.ndarray, prepared: PreparedSeries, maps: PerfusionMaps) -> str:
    """Return why a still CT is not the plain CT, empty if it may be: its vessels or its brain are not those at rest.

    A CT angiogram, a mean or a maximum of the series has contrast in the vessels where the series has it later.

    Shapes: ``ct`` (H, W, D), on the grid of the series.  Units: HU.
    Source: ours; ``tests/workflows/test_measure_study.py``.
    """
    beyond = ct - prepared.baseline_hu
    vessels = tuple(np.concatenate([maps.aif_vox, maps.vof_vox]).T)
    if len(vessels[0]):
        more, bolus = np.median(beyond[vessels]), np.median(prepared.rise_hu.numpy().max(0)[vessels])
        if more > _ENHANCED_PART * bolus:
            return f"its vessels are {more:.0f} HU brighter than before the bolus, which adds {bolus:.0f} HU"
    apart = float(np.median(beyond[maps.brain])) if maps.brain.any() else 0.0
    return f"its brain differs by {apart:.0f} HU from that of the series" if abs(apart) > _OTHER_BRAIN_HU else ""


def run_studies(
    work: Callable[[Task], Record], found: Mapping[str, StudyFiles | Record], *, place: Place, **options: Any
) -> dict[str, Record]:
    """Run ``work`` on every study that was found; return one record each, in the order of ``found``."""
    studies = {name: item for name, item in found.items() if isinstance(item, StudyFiles)}
    if stands_elsewhere(place):
        studies = {name: study.absolute() for name, study in studies.items()}
    done = run_cases(work, [Task(name, study) for name, study in studies.items()], **place, **options)
    return {name: done[name] if isinstance(item, StudyFiles) else item for name, item in found.items()}


def _series_facts(record: Mapping[str, Any]) -> dict[str, str]:
    """Return scan length, coverage and tube voltage for the page."""
    wanted, kv = record["scan"]["wanted_s"], record["tube_kv"]
    facts = {"coverage": f"{record['coverage']['mm']:g} mm, brain in {record['coverage']['slices']} slices"}
    if wanted is not None:
        enough = "long enough" if record["scan"]["seconds"] >= wanted else "too short"
        text = f"{enough}: {wanted:g} s wanted, arrival of contrast and 1.6 widths of the venous curve"
        facts["scan length"] = f"{record['scan']['seconds']:g} s, {text}"
    return facts if kv is None else {**facts, "tube voltage": f"{kv:g} kV"}


def _remarks(prepared: PreparedSeries, images: StudyImages) -> list[Flag]:
    no_ct = "no plain CT on this grid: the mean of the frames before the bolus stands in for it"
    notes = [*images.notes, *([no_ct] if images.plain_ct is None else [])]
    flags = [Flag("plain-ct", "info", note) for note in notes]
    moved = prepared.motion
    if moved is not None and moved.after_hu.size:
        worst, usual = float(moved.after_hu.max()), float(np.median(moved.after_hu))
        if worst > max(RESIDUAL * usual, LEAST_RESIDUAL_HU):
            text = f"frame {int(moved.after_hu.argmax()) + 1} differs from the first by {worst:.0f} HU at the edges"
            text += f" even when moved back ({usual:.0f} HU in the usual frame): movement out of plane, or an artefact"
            flags.append(Flag("registration-residual", "warning", text))
    return flags


def _publish_series(path: Path, prepared: PreparedSeries, like: Image) -> None:
    """Write the series used for the maps: bad frames repaired, movement undone, frames at even steps."""
    import nibabel

    # Steps between frames overshoot in noisy air; the reader would take that for padding.
    whole = np.maximum(np.moveaxis(prepared.rise_hu.numpy() + prepared.baseline_hu, 0, -1), AIR_HU).astype(np.float32)
    image = nibabel.Nifti1Image(from_ras(whole, like.native_affine), like.native_affine)
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = prepared.dt_s
    publish(path, lambda tmp: nibabel.save(image, tmp))


def intensity_flags(images: Mapping[str, np.ndarray], brain: np.ndarray, metadata: Mapping[str, Any]) -> list[Flag]:
    """Return a remark on every image that differs from the training images.

    They are compared with those of the training cases (``unseen_intensities``), without them with the bundle's stated
    range of values.

    Shapes: images, by modality key, and ``brain`` (H, W, D).
    """
    trained, stated = metadata.get(TRAINED) or {}, metadata.get("modalities") or {}
    if not trained and not stated:
        return [Flag("unseen-intensities", "info", "the bundle does not say what intensities it was trained on")]
    other = "the weights are not those that the bundle describes: what maps and intensities they know is not stated"
    flags = [Flag("unseen-intensities", "info", other)] if metadata.get(OTHER_WEIGHTS) else []
    texts = unseen_intensities(images, brain, trained)
    for key in [key for key in images if key not in trained]:
        limit = float(stated.get(key, {}).get("typical_max_in_brain", "inf"))
        if (top := brain_facts(images[key], brain)["p99"]) > limit:
            texts.append(f"{key}: 99th percentile {top:.4g} in the brain, the bundle states at most {limit:g}")
    return flags + [Flag("unseen-intensities", "warning", text) for text in texts]
