"""The threshold and the smallest lesion size that serve Dice and Hausdorff distance best together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from monai_isles.errors import IslesError

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
            raise IslesError(
                "E-SRCH-04",
                "nothing to choose by",
                where="threshold and smallest lesion",
                found="no case",
                fix="give the predictions of at least one case of another fold",
            )
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
