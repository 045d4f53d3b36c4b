"""Two ways to score one cross-validation, and how many Dice points apart they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from monai_isles.case import Case
from monai_isles.errors import IslesError
from monai_isles.crossval.case_grid import case_grid
from monai_isles.evaluation.compare import compare_rows
from monai_isles.crossval.plan import NESTED, PAPER
from monai_isles.crossval.out_of_fold import OutOfFold
from monai_isles.evaluation.score import NETWORK, score_case
from monai_isles.evaluation.search import SIZES_VOX, THRESHOLDS, Choice, GridScores, choose_without
from monai_isles.evaluation.summary import summarise
from monai_isles.metrics.rules import RULES
from monai_isles.postprocessing.components import binarise
from monai_isles.progress import progress

_NAMES = {
    (PAPER, PAPER): "paper",
    (PAPER, NESTED): "paper-training-nested-tuning",
    (NESTED, PAPER): "nested-training-paper-tuning",
    (NESTED, NESTED): "nested",
}
_STOP = {
    PAPER: "training stopped by the scored scans",
    NESTED: "training stopped by scans that are not scored",
}
_TUNING = {
    PAPER: "T and Smin chosen on the scored predictions",
    NESTED: "T and Smin of each fold chosen on the predictions of the other folds",
}


@dataclass(frozen=True)
class Protocol:
    """Hold the scores of one cross-validation by one way of tuning.

    Args:
        name: ``paper``, ``nested``, or what is between them.
        said: who saw the scored scans, in words.
        choices: threshold and smallest size by fold.
        rows: one a case, as ``score_case`` gives.
        summary: as ``monai-isles evaluate`` writes it.
    """

    name: str
    said: str
    choices: dict[int, Choice]
    rows: list[dict[str, object]]
    summary: dict[str, object]


def grid_scores(found: OutOfFold, sizes_vox: Sequence[int] = SIZES_VOX) -> GridScores:
    """Return what every case scores at every threshold and every smallest size in voxels."""
    sizes = tuple(sizes_vox)
    grids = [
        case_grid(probability, reference.data > 0, THRESHOLDS, sizes)
        for probability, reference in map(found.read, progress(found.cases, "searching", total=len(found.cases)))
    ]
    return GridScores(THRESHOLDS, sizes, np.stack([g.dsc for g in grids]), np.stack([g.hd_vox for g in grids]))


def protocol_tables(
    found: OutOfFold, grid: GridScores, *, resamples: int = 2000, seed: int = 0
) -> tuple[Protocol, Protocol]:
    """Return the cross-validation tuned on all its predictions, and tuned fold by fold on the other folds' ones.

    How its trainings were stopped is the folder's own and is part of each name.

    Raises:
        IslesError: ``E-SRCH-04`` when all cases are in one fold.
    Source: ours; ``tests/cli/test_search.py``.
    """
    folds = [int(case.fold) for case in found.cases]
    shared = grid.choose()
    tuned = {PAPER: dict.fromkeys(found.plan.folds, shared), NESTED: choose_without(grid, folds)}
    first, second = (
        _protocol(found, way, choices, {"resamples": resamples, "seed": seed}) for way, choices in tuned.items()
    )
    return first, second


def flattery(first: Protocol, second: Protocol, *, resamples: int = 2000, seed: int = 0) -> dict[str, object]:
    """Return by how many Dice points ``first`` lies above ``second`` on the same cases, with the paired tests.

    Units: ``dice_points`` and its interval in hundredths of Dice.

    Raises:
        IslesError: ``E-CMP-01`` when they are not of the same cases.
    """
    found = compare_rows(second.rows, first.rows, metric="dsc", resamples=resamples, seed=seed)
    ends = found["ci95"]
    return {
        "of": first.name,
        "over": second.name,
        "dice_points": 100 * found["cases"]["mean"],
        "dice_points_ci95": None if ends is None else [100 * end for end in ends],
        "test": found,
    }


def require_pair(paper: OutOfFold, nested: OutOfFold) -> None:
    """Refuse two cross-validations whose difference would not be that of the protocols alone.

    Raises:
        IslesError: ``E-SRCH-05``.
    """
    ours, theirs = paper.plan, nested.plan
    same = ("folds", "cases", "overlays", "settings", "fingerprints")
    wrong = [name for name in same if getattr(ours, name) != getattr(theirs, name)]
    if wrong or (ours.protocol, theirs.protocol) != (PAPER, NESTED):
        raise IslesError(
            "E-SRCH-05",
            "these two cross-validations are no pair",
            where=f"{paper.folder} and {nested.folder}",
            found=f"protocols {ours.protocol} and {theirs.protocol}; differing: {', '.join(wrong) or 'nothing else'}",
            fix="run crossval twice with equal settings, --protocol paper and --protocol nested",
        )


def _protocol(found: OutOfFold, tuning: str, choices: Mapping[int, Choice], bootstrap: Mapping[str, int]) -> Protocol:
    name = _NAMES[found.plan.protocol, tuning]
    rows = [_row(found, case, choices[case.fold]) for case in progress(found.cases, name, total=len(found.cases))]
    said = f"{_STOP[found.plan.protocol]}; {_TUNING[tuning]}"
    summary = {
        "data": found.plan.data_name,
        "simulated": found.plan.simulated,
        "section": "training",
        "folds": list(found.plan.folds),
        "protocol": said,
        "choices": {str(fold): choice.__dict__ for fold, choice in choices.items()},
        "methods": {NETWORK: summarise(rows, **bootstrap)},
        "baselines": {},
        "missing_predictions": [],
        "predictions_without_reference": [],
        "bootstrap": {**bootstrap, "level": 0.95, "unit": "subject"},
        "rules": RULES,
    }
    return Protocol(name, said, dict(choices), rows, summary)


def _row(found: OutOfFold, case: Case, choice: Choice) -> dict[str, object]:
    probability, reference = found.read(case)
    mask = binarise(probability, choice.threshold, choice.min_size_vox)
    scores = score_case(mask, reference.data > 0, reference.spacing_mm)
    return {"case": case.name, "subject": case.subject, **scores, "missing": 0, "midline": "", "method": NETWORK}
