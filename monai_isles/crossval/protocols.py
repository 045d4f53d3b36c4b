"""Search threshold and smallest size case by case, and score a cross-validation by two ways of tuning them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, cast

import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree

from monai_isles.crossval.out_of_fold import OutOfFold, score_maps
from monai_isles.crossval.plan import NESTED, PAPER
from monai_isles.errors import refused
from monai_isles.evaluation.compare import compare_rows
from monai_isles.evaluation.score import NETWORK
from monai_isles.evaluation.summary import summarise
from monai_isles.metrics.overlap import RULES, paired_masks, ratio
from monai_isles.metrics.surface import surface_of
from monai_isles.perfusion.thresholds import cluster_vox
from monai_isles.postprocessing.components import require_settings
from monai_isles.progress import progress

THRESHOLDS = tuple(k / 10 for k in range(1, 10))
SIZES_VOX = (10, 50, 100, 200, 300, 500)
HD_MAX_VOX, LEAST_LOSS, ALIKE_ML = 200.0, 0.02, 0.5
RULE = (
    "score of the means over cases; in it a Hausdorff distance above 200 voxels counts 200, one empty mask counts "
    "Dice 0 and 200 voxels, both empty Dice 1 and 0 voxels; ties go to the lower threshold, then the smaller size"
)


def case_grid(
    probability: np.ndarray, reference: np.ndarray, thresholds: Sequence[float], sizes_vox: Sequence[int]
) -> tuple[np.ndarray, ...]:
    """Return Dice, Hausdorff distance and excess of ``binarise(probability, T, S)`` over ``reference`` for every pair.

    Components do not touch. So each has its own size, overlap and largest distance to the reference, computed once per
    threshold; the value for every smallest size is a sum or a maximum over the components that remain.

    Shapes: two equal shapes ``(H, W, D)``; ``(thresholds, sizes)`` each out.
    Units: voxels; a distance is nan where exactly one mask is empty.
    Source: ours; equal to ``binarise``, ``dsc`` and ``hd_vox`` in ``tests/crossval/test_case_grid.py``.
    """
    require_settings(thresholds, sizes_vox)
    probability = np.asarray(probability)
    candidates, reference = paired_masks(probability > min(thresholds), reference)
    # No voxel outside this box can be in a mask or in the reference: cropping changes no score.
    objects = ndimage.find_objects((candidates | reference).view(np.int8))
    if not objects:
        shape = len(thresholds), len(sizes_vox)
        return np.ones(shape), np.zeros(shape), np.zeros(shape)
    probability, reference = probability[objects[0]], reference[objects[0]]
    surface = surface_of(reference)
    away = ndimage.distance_transform_edt(~surface) if surface.any() else None
    rows = [_row(probability > threshold, reference, np.argwhere(surface), away, sizes_vox) for threshold in thresholds]
    return tuple(map(np.array, zip(*rows, strict=True)))


def _row(
    above: np.ndarray, reference: np.ndarray, points: np.ndarray, away: np.ndarray | None, sizes_vox: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return Dice, distance and excess of one threshold for every size.

    Sizes decrease, so components are only added. A point of the reference's surface that is nearer to the present ones
    than the largest distance found so far cannot change the result, and is not computed again.
    """
    labels, number = ndimage.label(above, structure=ndimage.generate_binary_structure(above.ndim, 1))
    size, hits = (np.bincount(part.ravel(), minlength=number + 1) for part in (labels, labels[reference]))
    size[0] = hits[0] = 0  # label 0 is the background
    edge = np.argwhere(surface_of(above))
    owner, reach = labels[tuple(edge.T)], np.zeros(number + 1)
    if away is not None:
        # The farthest voxel of a component lies on its surface, so only the edge is looked up.
        np.maximum.at(reach, owner, away[tuple(edge.T)])
    size_ref, near, far = int(np.count_nonzero(reference)), np.full(len(points), np.inf), 0.0
    (dsc, hd, excess), kept = np.empty((3, len(sizes_vox))), np.zeros(number + 1, bool)
    # The largest size first: every smaller one keeps what was there and adds components.
    for place in np.argsort(sizes_vox)[::-1]:
        new = (size >= max(sizes_vox[place], 1)) & ~kept
        kept |= new
        total = int(size[kept].sum()) + size_ref
        excess[place] = total - 2 * size_ref
        dsc[place] = ratio(2 * int(hits[kept].sum()), total, both_empty=total == 0)
        if new.any() and len(points):
            far = max(far, float(reach[new].max()))
            # Distances of points only fall and ``far`` only rises: what lies below it cannot be the largest any more.
            open_points = np.flatnonzero(near > far)
            tree = KDTree(edge[new[owner]], balanced_tree=False, compact_nodes=False)
            near[open_points] = np.minimum(near[open_points], tree.query(points[open_points])[0])
        both = kept.any() and len(points)
        hd[place] = max(far, float(near.max())) if both else (np.nan if total else 0.0)
    return dsc, hd, excess


@dataclass(frozen=True)
class Choice:
    """Hold one pair of the grid, see ``GridScores``, and the score that chose it."""

    threshold: float
    min_size_vox: int
    score: float


@dataclass(frozen=True)
class GridScores:
    """Hold the scores of N cases over the grid, ``(N, thresholds, sizes)`` each.

    Units: ``hd_vox`` voxels, nan where exactly one mask is empty; ``excess_ml`` ml of the masks above the references;
    ``sizes_vox`` voxels, or mm3 of a grid by ``sizes_mm3``.
    """

    thresholds: tuple[float, ...]
    sizes_vox: tuple[int, ...]
    dsc: np.ndarray
    hd_vox: np.ndarray
    excess_ml: np.ndarray

    def means(self, cases: np.ndarray | slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Return mean Dice and mean distance over ``cases`` as used by the score, ``(thresholds, sizes)``."""
        # One empty mask has no distance: it counts as the largest, so that no pair gains by predicting nothing.
        distance = np.nan_to_num(self.hd_vox[cases], nan=HD_MAX_VOX).clip(max=HD_MAX_VOX)
        return self.dsc[cases].mean(axis=0), distance.mean(axis=0)

    def scores(self, cases: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Return ``joint_score`` of the means over ``cases``, ``(thresholds, sizes)``."""
        return joint_score(*self.means(cases))

    def choose(self, cases: np.ndarray | slice = slice(None)) -> Choice:
        """Return the best pair over ``cases``; ties go to the lower threshold, then the smaller size."""
        if not len(self.dsc[cases]):
            raise refused("E-SRCH-04", where="threshold and smallest lesion", found="no case")
        scores = self.scores(cases)
        pairs = [(t, s) for t in np.argsort(self.thresholds) for s in np.argsort(self.sizes_vox)]
        best = max(scores[t, s] for t, s in pairs)
        # Rounding must not decide a tie: the first pair within 1e-12 of the best in the fixed order wins.
        t, s = next(pair for pair in pairs if scores[pair] >= best - 1e-12)
        return Choice(self.thresholds[t], self.sizes_vox[s], float(scores[t, s]))

    def choose_by_volume(self) -> Choice:
        """Return, of all pairs as good as ``choose``'s, the one whose mean volume is nearest to the references'.

        As good: mean Dice lower by no more than two standard errors of the difference over cases, which a paired test
        calls undecided, and by no more than 0.02: of few cases a paired test decides nothing.
        Of those within half a millilitre of the nearest the highest score wins.
        Source: ours; the shipped weights over-segment less by it (docs/ablation.md); ``tests/crossval/test_search.py``.
        """
        best = self.choose()
        at = self.thresholds.index(best.threshold), self.sizes_vox.index(best.min_size_vox)
        loss = self.dsc[:, at[0], at[1]][:, None, None] - self.dsc
        alike = loss.mean(axis=0) <= np.minimum(2 * loss.std(axis=0) / len(loss) ** 0.5, LEAST_LOSS) + 1e-12
        off, scores = np.abs(self.excess_ml.mean(axis=0)), self.scores()
        near = alike & (off <= off[alike].min() + ALIKE_ML)
        t, s = max(((int(t), int(s)) for t, s in np.argwhere(near)), key=lambda pair: scores[pair])
        return Choice(self.thresholds[t], self.sizes_vox[s], float(scores[t, s]))


def joint_score(dsc: np.ndarray, hd_vox: np.ndarray) -> np.ndarray:
    """Return ``DSC (1 - HD/200) / (DSC + (1 - HD/200))`` of mean Dice and mean distance in voxels, 0.5 at best.

    Source: Clerigues 2020, eq. 2.
    """
    near = 1.0 - np.asarray(hd_vox) / HD_MAX_VOX
    total = dsc + near
    return np.divide(dsc * near, total, out=np.zeros_like(total), where=total > 0)


def choose_without(grid: GridScores, folds: Sequence[int]) -> dict[int, Choice]:
    """Return for every fold the best pair over the cases of all other folds; ``folds`` has that of each case."""
    of_case = np.asarray(folds)
    return {int(fold): grid.choose(of_case != fold) for fold in np.unique(of_case)}


_STOP = {PAPER: "training stopped by the scored scans", NESTED: "training stopped by scans that are not scored"}
_TUNING = {
    PAPER: "T and Smin chosen on the scored predictions",
    NESTED: "T and Smin of each fold chosen on the predictions of the other folds",
}


@dataclass(frozen=True)
class Protocol:
    """Hold the scores of one cross-validation by one way of tuning, with ``summary`` as ``evaluate`` writes it."""

    name: str
    choices: dict[int, Choice]
    rows: list[dict[str, object]]
    summary: dict[str, Any]


def grid_scores(
    predictions: OutOfFold, sizes_vox: Sequence[int] = SIZES_VOX, *, sizes_mm3: Sequence[int] = ()
) -> GridScores:
    """Score every case at every threshold and every smallest size in voxels, or instead in mm3."""
    grids = []
    for case in progress(predictions.cases, "searching"):
        probability, reference = predictions.read(case)
        least = [cluster_vox(mm3 / 1000, reference.spacing_mm) for mm3 in sizes_mm3] or sizes_vox
        dsc, hd, excess_vox = case_grid(probability, reference.data > 0, THRESHOLDS, least)
        grids.append((dsc, hd, excess_vox * prod(reference.spacing_mm) / 1000))
    return GridScores(THRESHOLDS, tuple(sizes_mm3 or sizes_vox), *map(np.stack, zip(*grids, strict=True)))


def protocol_tables(predictions: OutOfFold, grid: GridScores, **bootstrap: int) -> tuple[Protocol, Protocol]:
    """Return the cross-validation tuned on all its predictions, and tuned fold by fold on the other folds' ones."""
    folds = [cast(int, case.fold) for case in predictions.cases]
    shared = grid.choose()
    tuned = {PAPER: dict.fromkeys(predictions.plan.folds, shared), NESTED: choose_without(grid, folds)}
    first, second = (_protocol(predictions, tuning, choices, bootstrap) for tuning, choices in tuned.items())
    return first, second


def optimism(first: Protocol, second: Protocol, **bootstrap: int) -> dict[str, object]:
    """Return by how many hundredths of Dice ``first`` lies above ``second`` on the same cases, with paired tests."""
    result = compare_rows(second.rows, first.rows, metric="dsc", **bootstrap)
    ends = result["ci95"]
    return {
        "of": first.name,
        "over": second.name,
        "dice_points": 100 * result["cases"]["mean"],
        "dice_points_ci95": None if ends is None else [100 * end for end in ends],
        "test": result,
    }


def require_pair(paper: OutOfFold, nested: OutOfFold) -> None:
    """Refuse two cross-validations that differ in more than the protocol."""
    ours, theirs = paper.plan, nested.plan
    same = ("folds", "cases", "overlays", "settings", "fingerprints")
    wrong = [name for name in same if getattr(ours, name) != getattr(theirs, name)]
    if wrong or (ours.protocol, theirs.protocol) != (PAPER, NESTED):
        found = f"protocols {ours.protocol} and {theirs.protocol}; differing: {', '.join(wrong) or 'nothing else'}"
        raise refused("E-SRCH-05", where=f"{paper.folder} and {nested.folder}", found=found)


def _protocol(
    predictions: OutOfFold, tuning: str, choices: Mapping[int, Choice], bootstrap: Mapping[str, int]
) -> Protocol:
    stopped = predictions.plan.protocol
    name = tuning if stopped == tuning else f"{stopped}-training-{tuning}-tuning"
    cuts = {fold: (choice.threshold, choice.min_size_vox) for fold, choice in choices.items()}
    lines = score_maps(predictions.cases, predictions.read, name, cuts)
    rows = [{**line, "midline": "", "method": NETWORK} for line in lines]
    summary = {
        "data": predictions.plan.data_name,
        "simulated": predictions.plan.simulated,
        "section": "training",
        "folds": list(predictions.plan.folds),
        "protocol": f"{_STOP[stopped]}; {_TUNING[tuning]}",
        "choices": {str(fold): choice.__dict__ for fold, choice in choices.items()},
        "methods": {NETWORK: summarise(rows, **bootstrap)},
        "baselines": {},
        "missing_predictions": [],
        "predictions_without_reference": [],
        "bootstrap": {**bootstrap, "level": 0.95, "unit": "subject"},
        "rules": RULES,
    }
    return Protocol(name, dict(choices), rows, summary)
