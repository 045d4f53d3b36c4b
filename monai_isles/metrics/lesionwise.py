"""Lesions counted one by one: how many there are and how many were found."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from monai_isles.metrics.rules import paired_masks, ratio


def count_lesions(mask: np.ndarray) -> int:
    """Return the number of 6-connected components. Shapes: any; ``(H, W)`` counts 4-connected ones."""
    return int(_labelled(np.asarray(mask) != 0)[1])


def lesion_f1(pred: np.ndarray, ref: np.ndarray) -> float:
    """Return the detection F1, ``TP / (TP + (FP + FN) / 2)``; one shared voxel counts as found.

    TP and FN count reference lesions, FP predicted lesions that touch none. Both empty 1, one empty 0.

    Shapes: two equal shapes. Raises: ``E-MET-01``, ``E-MET-02``.
    Source: the lesion-wise F1 of ISLES 2022 (doi:10.1038/s41597-022-01875-5); components here are 6-connected.
    """
    pred, ref = paired_masks(pred, ref)
    pred_labels, n_pred = _labelled(pred)
    ref_labels, n_ref = _labelled(ref)
    shared = pred & ref
    found = np.unique(ref_labels[shared]).size
    false = n_pred - np.unique(pred_labels[shared]).size
    return ratio(found, found + (false + n_ref - found) / 2, both_empty=n_pred + n_ref == 0)


def _labelled(mask: np.ndarray) -> tuple[np.ndarray, int]:
    return ndimage.label(mask, structure=ndimage.generate_binary_structure(mask.ndim, 1))
