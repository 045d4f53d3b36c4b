"""Two ways to score one cross-validation, and how many Dice points apart they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from monai_isles.crossval.case_grid import case_grid
from monai_isles.crossval.out_of_fold import OutOfFold, score_maps
from monai_isles.crossval.plan import NESTED, PAPER
from monai_isles.errors import refused
from monai_isles.evaluation.compare import compare_rows
from monai_isles.evaluation.score import NETWORK
from monai_isles.evaluation.summary import summarise
from monai_isles.metrics.overlap import RULES
from monai_isles.progress import progress

THRESHOLDS = tuple(k / 10 for k in range(1, 10))
SIZES_VOX = (10, 50, 100, 200, 300, 500)
MRI_SIZES_VOX = (10, 50, 100, 200, 500, 1000)
HD_MAX_VOX = 200.0
RULE = (
    "score of the means over cases; in it a Hausdorff distance above 200 voxels counts 200, one empty mask counts "
    "Dice 0 and 200 voxels, both empty Dice 1 and 0 voxels; ties go to the lower threshold, then the smaller size"
)


@dataclass(frozen=True)
class Choice:
    """Hold one pair of the grid and the score that chose it. Units: ``min_size_vox`` voxels."""

    threshold: float
    min_size_vox: int
    score: float


@dataclass(frozen=True)
class GridScores:
    """Hold what every case scores at every pair of the grid.

    Shapes: ``dsc`` and ``hd_vox`` ``(N, thresholds, sizes)``; N cases.
    Units: ``hd_vox`` voxels, nan where exactly one mask is empty.
    """

    thresholds: tuple[float, ...]
    sizes_vox: tuple[int, ...]
    dsc: np.ndarray
    hd_vox: np.ndarray

    def means(self, cases: np.ndarray | slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Return mean Dice and mean distance over ``cases`` as the score counts them, ``(thresholds, sizes)``."""
        distance = np.nan_to_num(self.hd_vox[cases], nan=HD_MAX_VOX).clip(max=HD_MAX_VOX)
        return self.dsc[cases].mean(axis=0), distance.mean(axis=0)

    def scores(self, cases: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Return ``joint_score`` of the means over ``cases``, ``(thresholds, sizes)``."""
        return joint_score(*self.means(cases))

    def choose(self, cases: np.ndarray | slice = slice(None)) -> Choice:
        """Return the best pair over ``cases``; ties go to the lower threshold, then the smaller size.

        Raises:
            IslesError: ``E-SRCH-04`` without any case.
        """
        if not len(self.dsc[cases]):
            raise refused("E-SRCH-04", where="threshold and smallest lesion", found="no case")
        scores = self.scores(cases)
        pairs = [(t, s) for t in np.argsort(self.thresholds) for s in np.argsort(self.sizes_vox)]
        best = max(scores[t, s] for t, s in pairs)
        t, s = next(pair for pair in pairs if scores[pair] >= best - 1e-12)
        return Choice(self.thresholds[t], self.sizes_vox[s], float(scores[t, s]))


def joint_score(dsc: np.ndarray, hd_vox: np.ndarray) -> np.ndarray:
    """Return ``DSC (1 - HD/200) / (DSC + (1 - HD/200))``, 0 where both terms are; 0.5 at best.

    Shapes: two equal shapes. Units: ``hd_vox`` voxels, at most 200.
    Source: Clerigues 2020, eq. 2, the mean Dice and distance over cases in it.
    """
    near = 1.0 - np.asarray(hd_vox) / HD_MAX_VOX
    total = dsc + near
    return np.divide(dsc * near, total, out=np.zeros_like(total), where=total > 0)


def choose_without(grid: GridScores, folds: Sequence[int]) -> dict[int, Choice]:
    """Return for every fold the best pair over the cases of all other folds.

    Shapes: ``folds`` has one fold a case. Raises: ``E-SRCH-04`` when all cases are in one fold.
    """
    of_case = np.asarray(folds)
    return {int(fold): grid.choose(of_case != fold) for fold in np.unique(of_case)}


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
    folds = [cast(int, case.fold) for case in found.cases]
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
        raise refused(
            "E-SRCH-05",
            where=f"{paper.folder} and {nested.folder}",
            found=f"protocols {ours.protocol} and {theirs.protocol}; differing: {', '.join(wrong) or 'nothing else'}",
        )


def _protocol(found: OutOfFold, tuning: str, choices: Mapping[int, Choice], bootstrap: Mapping[str, int]) -> Protocol:
    name = _NAMES[found.plan.protocol, tuning]
    cuts = {fold: (choice.threshold, choice.min_size_vox) for fold, choice in choices.items()}
    lines = score_maps(found.cases, found.read, name, cuts)
    rows = [{**line, "midline": "", "method": NETWORK} for line in lines]
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
