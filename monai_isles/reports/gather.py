"""Read the output folders of ``predict`` and ``evaluate``, and put several runs side by side."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from monai_isles.case import Case
from monai_isles.errors import IslesError, refused
from monai_isles.evaluation.pairs import find_predictions, find_references, on_reference_grid
from monai_isles.evaluation.score import FILES, NETWORK
from monai_isles.io.read import Image, read_image
from monai_isles.io.runs import RECORD, read_record
from monai_isles.metrics.volume import volume_ml
from monai_isles.modalities import MODALITIES
from monai_isles.reports.montage import drawn_keys
from monai_isles.reports.views import SYNTHETIC, CaseView
from monai_isles.transforms.grid import onto_first

_LABELS = {"rcbf30": "rCBF < 30 %", "single_threshold": "best single threshold"}
_NEEDED = ("case", "subject", "dsc", "lesion_ml_ref", "lesion_ml_pred")
_FIX = "give the output folder of monai-isles evaluate, as it wrote it"


@dataclass(frozen=True)
class Scores:
    """Hold one or several folders of scores: which data set, which part of it, and the tables by method.

    ``summaries`` are those of ``summary.json``, ``per_case`` the rows of ``per_case.csv``, the first network first.
    """

    data: str
    split: str
    simulated: bool
    summaries: Mapping[str, Mapping[str, Any]]
    per_case: Mapping[str, Sequence[Mapping[str, Any]]]
    descriptions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Cohort(Scores):
    """Hold the scores of a set of cases, and what its page shows beside them; the cases show the first method.

    Args:
        cases: drawn one at a time, so a generator limits the memory.
        published: rows of a paper by name, in the form of ``summaries``.
        mirrored: show the mirrored channels of every case whose result says how they were made.
    """

    title: str
    cases: Iterable[CaseView]
    curves: Sequence[Mapping[str, float]] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    published: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    mirrored: bool = False


def read_scores(folder: str | Path) -> Scores:
    """Read one folder of scores."""
    folder = Path(folder)
    summary = _summary(folder / "summary.json")
    methods = summary["methods"]
    rows = {name: _rows(folder / FILES.get(name, f"{name}_per_case.csv")) for name in methods}
    section, folds = summary.get("section"), summary.get("folds")
    split = [f"section {section}"] if section else []
    split += [f"fold {', '.join(map(str, folds))}"] if folds else []
    data, simulated = str(summary.get("data", folder.name)), bool(summary.get("simulated"))
    return Scores(data, ", ".join(split), simulated, dict(methods), rows, dict(summary.get("baselines") or {}))


def side_by_side(folders: Sequence[str | Path], names: Sequence[str] | None = None) -> Scores:
    """Read several folders over the same cases: one network each under its name, the threshold rules once."""
    labels = list(names) if names is not None else [Path(f).resolve().name for f in folders]
    if len(labels) != len(folders) or len(set(labels)) != len(labels) or set(labels) & set(_LABELS.values()):
        found = f"names {', '.join(labels)} for {len(folders)} folders"
        raise refused("E-REP-03", where="--names against --scores", found=found)
    read = [read_scores(folder) for folder in folders]
    cases = [{row["case"] for row in scores.per_case[NETWORK]} for scores in read]
    for folder, others in zip(folders[1:], cases[1:], strict=True):
        apart = sorted(cases[0] ^ others)
        if apart:
            found = f"{len(apart)} cases in one table only: {', '.join(apart[:8])}"
            fault, fix = "scores are of other cases", "score every method on the same cases, then report them together"
            raise refused("E-REP-04", where=str(folder), found=found, fault=fault, fix=fix)
    tables = {label: (scores, NETWORK) for label, scores in zip(labels, read, strict=True)}
    for scores in read:
        for method in (name for name in scores.summaries if name != NETWORK):
            tables.setdefault(_LABELS.get(method, method), (scores, method))
    summaries = {label: scores.summaries[method] for label, (scores, method) in tables.items()}
    per_case = {label: scores.per_case[method] for label, (scores, method) in tables.items()}
    text = {label: scores.descriptions.get(method, "") for label, (scores, method) in tables.items()}
    text = {label: words for label, words in text.items() if words}
    return Scores(read[0].data, read[0].split, any(s.simulated for s in read), summaries, per_case, text)


def _parse(path: Path, parse: Callable[[str], Any], **words: str) -> Any:
    if not path.is_file():
        raise refused("E-REP-01", where=str(path), found="no such file", fault="file of scores is missing", fix=_FIX)
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (ValueError, csv.Error) as error:
        raise refused("E-REP-02", where=str(path), found=str(error), **(words or {"fix": _FIX})) from error


def _summary(path: Path) -> dict[str, Any]:
    summary = _parse(path, json.loads)
    methods: Any = summary.get("methods") if isinstance(summary, dict) else None
    named = isinstance(methods, dict) and NETWORK in methods
    if not named or not all(isinstance(m, dict) and "metrics" in m for m in methods.values()):
        raise refused("E-REP-02", where=str(path), found=f"no methods with metrics, {NETWORK} among them", fix=_FIX)
    return summary


def _rows(path: Path) -> list[dict[str, str]]:
    rows = _parse(path, lambda text: list(csv.DictReader(text.splitlines(keepends=True))))
    missing = [name for name in _NEEDED if not rows or rows[0].get(name) is None]
    if missing:
        found = f"{len(rows)} rows, without column {', '.join(missing)}"
        raise refused("E-REP-02", where=str(path), found=found, fix=_FIX)
    return rows


@dataclass(frozen=True)
class Source:
    """Hold the files of one case by key; a prediction that was scored as empty has no ``lesion``."""

    case: Case
    files: Mapping[str, Path]
    result: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)


def scored_part(scores: str | Path) -> dict[str, Any]:
    """Return the data list that a folder of scores was made with, its section and folds; none where it is not there."""
    settings = read_record(Path(scores) / RECORD).get("settings") or {}
    listed = settings.get("data_list")
    if not listed or not Path(listed).is_file():
        return {}
    return {"data_list": Path(listed), "section": settings["section"], "folds": settings["folds"]}


def find_sources(
    pred_dir: str | Path, ref_dir: str | Path, rows: Sequence[Mapping[str, str]], **part: Any
) -> list[Source]:
    """Return the files of every scored case, in the order of its rows; nothing is read but ``result.json``.

    Images come from the reference folder where it is in the ISLES layout, else from where ``result.json`` says.
    ``part`` is ``scored_part``.
    """
    for option, folder in (("--pred", pred_dir), ("--ref", ref_dir)):
        if not Path(folder).is_dir():
            raise refused("E-REP-01", where=option, found=f"{folder} is no folder", fault="folder is missing")
    left: dict[str, IslesError] = {}  # cases that were not scored do not hinder the page
    references = {case.name: case for case in find_references(Path(ref_dir), left_out=left, **part)}
    unknown = [row["case"] for row in rows if row["case"] not in references]
    if unknown:
        if unknown[0] in left:
            raise left[unknown[0]]
        raise refused("E-REP-04", where=str(ref_dir), found=f"{len(unknown)} of {len(rows)}: {', '.join(unknown[:8])}")
    absent = {row["case"] for row in rows if row.get("missing") == "1"}
    wanted = [references[row["case"]] for row in rows if row["case"] not in absent]
    masks, _ = find_predictions(Path(pred_dir), wanted, allow_missing=False)
    return [_source(row, references[row["case"]], masks.get(row["case"])) for row in rows]


def load_view(source: Source, *, simulated: bool) -> CaseView:
    """Read one case; images are laid on the grid of its reference by their place in mm, as viewers do.

    An image that cannot be drawn is left out, with a remark: the scores do not rest on it.
    """
    name, several = source.case.name, {"truth": source.case.label_values}
    kinds = {"truth": "label", "lesion": "label", "uncertainty": None, **dict.fromkeys(SYNTHETIC)}
    read: dict[str, Image] = {}
    remarks = list(source.result.get("remarks") or ())
    for key, path in source.files.items():
        try:
            image = read_image(path, kind=kinds.get(key, key), where=name, label_values=several.get(key))
            if key in MODALITIES:
                image = onto_first({"truth": read["truth"], key: image}, case=name)[key]
            elif key != "truth":
                image = on_reference_grid(image, read["truth"], source.case, kind=kinds.get(key) or key)
            read[key] = image
        except IslesError as error:
            if key not in MODALITIES:
                raise
            remarks.append(f"{error.code}: {key} is not drawn: {error.fault}")
    truth = read["truth"]
    arrays = {"lesion": np.zeros(truth.grid_shape)} | {key: image.data for key, image in read.items()}
    for side, mask in (("pred", "lesion"), ("ref", "truth")):
        here = volume_ml(arrays[mask] > 0, truth.spacing_mm)
        scored = float(source.scores.get(f"lesion_ml_{side}") or math.nan)
        if abs(here - scored) > 1e-4 * (1 + here):
            found = f"{here:.6g} ml in the mask of --{side}, {scored:.6g} ml in --scores"
            fault, fix = "scores are of other masks", "evaluate these predictions against these references again"
            raise refused("E-REP-04", where=name, found=found, fault=fault, fix=fix)
    result = {**source.result, "remarks": remarks} if remarks else source.result
    return CaseView.of(name, arrays, truth, scores=source.scores, result=result, simulated=simulated)


def _source(row: Mapping[str, str], case: Case, lesion: Path | None) -> Source:
    ours = lesion if lesion is not None and lesion.name.startswith("lesion.") else None
    told = None if ours is None else ours.with_name("result.json")
    unread = "result of a prediction cannot be read"
    result = _parse(told, json.loads, fault=unread) if told and told.is_file() else {}
    result = result if isinstance(result, dict) else {}
    claimed = {key: Path(str(path)) for key, path in dict(result.get("modalities") or {}).items()}
    known = case.images or {key: path for key, path in claimed.items() if path.is_file()}
    files = {"truth": cast(Path, case.label)} | {key: known[key] for key in drawn_keys(list(known))}
    if lesion is not None:
        files["lesion"] = lesion
    names = ("probability", "uncertainty", *SYNTHETIC) if ours else ()
    made = (cast(Path, ours).with_name(f"{name}{end}") for name in names for end in (".nii", ".nii.gz"))
    files |= {path.name.partition(".")[0]: path for path in made if path.is_file()}  # of both the compressed one
    return Source(case, files, result, row)
