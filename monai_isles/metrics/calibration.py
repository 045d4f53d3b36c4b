"""Measure and correct the calibration of probabilities, and relate uncertainty to errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit
from scipy.stats import beta, mannwhitneyu

from monai_isles.errors import refused
from monai_isles.metrics.volume import paired_volumes

UNCERTAINTY_EDGES = tuple(round(0.05 * step, 2) for step in range(11))
LOGITS = np.linspace(-12.0, 12.0, 1201)
_ROUNDING, _EDGE = 1e-5, 1e-6


@dataclass(frozen=True)
class Reliability:
    """Hold voxels, the sum of their probabilities and lesion voxels in equal bins of 0..1; counts add up."""

    voxels: np.ndarray
    confidence: np.ndarray
    lesion: np.ndarray

    def __add__(self, other: Reliability) -> Reliability:
        return Reliability(self.voxels + other.voxels, self.confidence + other.confidence, self.lesion + other.lesion)

    def ece(self) -> float:
        """Return the expected calibration error, the ``ace`` with bins weighted by their voxels; nan without a voxel.

        Source: Naeini 2015 (AAAI, Obtaining well calibrated probabilities using Bayesian binning).
        """
        total = float(self.voxels.sum())
        return math.nan if not total else float(np.abs(self.confidence - self.lesion).sum() / total)

    def ace(self) -> float:
        """Return the mean |mean probability - share of lesion| of the bins that hold voxels; background is but one."""
        gaps = np.abs(self.confidence - self.lesion) / np.where(self.voxels > 0, self.voxels, np.nan)
        return float(np.nanmean(gaps)) if self.voxels.any() else math.nan

    def curve(self) -> list[dict[str, float | int | None]]:
        """Return voxels, mean probability and share of lesion by bin, None where a bin is empty."""
        return [
            {"voxels": int(n), "probability": float(c / n) if n else None, "lesion": float(k / n) if n else None}
            for n, c, k in zip(self.voxels, self.confidence, self.lesion, strict=True)
        ]


def reliability(probability: np.ndarray, lesion: np.ndarray, *, bins: int = 10) -> Reliability:
    """Count how often a voxel is lesion, by its predicted probability.

    Shapes: any, equal.
    Raises: ``E-CAL-01`` shapes differ, ``E-CAL-02`` not a probability, ``E-CAL-03`` fewer than one bin.
    Source: Guo 2017 (arXiv:1706.04599), section 2; ``tests/metrics/test_calibration.py``.

    >>> reliability(np.array([0.05, 0.95]), np.array([False, True]), bins=2).lesion.tolist()
    [0, 1]
    """
    p, y = _probabilities(probability, lesion)
    if bins < 1:
        raise refused("E-CAL-03", where="reliability", found=f"{bins} bins")
    # Bins are closed on the right; an edge keeps its bin despite rounding.
    place = np.clip(np.ceil(p * bins - _EDGE).astype(np.int64) - 1, 0, bins - 1)
    sums = [np.bincount(place, weights=weights, minlength=bins) for weights in (p, y.astype(np.float64))]
    return Reliability(np.bincount(place, minlength=bins), sums[0], sums[1].astype(np.int64))


def brier_score(probability: np.ndarray, lesion: np.ndarray) -> float:
    """Return the mean of (p - truth)^2 over voxels, nan without any. Raises: ``E-CAL-01``, ``E-CAL-02``.

    Source: Brier 1950, doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.

    >>> brier_score(np.array([0.0, 0.5]), np.array([False, True]))
    0.125
    """
    p, y = _probabilities(probability, lesion)
    return float(np.mean((p - y) ** 2)) if p.size else math.nan


def uncertainty_auroc(uncertainty: np.ndarray, wrong: np.ndarray) -> float:
    """Return the probability that a wrong voxel is more uncertain than a right one; ties count half.

    0.5 means that the uncertainty tells nothing about errors. nan if all voxels are right or all are wrong.

    Shapes: any, equal. Units: any. Raises: ``E-CAL-01``.
    Source: area under the ROC curve by ranks, Hanley 1982, doi:10.1148/radiology.143.1.7063747.

    >>> uncertainty_auroc(np.array([0.1, 0.4]), np.array([False, True]))
    1.0
    """
    u, w = _voxels(uncertainty, wrong)
    if w.all() or not w.any():
        return math.nan
    return float(mannwhitneyu(u[w], u[~w], method="asymptotic").statistic) / (int(w.sum()) * int((~w).sum()))


def uncertainty_errors(uncertainty: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Count voxels and wrong voxels by level of uncertainty; add the counts of several cases.

    Shapes: any, equal, in; ``(2, 10)`` out, bins of 0.05 up to 0.5, the largest deviation a probability can have.
    Raises: ``E-CAL-01``. Source: ours.

    >>> uncertainty_errors(np.array([0.01, 0.49]), np.array([False, True]))[:, -1].tolist()
    [1, 1]
    """
    u, w = _voxels(uncertainty, wrong)
    bins = len(UNCERTAINTY_EDGES) - 1
    place = np.clip(np.ceil(u / UNCERTAINTY_EDGES[1] - _EDGE).astype(np.int64) - 1, 0, bins - 1)
    return np.stack([np.bincount(place, minlength=bins), np.bincount(place[w], minlength=bins)])


def logit_counts(probability: np.ndarray, lesion: np.ndarray) -> np.ndarray:
    """Count healthy and lesion voxels by the logit of their probability; add the counts of several cases.

    Shapes: any, equal, in; ``(2, 1201)`` out, by the nearest of ``LOGITS``; those beyond -12 and 12 count at the ends.
    Raises: ``E-CAL-01``, ``E-CAL-02``. Source: ours; the input of ``fit_temperature``.
    """
    p, y = _probabilities(probability, lesion)
    with np.errstate(divide="ignore"):
        z = np.clip(logit(np.clip(p, 0.0, 1.0)), LOGITS[0], LOGITS[-1])
    place = np.rint((z - LOGITS[0]) / (LOGITS[1] - LOGITS[0])).astype(np.int64)
    return np.stack([np.bincount(place[y == truth], minlength=len(LOGITS)) for truth in (False, True)])


def fit_temperature(counts: np.ndarray) -> tuple[float, float]:
    """Fit the temperature and the shift of ``calibrate`` by maximum likelihood.

    A temperature above 1 lowers the confidence; a shift below 0 corrects for training patches that hold more lesion
    than a brain does. The maps must come from networks that were not trained on these cases.

    Raises: ``E-CAL-04`` without a healthy or without a lesion voxel.
    Source: Platt 1999; temperature as in Guo 2017 (arXiv:1706.04599), section 4.2.

    >>> p, truth = np.full(10, 0.1), np.arange(10) == 0  # one voxel in ten is lesion where the map says 0.1
    >>> counts = logit_counts(np.r_[p, 1 - p], np.r_[truth, ~truth])
    >>> round(fit_temperature(counts)[0], 1)  # already calibrated
    1.0
    """
    if not (counts.sum(axis=1) > 0).all():
        raise refused("E-CAL-04", where="fit_temperature", found=f"{counts.sum(axis=1).tolist()} voxels of each kind")
    healthy, lesion = counts / counts.sum()  # counts by logit: the fit costs the same for any number of voxels

    def cost(line: np.ndarray) -> tuple[float, np.ndarray]:
        z = line[0] * LOGITS + line[1]
        slope = healthy * expit(z) - lesion * expit(-z)
        loss = healthy @ np.logaddexp(0, z) + lesion @ np.logaddexp(0, -z)
        return float(loss), np.array([slope @ LOGITS, slope.sum()])

    scale, shift = minimize(cost, (1.0, 0.0), jac=True, bounds=[(1e-3, 1e3), (None, None)], tol=1e-12).x
    return 1.0 / float(scale), float(shift)


def calibrate(probability: np.ndarray, temperature: float, shift: float) -> np.ndarray:
    """Return probabilities whose logit is divided by ``temperature`` and moved by ``shift``; 0 and 1 stay.

    Shapes: any, kept; float32 stays so. Source: ``fit_temperature``.

    >>> p = np.array([0.2, 0.8])
    >>> calibrate(p, temperature=2.0, shift=0.0).round(3).tolist()  # less sure: logits are halved
    [0.333, 0.667]
    """
    p = np.clip(np.asarray(probability), 0, 1)
    with np.errstate(divide="ignore"):
        return expit(logit(p) / p.dtype.type(temperature) + p.dtype.type(shift))


LEVEL, GROUPS = 0.9, 3


def tolerance_ranks(n: int, level: float = LEVEL) -> tuple[int, int] | None:
    """Return the symmetric ranks, from 1, of ``n`` sorted errors that bound the share ``level`` of further ones.

    The bounds hold that share with a chance of ``level`` over the choice of the ``n`` cases where ``n`` allows (38
    cases for 0.9), in the mean over such choices where it does not (19); None below.
    """
    if 2 > (1 - level) * (n + 1) + 1e-9:
        return None
    outside = np.arange(1, n // 2 + 1)  # the share between the ranks is beta distributed, whatever the errors are
    low = max(1, int((beta.sf(level, n + 1 - 2 * outside, 2 * outside) >= level).sum()))
    return low, n + 1 - low


def fit_volume_errors(
    pred_ml: Sequence[float], ref_ml: Sequence[float], *, level: float = LEVEL, groups: int = GROUPS
) -> list[dict[str, float | int | None]]:
    """Fit, by size of the prediction, bounds on the volume error that hold for the share ``level`` of cases.

    The error of a case is the difference of ``log(1 + ml)``: relative for a large volume, absolute for a small one.
    Groups hold equal numbers of cases; there are as many groups as the cases allow. The bounds include the prediction.

    Units: ml, of cases that no network was trained on.
    Returns:
        ``up_to_ml`` (None: the last), ``low``, ``high`` and ``n`` of each group, the smallest predictions first; none
        below 19 cases.
    Raises: ``E-MET-04`` when the lengths differ.
    Source: split-conformal prediction with groups and training-conditional validity, Vovk 2012 (arXiv:1209.2673);
        tolerance limits, Wilks 1941 (doi:10.1214/aoms/1177731788).

    >>> [bounds] = fit_volume_errors([10.0] * 19, np.arange(1.0, 20.0), groups=1)  # 19 cases, level 0.9
    >>> round(11 * np.exp(bounds["low"]) - 1), round(11 * np.exp(bounds["high"]) - 1)  # ml around a predicted 10 ml
    (1, 19)
    """
    pred, ref = paired_volumes(pred_ml, ref_ml)
    while groups > 1 and tolerance_ranks(pred.size // groups, level) is None:
        groups -= 1
    order, result = np.argsort(pred, kind="stable"), []
    for number, own in enumerate(np.array_split(order, groups)):
        ranks = tolerance_ranks(own.size, level)
        if ranks is None:
            return []
        # log(1 + ml): relative when large, absolute when small.
        errors = np.sort(np.log1p(ref[own]) - np.log1p(pred[own]))
        low, high = (float(errors[rank - 1]) for rank in ranks)
        last = None if number == groups - 1 else float(pred[own].max())
        result.append({"up_to_ml": last, "low": min(low, 0.0), "high": max(high, 0.0), "n": int(own.size)})
    return result


def fit_chance(features: np.ndarray, right: np.ndarray) -> list[float]:
    """Fit intercept and slopes of the probability that a predicted lesion is real, ``expit(b0 + b . x)``.

    Shapes: ``features`` (n, k) of every predicted lesion, ``right`` (n,) bool; k + 1 numbers out.
    Source: logistic regression with a ridge of 0.01 on the slopes; ``tests/metrics/test_conformal.py``.

    >>> intercept, slope = fit_chance(np.array([[1.0], [2.0], [3.0]]), np.array([False, False, True]))
    >>> slope > 0  # larger features, higher probability
    True
    """
    x, y = np.column_stack([np.ones(len(features)), features]), np.where(right, 1.0, -1.0)
    ridge = np.r_[0.0, np.full(x.shape[1] - 1, 0.01)]  # keeps separable data finite; the intercept is free

    def cost(b: np.ndarray) -> tuple[float, np.ndarray]:
        margin = y * (x @ b)
        loss = float(np.logaddexp(0, -margin).mean() + ridge @ b**2 / 2)
        return loss, -(y * expit(-margin)) @ x / len(y) + ridge * b

    return [float(b) for b in minimize(cost, np.zeros(x.shape[1]), jac=True, tol=1e-10).x]


def _voxels(values: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, truth = np.asarray(values), np.asarray(truth)
    if values.shape != truth.shape:
        raise refused("E-CAL-01", where="calibration", found=f"{values.shape} and {truth.shape}")
    return values.ravel().astype(np.float64), truth.ravel().astype(bool)


def _probabilities(probability: np.ndarray, lesion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    p, y = _voxels(probability, lesion)
    if p.size and not (p.min() >= -_ROUNDING and p.max() <= 1 + _ROUNDING):
        raise refused("E-CAL-02", where="calibration", found=f"values {p.min():.6g} to {p.max():.6g}")
    return p, y
