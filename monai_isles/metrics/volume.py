"""Measure lesion volumes, their differences, and their agreement over cases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from monai_isles.errors import refused
from monai_isles.metrics.overlap import paired_masks, require_spacing

Volumes = Sequence[float] | np.ndarray


def volume_ml(mask: np.ndarray, spacing_mm: Sequence[float]) -> float:
    """Return the volume of a mask, voxels times voxel volume. Units: mm in, ml out. Raises: ``E-MET-03``.

    >>> volume_ml(np.ones((10, 10, 2)), (1.0, 1.0, 5.0))
    1.0
    """
    spacing = require_spacing(spacing_mm, np.ndim(mask))
    return float(np.count_nonzero(mask)) * math.prod(spacing) / 1000.0


def avd_ml(pred: np.ndarray, ref: np.ndarray, spacing_mm: Sequence[float]) -> float:
    """Return the absolute volume difference ``|V_P - V_R|`` in ml. Raises: ``E-MET-01`` to ``E-MET-03``.

    >>> avd_ml(np.ones((10, 10, 2)), np.zeros((10, 10, 2)), (1.0, 1.0, 5.0))
    1.0
    """
    pred, ref = paired_masks(pred, ref)
    return abs(volume_ml(pred, spacing_mm) - volume_ml(ref, spacing_mm))


def rve(pred: np.ndarray, ref: np.ndarray) -> float:
    """Return the relative volume error ``|V_P - V_R| / V_R``; both empty 0, reference empty nan.

    Units: none. Raises: ``E-MET-01``, ``E-MET-02``. Source: Wang 2020, section 4.2.5.

    >>> rve(np.array([1, 1, 1]), np.array([1, 1, 0]))
    0.5
    """
    pred, ref = paired_masks(pred, ref)
    # voxels suffice: both masks share one voxel volume, which cancels
    size_pred, size_ref = np.count_nonzero(pred), np.count_nonzero(ref)
    if size_ref == 0:
        return 0.0 if size_pred == 0 else math.nan
    return float(abs(int(size_pred) - int(size_ref)) / size_ref)


def r2_identity(pred_ml: Volumes, ref_ml: Volumes) -> float:
    """Return the coefficient of determination of the predicted volumes about the identity line.

    ``1 - sum (R - P)^2 / sum (R - mean R)^2``: bias counts, and it can be negative. nan below two cases or when all
    reference volumes are equal.

    Shapes: one volume a case. Raises: ``E-MET-04`` when the lengths differ.
    Source: the ``R2`` (COD) of Clerigues 2019, section 4, read in its usual sense.

    >>> r2_identity([1.0, 2.0, 3.0], [1.0, 2.0, 4.0])
    0.7857142857142857
    """
    pred, ref = paired_volumes(pred_ml, ref_ml)
    if ref.size < 2 or not np.ptp(ref):  # the sum of squares below is not exactly 0 where the mean is rounded
        return math.nan
    return 1.0 - float(((ref - pred) ** 2).sum()) / float(((ref - ref.mean()) ** 2).sum())


def r2_pearson(pred_ml: Volumes, ref_ml: Volumes) -> float:
    """Return the squared Pearson correlation of the volumes, blind to bias and scale.

    nan below two cases or when either side does not vary. Shapes and raises: ``r2_identity``.

    >>> round(r2_pearson([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]), 6)
    1.0
    """
    pred, ref = paired_volumes(pred_ml, ref_ml)
    varies = ref.size > 1 and np.ptp(pred) > 0 and np.ptp(ref) > 0
    return float(stats.pearsonr(pred, ref).statistic ** 2) if varies else math.nan


def paired_volumes(pred_ml: Volumes, ref_ml: Volumes) -> tuple[np.ndarray, np.ndarray]:
    """Return both lists as float64 arrays. Raises: ``E-MET-04`` when the lengths differ."""
    pred, ref = np.asarray(pred_ml, dtype=np.float64), np.asarray(ref_ml, dtype=np.float64)
    if pred.shape != ref.shape:
        raise refused("E-MET-04", where="R2", found=f"{pred.size} predicted, {ref.size} reference")
    return pred, ref


def bland_altman(pred_ml: Volumes, ref_ml: Volumes) -> dict[str, Any]:
    """Return the bias of the predicted volumes and the limits that hold 95 % of the differences.

    ``bias_ml`` is the mean of prediction minus reference; the limits are ``bias +- 1.96 sd``, sd with n - 1.
    ``bias_ci95`` is the t interval of the bias over cases; ``slope`` is that of the difference over the mean of both
    (least squares): other than 0 where the error grows with the lesion. None where a number does not exist.

    Shapes: one volume a case. Units: ml; slope without.
    Raises: ``E-MET-04`` when the lengths differ.
    Source: Bland and Altman 1986, doi:10.1016/S0140-6736(86)90837-8; ``tests/metrics/test_agreement.py``.

    >>> bland_altman([11.0, 22.0, 33.0], [10.0, 20.0, 30.0])["bias_ml"]
    2.0
    """
    pred, ref = paired_volumes(pred_ml, ref_ml)
    difference, middle = pred - ref, (pred + ref) / 2
    result: dict[str, Any] = dict.fromkeys(("bias_ml", "sd_ml", "lower_ml", "upper_ml", "slope"))
    result |= {"n": int(pred.size), "bias_ci95": None}
    if pred.size:
        result["bias_ml"] = bias = float(difference.mean())
    if pred.size > 1:
        sd = float(difference.std(ddof=1))
        result |= {"sd_ml": sd, "lower_ml": bias - 1.96 * sd, "upper_ml": bias + 1.96 * sd}
        # the bias has a t interval, which tightens with n; the limits of agreement describe single cases
        ends = stats.t.interval(0.95, pred.size - 1, bias, stats.sem(difference)) if sd > 0 else (bias, bias)
        result["bias_ci95"] = [float(end) for end in ends]
        if np.ptp(middle) > 0:
            result["slope"] = float(stats.linregress(middle, difference).slope)
    return result


NO_LESION = "no lesion"
STRATA = (NO_LESION, "<10 ml", "10-50 ml", ">50 ml")


def size_stratum(lesion_ml: float) -> str:
    """Return the stratum of a reference lesion: ``no lesion``, ``<10 ml``, ``10-50 ml`` (both ends in it), ``>50 ml``.

    Source: cuts of this project, not clinical groups.
    """
    if not lesion_ml >= 0:
        raise refused("E-MET-10", where="size stratum", found=f"{lesion_ml!r} ml")
    if lesion_ml == 0:
        return NO_LESION
    return STRATA[1] if lesion_ml < 10 else STRATA[2] if lesion_ml <= 50 else STRATA[3]
