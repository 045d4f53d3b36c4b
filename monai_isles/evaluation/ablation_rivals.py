"""The threshold rules on the scans of a cross-validation, each scan by a rule tuned on the other folds."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

from monai_isles.crossval.plan import DATA_LIST, read_plan
from monai_isles.crossval.out_of_fold import OutOfFold
from monai_isles.evaluation.pairs import find_references
from monai_isles.evaluation.rivals import methods
from monai_isles.evaluation.score import score_cases
from monai_isles.io.publish import publish_json

RULE = "rCBF < 30 %"
Rows = list[dict[str, object]]


def threshold_rows(folder: Path, keep: Path) -> tuple[dict[str, Rows], dict[str, str]]:
    """Return the scored rows of ``rcbf30`` and ``single_threshold`` by name, and a sentence on each rule.

    Args:
        folder: a finished cross-validation; its data list and folds are used, its networks are not.
        keep: file that holds the rows, so that a repeat over the same inputs need not tune again.
    Raises:
        IslesError: ``E-EVAL-01`` to ``E-EVAL-08``, ``E-LIST-*``.
    Source: ``monai_isles.evaluation.threshold_baselines``; ``tests/papers/test_ablation.py``.
    """
    plan = read_plan(folder)
    data, listed = Path(plan.dataset_dir), folder / DATA_LIST
    stamp = hashlib.sha256(json.dumps([plan.fingerprints["inputs"], plan.cases], sort_keys=True).encode()).hexdigest()
    kept = json.loads(keep.read_text(encoding="utf-8")) if keep.is_file() else {}
    if kept.get("stamp") != stamp:
        scored: dict[str, Rows] = {}
        said: dict[str, list[str]] = {}
        cases = find_references(data, data_list=listed, maps=True)
        for fold in plan.folds:
            own = [case for case in cases if case.fold == fold]
            for name, text, mask_of in methods(data, listed, "training", [fold]):
                scored.setdefault(name, []).extend(score_cases(own, mask_of, name))
                said.setdefault(name, []).append(text)
        order = {case.name: place for place, case in enumerate(cases)}
        scored = {name: sorted(rows, key=lambda row: order[str(row["case"])]) for name, rows in scored.items()}
        texts = {name: " | ".join(dict.fromkeys(lines)) for name, lines in said.items()}
        kept = {"stamp": stamp, "said": texts, "rows": {name: [*map(_plain, rows)] for name, rows in scored.items()}}
        publish_json(keep, kept)
    rows = {name: [{k: math.nan if v is None else v for k, v in row.items()} for row in rows]
            for name, rows in kept["rows"].items()}  # fmt: skip
    return rows, kept["said"]


def rule_rows(found: OutOfFold) -> Rows:
    """Return one scored line a case of rCBF < 30 %, with its ``fold``, on the scans that a study scored.

    Args:
        found: of the study; its data list and folds are used, its maps are not.
    Raises:
        IslesError: ``E-EVAL-01`` to ``E-EVAL-08``, ``E-LIST-*``.
    Source: ``monai_isles.evaluation.threshold_baselines``; ``tests/papers/test_ablation.py``.
    """
    data, listed = Path(found.plan.dataset_dir), found.folder / DATA_LIST
    cases = find_references(data, data_list=listed, folds=list(found.plan.folds), maps=True)
    (_, _, mask_of) = next(iter(methods(data, None, "training", None)))
    folds = {case.name: case.fold for case in cases}
    return [{**line, "fold": folds[str(line["case"])]} for line in score_cases(cases, mask_of, RULE)]


def _plain(row: dict[str, object]) -> dict[str, object]:
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}
