"""Predict cases, here or on a cluster; if one fails, the others still run."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from operator import methodcaller
from pathlib import Path
from typing import Any

from monai_isles import __version__
from monai_isles.bundle.bundle import Bundle
from monai_isles.bundle.configs import case_keys
from monai_isles.cohort.engine import overlap, run_cases
from monai_isles.cohort.task import (
    HERE,
    Place,
    Record,
    Task,
    attempt,
    failed_record,
    is_spread,
    load_in_process,
)
from monai_isles.data.entries import find_apart, find_entries
from monai_isles.data.remote import fetch_entry
from monai_isles.errors import IslesError, refused
from monai_isles.inference import outputs
from monai_isles.inference.ischaemia import perfusion_block
from monai_isles.inference.predictor import UNCHANGED, Choices, Predictor, load_predictor
from monai_isles.io.clock import sidecar_sha256
from monai_isles.io.findings import Finding, collect_remarks, remark_lines
from monai_isles.io.payload import sha256_of
from monai_isles.io.publish import publish_json
from monai_isles.io.read import read_image
from monai_isles.io.runs import RunFolder, done_before, read_record, sweep_parts, tell_replaced
from monai_isles.modalities import MODALITIES
from monai_isles.progress import progress
from monai_isles.transforms.case_cache import KeptPreparation

Entry = Mapping[str, object]
Find = Callable[..., tuple[list[dict[str, object]], dict[str, Record]]]
After = Callable[[Entry, Mapping[str, Any], dict[str, object]], None]


def prediction_entries(
    paths: Sequence[str | Path], *, keys: Sequence[str], optional: Sequence[str] = (),
    data_list: str | Path | None = None, section: str | None = None, folds: Sequence[int] | None = None,
    resample: bool = False, fetch: bool = False, strict: bool = False,
) -> tuple[list[dict[str, object]], dict[str, Record]]:  # fmt: skip
    """Return the flat dictionary of every case with the bundle's modalities, and the records of the others.

    Args:
        paths: case folders and data folders, or the root of the paths of ``data_list``.
        section: as for ``find_entries``.
        resample: images on another grid than a case's first are registered and may be resampled onto it.
    """
    listed: dict[str, Any] = {"data_list": data_list, "section": section, "folds": folds}

    def find(path: str | Path, left_out: list[Finding] | None) -> list[dict[str, object]]:
        return find_entries(path, keys=keys, optional=optional, fetch=fetch, left_out=left_out, **listed)

    entries, left = find_apart(paths, find, strict=strict)
    request = {"resample": True} if resample else {}
    return [entry | request for entry in entries], left


def predict(
    find: Find,
    out: Path,
    *,
    bundle: Bundle,
    choices: Choices = UNCHANGED,
    place: Place = HERE,
    entropy: bool = False,
    bids: bool = False,
    report: bool = True,
    strict: bool = False,
) -> dict[str, Any]:
    """Predict cases into ``out/<case>`` and return the content of ``out/run.json``: ``cases`` by name, ``settings``.

    ``entropy``, ``bids``, ``report``: also write ``entropy.nii.gz``, a BIDS derivative tree, the pages. A tree that is
    there is kept up to date.
    """
    config = bundle.config("inference")
    changes = choices.changes(config.get(), bundle)
    entries, left = found_entries(find, bundle, strict=strict)
    if bids:
        outputs.require_bids_names(entries, str(out))
    after = partial(publish_page, out.absolute()) if report else None
    recipe = recipe_of(bundle, out, choices=choices, changes=changes, after=after)
    predictor = recipe.load()
    with RunFolder(out, outputs=[f"{entry['case']}/probability.nii.gz" for entry in entries]) as held:
        records = predict_cohort(recipe, entries, place=place, predictor=predictor, strict=strict)
        for entry in entries:
            name = str(entry["case"])
            settle_entropy(out / name, records[name], wanted=entropy)
            if report and records[name]["outcome"] == "done before":
                records[name] = attempt(partial(_draw_page, out), Task(name, entry), strict=strict)
        if bids or (out / outputs.DERIVATIVES).is_dir():
            done = [entry for entry in entries if records[str(entry["case"])]["outcome"] != "failed"]
            outputs.publish_bids(out, done)
        record = prediction_record("prediction", predictor, records | left)
        from monai_isles.reports.studies import publish_studies

        publish_studies(out, record, bundle.metadata.get("references") or (), wanted=report)
        held.finish(record)
    return record


def found_entries(find: Find, bundle: Bundle, **options: Any) -> tuple[list[dict[str, object]], dict[str, Record]]:
    """Find the cases for a bundle; if images are missing, name the overlays of the bundle that read those given."""
    try:
        return find(**case_keys(bundle.config("inference")), **options)
    except IslesError as error:
        names = sorted(path.name for path in bundle.root.glob("*.json")) if error.code == "E-LIST-02" else ()
        if not (fitting := [name for name in names if _reads(bundle, name, find)]):
            raise
        fix = f"give --overlay {' or '.join(fitting)}, or add the missing image"
        raise refused("E-LIST-02", where=error.where, found=error.found, fix=fix) from error


def _reads(bundle: Bundle, name: str, find: Find) -> bool:
    """Return whether every case holds the images of an overlay of the bundle that is not in use."""
    if name not in bundle.overlays and "modalities" in bundle.overlay(name):
        with suppress(IslesError):
            find(**case_keys(Bundle(bundle.root, (name,)).config("inference")), strict=True)
            return True
    return False


def prediction_record(kind: str, predictor: Predictor, cases: Mapping[str, Record]) -> dict[str, Any]:
    """Return the content of ``run.json`` for a prediction."""
    made = {"bundle": predictor.bundle, "weights": predictor.weights}
    return {"kind": kind, **made, "cases": dict(cases), "settings": predictor.settings}


def settle_entropy(folder: Path, record: Record, *, wanted: bool) -> None:
    """Write the entropy map of a predicted case if wanted; else remove one of an earlier prediction."""
    if wanted and record["outcome"] != "failed":
        outputs.publish_entropy(folder)
    elif record["outcome"] == "ok":
        (folder / "entropy.nii.gz").unlink(missing_ok=True)


def publish_page(out: Path, entry: Entry, maps: Mapping[str, object], result: dict[str, object]) -> None:
    """Write the page of a predicted case."""
    from monai_isles.reports.page import publish_case_page

    publish_case_page(entry, maps, result, out / str(entry["case"]) / "report.html")


def _draw_page(out: Path, task: Task) -> Record:
    """Write the page of a case that was predicted without one, from its files."""
    folder = out / task.case
    if not (folder / "report.html").is_file():
        result = read_record(folder / "result.json")
        maps = {name: read_image(folder / f"{name}.nii.gz").data[None] for name in result["maps_sha256"]}
        publish_page(out, task.about, maps, result)
    return {"outcome": "done before"}


@dataclass(frozen=True)
class Recipe:
    """Hold how another process builds the same predictor.

    Args:
        after: as for ``predict_cases``; a function of a module, or ``functools.partial`` of one.
        content: checksum of configs and weights: a running worker rebuilds the predictor when they change.
    """

    bundle: Bundle
    out: Path
    choices: Choices = UNCHANGED
    changes: Mapping[str, object] = field(default_factory=dict, hash=False)
    after: After | None = field(default=None, compare=False)
    content: str = ""

    def load(self) -> Predictor:
        """Build the networks and load their weights."""
        chosen = self.choices
        weights, device = chosen.weights, chosen.device
        predictor = load_predictor(self.bundle, self.out, weights=weights, device=device, changes=self.changes)
        if chosen.cache_dir is None:
            return predictor
        kept = KeptPreparation(predictor.preprocessing, cache_dir=chosen.cache_dir, cache_gb=chosen.cache_gb)
        return replace(predictor, preprocessing=kept)


def recipe_of(
    bundle: Bundle | Path | str,
    out: Path,
    *,
    choices: Choices = UNCHANGED,
    changes: Mapping[str, object] | None = None,
    after: After | None = None,
    elsewhere: bool = True,
) -> Recipe:
    """Return the recipe of a predictor; ``elsewhere`` makes its paths absolute for workers in another folder."""
    bundle = Bundle.open(bundle)
    content = bundle.fingerprint(choices.weights)
    if elsewhere:
        cache = None if choices.cache_dir is None else choices.cache_dir.absolute()
        weights = tuple(path.absolute() for path in choices.weights)
        choices = replace(choices, weights=weights, cache_dir=cache)
        bundle, out = replace(bundle, root=bundle.root.absolute()), out.absolute()
    return Recipe(bundle, out, choices, dict(changes or {}), after, content)


def predict_cohort(
    recipe: Recipe, entries: Sequence[Entry], *, place: Place, predictor: Predictor | None = None, strict: bool = False
) -> dict[str, Record]:
    """Predict every entry at ``place``, with the records and files of ``predict_cases``."""
    if not is_spread(place):
        return predict_cases(predictor or recipe.load(), entries, recipe.out, after=recipe.after, strict=strict)
    place = {"gpus": int(predictor is not None and predictor.device.type == "cuda"), **place}
    tasks = [Task(str(entry["case"]), (recipe, dict(entry))) for entry in entries]
    records = run_cases(predict_one, tasks, **place, title="predict", strict=strict)
    sweep_parts(recipe.out)
    return records


def predict_one(task: Task) -> Record:
    """Predict the case of a task with the predictor cached in this process."""
    recipe, entry = task.about
    predictor = load_in_process(recipe)
    return predict_cases(predictor, [entry], recipe.out, after=recipe.after, strict=True)[task.case]


def predict_cases(
    predictor: Predictor, entries: Sequence[Entry], out: Path, *, after: After | None = None, strict: bool = False
) -> dict[str, Record]:
    """Predict every entry into ``out/<case>`` and return one record per case: ``ok``, ``done before`` or ``failed``.

    ``result.json`` holds the volume, ``lesion_ml_interval`` (``Calibration.interval``), ``lesions``
    (``lesion_confidence``), ``remarks`` (repairs and unusual values), for a case with CBF and Tmax ``perfusion``
    (``perfusion_block``), and the settings and inputs. A case whose ``result.json`` states the same version,
    weights, settings, inputs and maps is not predicted again. The next case is read and the last one written while
    the networks run (``overlap``); ``seconds`` counts only a case's own stages. ``after`` is called with entry,
    maps and result of each case before its ``result.json`` is written, in the writing thread.
    """
    cases = (_Staged(predictor, out, after, strict, entry) for entry in entries)
    stages = (methodcaller("run", stage) for stage in (_Staged.read, _Staged.infer, _Staged.write))
    done = progress(overlap(cases, *stages), "predict", total=len(entries))
    return {str(case.entry["case"]): case.record for case in done}


@dataclass
class _Staged:
    """Take one case through its stages; a fault in one becomes its ``record``, with which it is finished."""

    predictor: Predictor
    out: Path
    after: After | None
    strict: bool
    entry: Entry
    stamp: dict[str, object] = field(default_factory=dict)
    data: Any = None
    maps: Any = None
    record: Record = field(default_factory=dict)
    seconds: float = 0.0
    remarks: list[Finding] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.out / str(self.entry["case"])

    def run(self, stage: Callable[[_Staged], None]) -> _Staged:
        if self.record:
            return self
        started = time.monotonic()
        try:
            with collect_remarks() as remarks:
                stage(self)
            self.remarks += remarks
        except Exception as error:
            if self.strict:
                raise
            self.record = failed_record(error)
        if self.record:
            self.data = self.maps = None
        self.seconds += time.monotonic() - started
        return self

    def read(self) -> None:
        outputs.require_own_names(self.predictor.postprocessing, self.entry, self.folder)
        fetch_entry(self.entry)
        self.stamp = prediction_stamp(self.predictor, self.entry)
        if is_predicted(self.folder, self.stamp):
            self.record = {"outcome": "done before"}
            return
        tell_replaced(self.folder / "result.json", "modalities", self.stamp["modalities"])
        self.data = self.predictor.prepare(self.entry)

    def infer(self) -> None:
        self.maps = self.predictor.run_networks(self.data)

    def write(self) -> None:
        started = time.monotonic()
        maps = self.predictor.finish(self.entry, self.data, self.maps)
        measured = outputs.lesion_numbers(maps, self.predictor.calibration)
        measured |= outputs.registration_numbers(self.data) | outputs.stage_numbers(self.data)
        seconds = round(self.seconds + time.monotonic() - started, 2)
        mirrored = (self.data.get("mirror") or {}).get("remark")
        with collect_remarks() as told:
            block = perfusion_block(self.entry, self.predictor.settings, self.predictor.trained)
        doubts_first = sorted(self.remarks + told, key=lambda remark: remark.fix.startswith("no action"))
        # Pages print remarks, and no folder: it may be named after a patient.
        places = [self.folder, *(Path(str(self.entry[key])) for key in MODALITIES if key in self.entry)]
        lines = (
            reduce(lambda text, at: text.replace(str(at), at.name), places, line) for line in remark_lines(doubts_first)
        )
        remarks = [*dict.fromkeys(lines), *([str(mirrored)] if mirrored else [])]
        result = self.stamp | measured | {"seconds": seconds} | ({"remarks": remarks} if remarks else {})
        result |= {} if block is None else {"perfusion": block}
        page = () if self.after is None else ("report.html",)
        remove_former(self.folder, [*(f"{name}.nii.gz" for name in maps), *page])
        if self.after is not None:
            self.after(self.entry, maps, result)
        result["maps_sha256"] = _checksums(self.folder, maps)
        publish_json(self.folder / "result.json", result)
        self.record = {"outcome": "ok", "lesion_ml": result["lesion_ml"], "seconds": seconds}


def remove_former(folder: Path, kept: Collection[str]) -> None:
    """Remove the files that only a former result has: ``evaluate`` and readers would take them for parts of this."""
    names = ("uncertainty", "entropy", "pseudo_dwi", "core", "hypoperfused", "penumbra")
    if read_record(folder / "result.json") or read_record(folder / "perfusion.json"):
        for file in {*(f"{name}.nii.gz" for name in names), "report.html"}.difference(kept):
            (folder / file).unlink(missing_ok=True)


def prediction_stamp(predictor: Predictor, entry: Entry) -> dict[str, object]:
    """Return everything that affects a result: version, bundle, weights, settings and the content of the inputs."""
    modalities = {key: str(entry[key]) for key in predictor.modalities if key in entry}
    checksums = {key: sha256_of(Path(path)) for key, path in modalities.items()} | sidecar_sha256(modalities)
    return {
        "case": entry["case"],
        "version": __version__,
        "bundle": predictor.bundle,
        "weights_sha256": list(predictor.weights.values()),
        **predictor.settings,
        "resample": bool(entry.get("resample")),
        "modalities": modalities,
        "modalities_sha256": checksums,
    }


def is_predicted(folder: Path, stamp: Mapping[str, object]) -> bool:
    """Return whether a case's folder holds the unchanged result of the same inputs and settings."""
    before = done_before(folder / "result.json", stamp) or {}
    maps = before.get("maps_sha256")
    return isinstance(maps, dict) and bool(maps) and maps == _checksums(folder, maps)


def _checksums(folder: Path, maps: Mapping[str, object]) -> dict[str, str]:
    """Return the SHA-256 of the maps of a case that lie in its folder."""
    files = {name: folder / f"{name}.nii.gz" for name in maps}
    return {name: sha256_of(path) for name, path in files.items() if path.is_file()}
