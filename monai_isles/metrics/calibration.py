"""Does a probability mean what it says, and does the uncertainty know where the errors are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from monai_isles.errors import refused

BINS = 10
UNCERTAINTY_EDGES = tuple(round(0.05 * step, 2) for step in range(11))
_ROUNDING, _EDGE = 1e-5, 1e-6


@dataclass(frozen=True)
class Reliability:
    """Hold what a reliability curve is drawn from; curves of several cases add up.

    Shapes: all ``(bins,)``, equal widths over 0..1, the upper edge in its bin and 0 in the first.

    Args:
        voxels: how many voxels fall into each bin.
        confidence: sum of their probabilities.
        lesion: how many of them are lesion.
    """

    voxels: np.ndarray
    confidence: np.ndarray
    lesion: np.ndarray

    def __add__(self, other: Reliability) -> Reliability:
        return Reliability(self.voxels + other.voxels, self.confidence + other.confidence, self.lesion + other.lesion)

    def gaps(self) -> np.ndarray:
        """Return |mean probability - share of lesion| of each bin, nan where it is empty."""
        filled = np.where(self.voxels > 0, self.voxels, np.nan)
        return np.abs(self.confidence - self.lesion) / filled

    def ece(self) -> float:
        """Return the expected calibration error: the gaps weighted by their voxels; nan without a voxel.

        Source: Naeini 2015 (AAAI, Obtaining well calibrated probabilities using Bayesian binning).
        """
        total = float(self.voxels.sum())
        return math.nan if not total else float(np.abs(self.confidence - self.lesion).sum() / total)

    def ace(self) -> float:
        """Return the mean gap of the bins that hold voxels, each bin alike, so background does not drown the rest."""
        return float(np.nanmean(self.gaps())) if self.voxels.any() else math.nan

    def curve(self) -> list[dict[str, float | int | None]]:
        """Return voxels, mean probability and share of lesion by bin, None where a bin is empty."""
        return [
            {"voxels": int(n), "probability": float(c / n) if n else None, "lesion": float(k / n) if n else None}
            for n, c, k in zip(self.voxels, self.confidence, self.lesion, strict=True)
        ]


def reliability(probability: np.ndarray, lesion: np.ndarray, *, bins: int = BINS) -> Reliability:
    """Return how often a voxel is lesion where the map says p.

    Shapes: any, equal. Units: none.

    Args:
        probability: lesion probability, 0..1.
        lesion: what is true, boolean.
        bins: number of equal bins.

    Raises:
        IslesError: ``E-CAL-01`` shapes differ, ``E-CAL-02`` not a probability, ``E-CAL-03`` fewer than one bin.

    Source: Guo 2017 (arXiv:1706.04599), section 2; ``tests/metrics/test_calibration.py``.
    """
    p, y = _voxels(probability, lesion)
    _require_probability(p)
    if bins < 1:
        raise refused("E-CAL-03", where="reliability", found=f"{bins} bins")
    place = np.clip(np.ceil(p * bins - _EDGE).astype(np.int64) - 1, 0, bins - 1)
    sums = [np.bincount(place, weights=weights, minlength=bins) for weights in (p, y.astype(np.float64))]
    return Reliability(np.bincount(place, minlength=bins), sums[0], sums[1].astype(np.int64))


def brier_score(probability: np.ndarray, lesion: np.ndarray) -> float:
    """Return the mean of (p - truth)^2 over voxels, nan without any. Raises: ``E-CAL-01``, ``E-CAL-02``.

    Source: Brier 1950, doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.
    """
    p, y = _voxels(probability, lesion)
    _require_probability(p)
    return float(np.mean((p - y) ** 2)) if p.size else math.nan


def uncertainty_auroc(uncertainty: np.ndarray, wrong: np.ndarray) -> float:
    """Return the chance that a wrong voxel is more uncertain than a right one, ties counting half.

    0.5: the uncertainty says nothing about errors. nan where all voxels are right or all are wrong.

    Shapes: any, equal. Units: any. Raises: ``E-CAL-01``.
    Source: area under the ROC curve by ranks, Hanley 1982, doi:10.1148/radiology.143.1.7063747.
    """
    u, w = _voxels(uncertainty, wrong)
    n_wrong, n_right = int(w.sum()), int((~w).sum())
    if not n_wrong or not n_right:
        return math.nan
    ranks = float(rankdata(u)[w].sum())
    return (ranks - n_wrong * (n_wrong + 1) / 2) / (n_wrong * n_right)


def uncertainty_errors(uncertainty: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Return voxels and wrong voxels by level of uncertainty, so that cases add up.

    Shapes: any, equal, in; ``(2, 10)`` out, bins of 0.05 up to 0.5, the largest deviation a probability can have.
    Raises: ``E-CAL-01``. Source: ours.
    """
    u, w = _voxels(uncertainty, wrong)
    bins = len(UNCERTAINTY_EDGES) - 1
    place = np.clip(np.ceil(u / UNCERTAINTY_EDGES[1] - _EDGE).astype(np.int64) - 1, 0, bins - 1)
    return np.stack([np.bincount(place, minlength=bins), np.bincount(place[w], minlength=bins)])


def _voxels(values: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, truth = np.asarray(values), np.asarray(truth)
    if values.shape != truth.shape:
        raise refused("E-CAL-01", where="calibration", found=f"{values.shape} and {truth.shape}")
    return values.ravel().astype(np.float64), truth.ravel().astype(bool)


def _require_probability(p: np.ndarray) -> None:
    if p.size and not (p.min() >= -_ROUNDING and p.max() <= 1 + _ROUNDING):
        raise refused("E-CAL-02", where="calibration", found=f"values {p.min():.6g} to {p.max():.6g}")
