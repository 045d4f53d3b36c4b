"""Score one case, or a folder of predictions against a folder of references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from monai_isles.case import Case
from monai_isles.cohort.place import HERE, Place
from monai_isles.data.remote import is_url, local_root, require_here
from monai_isles.errors import IslesError
from monai_isles.evaluation.maps import MAP_COLUMNS
from monai_isles.evaluation.pairs import find_predictions, find_references
from monai_isles.evaluation.rivals import methods
from monai_isles.evaluation.score_cases import FromFiles, score_case, score_cases
from monai_isles.evaluation.summary import summarise
from monai_isles.io.runs import RunFolder
from monai_isles.io.publish import publish_json, publish_text
from monai_isles.metrics.rules import RULES

__all__ = ["score_case", "score_cases", "score_folder"]
NETWORK = "network"
PAPER_COLUMNS = (
    "case", "subject", "dsc", "ppv", "sensitivity", "hd_mm", "hd95_mm", "assd_mm", "hd_vox", "avd_ml", "rve",
    "lesion_ml_ref", "lesion_ml_pred",
)  # fmt: skip
COLUMNS = (
    *PAPER_COLUMNS, "assd_half_sum_mm", "lesion_f1", "lesions_ref", "lesions_pred", "empty", "diagonal_mm",
    "diagonal_vox", "missing", "midline", "method", "lesion_f1_iou25", "stratum",
)  # fmt: skip


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
) -> dict[str, object]:
    """Score every reference case and write ``per_case.csv``, ``summary.json`` and ``run.json``; return the summary.

    Where ``probability.nii.gz`` lies beside a mask, ``per_case.csv`` has ``MAP_COLUMNS`` too.
    With ``baseline`` also ``baseline_per_case.csv`` (rCBF < 30 %), and with ``folds`` besides
    ``single_threshold_per_case.csv``, its cut tuned on the folds of the list that are not scored.

    Args:
        pred_dir: ``<case>/lesion.nii.gz`` or ``<case>.nii.gz``.
        ref_dir: ISLES folder, or masks named like the predictions; with a data list also a URL of such a folder.
        out_dir: a folder of its own.
        data_list, section, folds: score the cases of a data list only.
        baseline: score the threshold rules on the same cases; needs the perfusion maps.
        allow_missing: score a missing prediction as an empty mask.
        resamples, seed: bootstrap of the intervals.
        place: where cases are scored; the files are the same wherever.

    Raises:
        IslesError: ``E-EVAL-01`` to ``E-EVAL-11``, ``E-EVAL-50``; ``E-LIST-71`` to ``E-LIST-75`` for a URL;
            ``E-GEOM`` where a prediction is not on its reference's grid; those of ``monai_isles.cohort.run_cases``.

    Source: ours; ``tests/evaluation/test_score.py``.
    """
    named = str(ref_dir)
    if data_list is None:
        require_here(ref_dir)
    pred_dir, ref_dir, out_dir = (
        Path(pred_dir),
        local_root(ref_dir) if is_url(ref_dir) else Path(ref_dir),
        Path(out_dir),
    )
    listed = None if data_list is None else Path(data_list)
    _require_apart(out_dir, {"--pred": pred_dir, "--ref": ref_dir})
    _require_list_for_folds(listed, folds)
    cases = find_references(ref_dir, data_list=listed, section=section, folds=folds, maps=baseline)
    masks, unasked = find_predictions(pred_dir, cases, allow_missing=allow_missing)
    with RunFolder(out_dir) as run:
        scored, said = {NETWORK: score_cases(cases, FromFiles(masks), NETWORK, place=place)}, {}
        if baseline:
            for name, text, mask_of in methods(ref_dir, listed, section, folds):
                scored[name], said[name] = score_cases(cases, mask_of, name, place=place), text
        summary = {
            **_described(ref_dir, listed),
            "section": section if listed else None,
            "folds": list(folds) if folds is not None else None,
            "methods": {name: summarise(rows, resamples=resamples, seed=seed) for name, rows in scored.items()},
            "baselines": said,
            "missing_predictions": [name for name, path in masks.items() if path is None],
            "predictions_without_reference": unasked,
            "bootstrap": {"resamples": resamples, "seed": seed, "level": 0.95, "unit": "subject"},
            "rules": RULES,
        }
        _publish(out_dir, scored, summary)
        run.finish(_record(cases, masks, pred_dir, named, listed, summary))
    return summary


def _described(ref_dir: Path, data_list: Path | None) -> dict[str, object]:
    simulated = (ref_dir / "SIMULATED.txt").exists()
    if data_list is None:
        return {"data": ref_dir.resolve().name, "simulated": simulated}
    from monai_isles.data.datalist import read_datalist

    content = read_datalist(data_list)
    simulated = simulated or bool(content.get("simulated"))
    return {"data": str(content.get("name") or data_list.stem), "simulated": simulated}


def _publish(out_dir: Path, scored: Mapping[str, list[dict[str, object]]], summary: Mapping[str, object]) -> None:
    files = {NETWORK: "per_case.csv", "rcbf30": "baseline_per_case.csv"}
    for stale in ("baseline_per_case.csv", "single_threshold_per_case.csv", "summary.json"):
        (out_dir / stale).unlink(missing_ok=True)
    for method, rows in scored.items():
        publish_text(out_dir / files.get(method, f"{method}_per_case.csv"), _csv(rows))
    publish_json(out_dir / "summary.json", summary)


def _csv(rows: Sequence[Mapping[str, object]]) -> str:
    columns = COLUMNS + (MAP_COLUMNS if any(MAP_COLUMNS[0] in row for row in rows) else ())
    lines = [",".join(columns), *(",".join(_cell(row.get(name, "")) for name in columns) for row in rows)]
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.9g}"
    text = str(value)
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"\n') else text


def _record(
    cases: Sequence[Case],
    masks: Mapping[str, Path | None],
    pred_dir: Path,
    ref_dir: str,
    data_list: Path | None,
    summary: Mapping[str, object],
) -> dict[str, object]:
    from monai_isles.io.checksums import sha256_of

    inputs = {case.name: {"reference": sha256_of(case.label)} for case in cases}
    for name, path in masks.items():
        inputs[name]["prediction"] = None if path is None else sha256_of(path)
    folders = {"pred": str(pred_dir), "ref": ref_dir, "data_list": data_list and str(data_list)}
    settings = {key: summary[key] for key in ("section", "folds", "bootstrap", "baselines")}
    outcome = {name: "missing, scored as empty" if path is None else "scored" for name, path in masks.items()}
    return {"command": "evaluate", "settings": {**folders, **settings}, "inputs_sha256": inputs, "cases": outcome}


def _require_apart(out_dir: Path, inputs: Mapping[str, Path]) -> None:
    for option, folder in inputs.items():
        if not folder.is_dir():
            raise IslesError(
                "E-EVAL-09",
                "folder does not exist",
                where=option,
                found=str(folder),
                fix="give the folder that holds the masks",
            )
        if out_dir.resolve() == folder.resolve():
            raise IslesError(
                "E-EVAL-10",
                "the output folder is an input folder",
                where="--out",
                found=f"{out_dir} is {option}",
                fix="write the scores to a folder of their own",
            )


def _require_list_for_folds(data_list: Path | None, folds: Sequence[int] | None) -> None:
    if folds is not None and data_list is None:
        raise IslesError(
            "E-EVAL-11",
            "folds are asked for without a data list",
            where="--folds",
            found=f"folds {', '.join(map(str, folds))}",
            fix="add --data-list, which says what fold a case is in",
        )
