"""How much of two masks coincides."""

from __future__ import annotations

import numpy as np

from monai_isles.metrics.rules import paired_masks, ratio


def dsc(pred: np.ndarray, ref: np.ndarray) -> float:
    """Return the Dice similarity coefficient, ``2 |P and R| / (|P| + |R|)``.

    Shapes: two equal shapes, any number of axes. Units: none, 0..1; both empty 1, one empty 0.
    Raises: ``E-MET-01``, ``E-MET-02``. Source: Dice 1945, doi:10.2307/1932409.
    """
    pred, ref = paired_masks(pred, ref)
    size_pred, size_ref = _count(pred), _count(ref)
    return ratio(2 * _count(pred & ref), size_pred + size_ref, both_empty=size_pred + size_ref == 0)


def ppv(pred: np.ndarray, ref: np.ndarray) -> float:
    """Return the positive predictive value (precision), ``|P and R| / |P|``.

    Shapes and raises: ``dsc``. Units: none, 0..1; empty prediction 1 if the reference is empty too, else 0.
    """
    pred, ref = paired_masks(pred, ref)
    return ratio(_count(pred & ref), _count(pred), both_empty=not ref.any())


def sensitivity(pred: np.ndarray, ref: np.ndarray) -> float:
    """Return the sensitivity (recall), ``|P and R| / |R|``.

    Shapes and raises: ``dsc``. Units: none, 0..1; empty reference 1 if the prediction is empty too, else 0.
    """
    pred, ref = paired_masks(pred, ref)
    return ratio(_count(pred & ref), _count(ref), both_empty=not pred.any())


def _count(mask: np.ndarray) -> int:
    return int(np.count_nonzero(mask))
