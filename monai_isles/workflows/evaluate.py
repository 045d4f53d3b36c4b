"""Score a folder of predictions, and the threshold rules, against a folder of references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from monai_isles.case import Case
from monai_isles.cohort.task import HERE, Place
from monai_isles.data.datalist import read_datalist
from monai_isles.data.remote import is_url, local_root, require_here
from monai_isles.errors import IslesError, refused
from monai_isles.evaluation.maps import MAP_COLUMNS
from monai_isles.evaluation.pairs import find_predictions, find_references
from monai_isles.evaluation.score import COLUMNS, FILES, NETWORK, read_prediction, score_cases
from monai_isles.evaluation.summary import summarise
from monai_isles.evaluation.threshold_baselines import methods
from monai_isles.io.payload import sha256_of
from monai_isles.io.publish import publish_csv, publish_json
from monai_isles.io.runs import RunFolder
from monai_isles.metrics.overlap import RULES


def score_folder(
    pred_dir: str | Path,
    ref_dir: str | Path,
    out_dir: str | Path,
    *,
    data_list: str | Path | None = None,
    section: str = "training",
    folds: Sequence[int] | None = None,
    baseline: bool = False,
    allow_missing: bool = False,
    resamples: int = 2000,
    seed: int = 0,
    place: Place = HERE,
    strict: bool = True,
    connectivity: int = 6,
) -> dict[str, object]:
    """Score every reference case and write ``per_case.csv``, ``summary.json`` and ``run.json``; return the summary.

    With ``probability.nii.gz`` beside a mask, ``per_case.csv`` has ``MAP_COLUMNS`` too. ``baseline`` adds
    ``baseline_per_case.csv`` (rCBF < 30 %), and with ``folds`` also ``single_threshold_per_case.csv``, whose cut is
    tuned on the folds of the list that are not scored.

    Args:
        pred_dir: ``<case>/lesion.nii.gz`` or ``<case>.nii.gz``.
        ref_dir: ISLES folder, or masks named like the predictions; with a data list also a URL of such a folder.
        data_list, section, folds: score only the cases of a data list.
        allow_missing: score a missing prediction as an empty mask; else its case is left out, or refused if ``strict``.
        connectivity: of the lesions that are counted: 6 by faces, 26 by edges and corners too.
        strict: refuse if a case cannot be scored; else it is left out by every method, with its reason in ``left_out``.
    """
    named = str(ref_dir)
    if is_url(pred_dir):
        raise refused("E-USE-64", where="--pred", found=str(pred_dir))
    if data_list is None:
        require_here(ref_dir)
    pred_dir, out_dir = Path(pred_dir), Path(out_dir)
    ref_dir = local_root(ref_dir) if is_url(ref_dir) else Path(ref_dir)
    listed = None if data_list is None else Path(data_list)
    _require_apart(out_dir, {"--pred": pred_dir, "--ref": ref_dir})
    if folds is not None and listed is None:
        raise refused("E-EVAL-11", where="--folds", found=f"folds {', '.join(map(str, folds))}")
    left_out: dict[str, IslesError] = {}  # stays empty where ``strict``
    options: dict[str, Any] = {"place": place, "left_out": None if strict else left_out, "connectivity": connectivity}
    chosen: dict[str, Any] = {"data_list": listed, "section": section, "folds": folds}
    cases = find_references(ref_dir, **chosen, maps=baseline, left_out=options["left_out"])
    masks, extra = find_predictions(pred_dir, cases, allow_missing=allow_missing, left_out=options["left_out"])
    cases = [case for case in cases if case.name in masks]
    with RunFolder(out_dir) as run:
        scored = {NETWORK: score_cases(cases, lambda case: partial(read_prediction, masks[case.name]), **options)}
        words: dict[str, str] = {}
        if baseline:
            for name, text, mask_of in methods(ref_dir, listed, section, folds, strict=strict):
                whole = [case for case in cases if case.name not in left_out]
                scored[name] = score_cases(whole, mask_of, name, **options)
                words[name] = text
        scored = {name: [row for row in rows if row["case"] not in left_out] for name, rows in scored.items()}
        summary = {
            **_data_facts(ref_dir, listed),
            "section": section if listed else None,
            "folds": list(folds) if folds is not None else None,
            "methods": {name: summarise(rows, resamples=resamples, seed=seed) for name, rows in scored.items()},
            "baselines": words,
            "missing_predictions": [name for name, path in masks.items() if path is None],
            "predictions_without_reference": extra,
            "left_out": {name: str(error) for name, error in left_out.items()},
            "bootstrap": {"resamples": resamples, "seed": seed, "level": 0.95, "unit": "subject"},
            "rules": RULES,
            "connectivity": connectivity,
        }
        publish_scores(out_dir, scored, summary)
        folders = {"pred": str(pred_dir), "ref": named, "data_list": listed and str(listed)}
        run.finish(_record(cases, masks, folders, summary))
    return summary


def _data_facts(ref_dir: Path, data_list: Path | None) -> dict[str, object]:
    simulated = (ref_dir / "SIMULATED.txt").exists()
    if data_list is None:
        return {"data": ref_dir.resolve().name, "simulated": simulated}
    content = read_datalist(data_list, ref_dir)
    simulated = simulated or bool(content.get("simulated"))
    return {"data": str(content.get("name") or data_list.stem), "simulated": simulated}


def publish_scores(out_dir: Path, scored: Mapping[str, list[dict[str, object]]], summary: Mapping[str, object]) -> None:
    """Write the rows of each method and the summary; delete the tables of rules that a former call wrote."""
    for stale in ("baseline_per_case.csv", "single_threshold_per_case.csv", "summary.json"):
        (out_dir / stale).unlink(missing_ok=True)
    for method, rows in scored.items():
        columns = COLUMNS + (MAP_COLUMNS if any(MAP_COLUMNS[0] in row for row in rows) else ())
        lines = ([row.get(name, "") for name in columns] for row in rows)
        publish_csv(out_dir / FILES.get(method, f"{method}_per_case.csv"), columns, lines)
    publish_json(out_dir / "summary.json", summary)


def _record(
    cases: Sequence[Case], masks: Mapping[str, Path | None], folders: Mapping[str, object], summary: dict[str, Any]
) -> dict[str, object]:
    files = {case.name: {"reference": case.label, "prediction": masks[case.name]} for case in cases}
    inputs = {name: {side: path and sha256_of(path) for side, path in pair.items()} for name, pair in files.items()}
    settings = {key: summary[key] for key in ("section", "folds", "bootstrap", "baselines", "connectivity")}
    outcome = {name: "missing, scored as empty" if path is None else "scored" for name, path in masks.items()}
    outcome |= dict.fromkeys(summary["left_out"], "left out")
    return {"command": "evaluate", "settings": {**folders, **settings}, "inputs_sha256": inputs, "cases": outcome}


def _require_apart(out_dir: Path, inputs: Mapping[str, Path]) -> None:
    for option, folder in inputs.items():
        if not folder.is_dir():
            raise refused("E-EVAL-09", where=option, found=str(folder))
        if out_dir.resolve() == folder.resolve():
            raise refused("E-EVAL-10", where="--out", found=f"{out_dir} is {option}")
