"""Measure the overlap of two masks, by voxels and by lesions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import SupportsFloat

import numpy as np
from scipy import ndimage
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from monai_isles.errors import refused

NOT_EMPTY, EMPTY_PREDICTION, EMPTY_REFERENCE, EMPTY_BOTH = "none", "prediction", "reference", "both"
RULES: dict[str, str] = {
    "dsc": "both empty 1, one empty 0",
    "ppv": "empty prediction: 1 if the reference is empty too, else 0",
    "sensitivity": "empty reference: 1 if the prediction is empty too, else 0",
    "hd_mm, hd95_mm, assd_mm, hd_vox": "both empty 0; one empty undefined (nan in the case table); the summary gives "
    "two means: over the defined cases, and over all cases with the image diagonal in its place",
    "avd_ml": "no special case",
    "rve": "both empty 0; reference empty undefined (nan), mean over the defined cases with their count",
    "r2": "over all cases; undefined (null) below two cases or when all reference volumes are equal",
    "lesion_f1": "both empty 1, one empty 0",
    "lesion_f1_iou25": "both empty 1, one empty 0",
    "lesion_pq": "both empty 1, one empty 0",
    "size strata": "by the reference: no lesion, below 10 ml, 10 to 50 ml, above 50 ml; every case is in one",
    "bland_altman": "over all cases, empty masks as 0 ml; undefined (null) without a case, its spread below two",
    "ece, ace, brier": "over the voxels with a probability above 0 or a reference lesion; undefined without any",
    "uncertainty_auroc": "same voxels; undefined where all are right or all are wrong",
}


def emptiness(pred: np.ndarray, ref: np.ndarray) -> str:
    """Return which side holds no lesion: ``none``, ``prediction``, ``reference`` or ``both``."""
    without, given = (EMPTY_BOTH, EMPTY_PREDICTION), (EMPTY_REFERENCE, NOT_EMPTY)  # no prediction, a prediction
    return (given if pred.any() else without)[bool(ref.any())]


def ratio(part: SupportsFloat, whole: SupportsFloat, *, both_empty: bool) -> float:
    """Return ``part / whole``; 0/0 is 1 when both masks are empty and 0 when one is."""
    if whole == 0:
        return 1.0 if both_empty else 0.0
    return float(part) / float(whole)


def diagonal(shape: Sequence[int], spacing: Sequence[float]) -> float:
    """Return the distance between opposite corner voxel centres, the largest distance a volume allows.

    Units: those of ``spacing``.

    >>> diagonal((4, 5, 1), (1.0, 1.0, 5.0))
    5.0
    """
    return math.dist([0.0] * len(shape), [(n - 1) * s for n, s in zip(shape, spacing, strict=True)])


def paired_masks(pred: np.ndarray, ref: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both masks as booleans after checking that they can be compared.

    >>> paired_masks(np.array([0, 1]), np.array([1, 1]))[0].tolist()
    [False, True]
    """
    pred, ref = np.asarray(pred), np.asarray(ref)
    if pred.shape != ref.shape:
        raise refused("E-MET-01", where="prediction against reference", found=f"{pred.shape} and {ref.shape}")
    return _binary(pred, "prediction"), _binary(ref, "reference")


def require_spacing(spacing: Sequence[float], ndim: int) -> tuple[float, ...]:
    """Return the spacing as floats, one positive number an axis."""
    sizes = tuple(float(s) for s in spacing)
    if len(sizes) != ndim or not all(math.isfinite(s) and s > 0 for s in sizes):
        raise refused("E-MET-03", where="spacing", found=f"{sizes} for {ndim} axes")
    return sizes


def _binary(mask: np.ndarray, side: str) -> np.ndarray:
    if mask.dtype == np.bool_:
        return mask
    if not np.logical_or(mask == 0, mask == 1).all():
        values = ", ".join(f"{v:.6g}" for v in np.unique(mask)[:5])
        raise refused("E-MET-02", where=side, found=f"values {values}")
    return mask.astype(bool)


def dsc(pred: np.ndarray, ref: np.ndarray) -> float:
    """Return the Dice similarity coefficient, ``2 |P and R| / (|P| + |R|)``.

    Shapes: two equal shapes, any number of axes. Units: none, 0..1; both empty 1, one empty 0.
    Raises: ``E-MET-01``, ``E-MET-02``. Source: Dice 1945, doi:10.2307/1932409.

    >>> dsc(np.array([[1, 1, 0]]), np.array([[0, 1, 1]]))
    0.5
    """
    pred, ref = paired_masks(pred, ref)
    size_pred, size_ref = np.count_nonzero(pred), np.count_nonzero(ref)
    return ratio(2 * np.count_nonzero(pred & ref), size_pred + size_ref, both_empty=size_pred + size_ref == 0)


def ppv(pred: np.ndarray, ref: np.ndarray) -> float:
    """Return the positive predictive value (precision), ``|P and R| / |P|``.

    Shapes and raises: ``dsc``. Units: none, 0..1; empty prediction 1 if the reference is empty too, else 0.

    >>> ppv(np.array([[1, 1, 0]]), np.array([[0, 1, 0]]))
    0.5
    """
    pred, ref = paired_masks(pred, ref)
    return ratio(np.count_nonzero(pred & ref), np.count_nonzero(pred), both_empty=not ref.any())


def sensitivity(pred: np.ndarray, ref: np.ndarray) -> float:
    """Return the sensitivity (recall), ``|P and R| / |R|``.

    Shapes and raises: ``dsc``. Units: none, 0..1; empty reference 1 if the prediction is empty too, else 0.

    >>> sensitivity(np.array([[0, 1, 0]]), np.array([[0, 1, 1]]))
    0.5
    """
    pred, ref = paired_masks(pred, ref)
    return ratio(np.count_nonzero(pred & ref), np.count_nonzero(ref), both_empty=not pred.any())


def count_lesions(mask: np.ndarray, connectivity: int = 6) -> int:
    """Return the number of components, connected by faces (6) or by corners too (26).

    Shapes: any; ``(H, W)`` counts 4-connected and 8-connected ones.  Raises: ``E-MET-50`` another connectivity.

    >>> count_lesions(np.array([[1, 0, 1], [1, 0, 0]]))
    2
    """
    return int(_label(np.asarray(mask) != 0, connectivity)[1])


def lesion_f1(pred: np.ndarray, ref: np.ndarray, connectivity: int = 6) -> float:
    """Return the detection F1, ``TP / (TP + (FP + FN) / 2)``; one shared voxel is enough for a match.

    TP and FN count reference lesions, FP predicted lesions that touch none. Both empty 1, one empty 0.

    Shapes: two equal shapes. Raises: ``E-MET-01``, ``E-MET-02``, ``E-MET-50``.
    Source: the lesion-wise F1 of ISLES 2022 (doi:10.1038/s41597-022-01875-5), whose program takes connectivity 26.

    >>> lesion_f1(np.array([[1, 0, 0]]), np.array([[1, 0, 1]]))
    0.6666666666666666
    """
    of_pred, of_ref, _, n_pred, n_ref = _overlaps(pred, ref, connectivity)
    found, false = np.unique(of_ref).size, n_pred - np.unique(of_pred).size
    return ratio(found, found + (false + n_ref - found) / 2, both_empty=n_pred + n_ref == 0)


def matched_lesion_f1(pred: np.ndarray, ref: np.ndarray, iou: float = 0.25, connectivity: int = 6) -> float:
    """Return the detection F1 with one-to-one pairs of lesions of IoU of at least ``iou``.

    Of all one-to-one matchings the one with most pairs counts. Both empty 1, one empty 0.

    Shapes: two equal shapes. Units: none, 0..1.
    Raises: ``E-MET-01``, ``E-MET-02``, ``E-MET-50``.
    Source: one-to-one matching as in Metrics Reloaded (doi:10.1038/s41592-023-02151-z); the cut is this project's.

    >>> matched_lesion_f1(np.array([[1, 0, 0]]), np.array([[1, 0, 1]]))
    0.6666666666666666
    """
    of_pred, of_ref, overlap, n_pred, n_ref = _overlaps(pred, ref, connectivity)
    near = overlap >= iou * (1 - 1e-12)  # an IoU equal to the cut counts despite rounding
    # Lesions are nodes, sufficient overlaps are edges.
    graph = csr_array((np.ones(int(near.sum())), (of_pred[near], of_ref[near])), shape=(n_pred + 1, n_ref + 1))
    result = int((maximum_bipartite_matching(graph, perm_type="column") >= 0).sum())
    return ratio(2 * result, n_pred + n_ref, both_empty=n_pred + n_ref == 0)


def panoptic_quality(pred: np.ndarray, ref: np.ndarray, connectivity: int = 6) -> float:
    """Return the panoptic quality, the sum of the IoU of found lesions over ``TP + (FP + FN) / 2``.

    A lesion is found by the predicted lesion with IoU above one half, of which there is one at most. Both empty 1, one
    empty 0.

    Shapes: two equal shapes. Units: none, 0..1.
    Raises: ``E-MET-01``, ``E-MET-02``, ``E-MET-50``.
    Source: Kirillov 2019 (doi:10.1109/CVPR.2019.00963); ``tests/clients/test_panoptica.py``.

    >>> panoptic_quality(np.array([[1, 0, 0]]), np.array([[1, 0, 1]]))
    0.6666666666666666
    """
    _, _, overlap, n_pred, n_ref = _overlaps(pred, ref, connectivity)
    total = float(overlap[overlap > 0.5].sum())
    return ratio(2 * total, n_pred + n_ref, both_empty=n_pred + n_ref == 0)  # TP + FP + TP + FN = all lesions


def _overlaps(
    pred: np.ndarray, ref: np.ndarray, connectivity: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int, int]:
    """Return every pair of lesions that share voxels: label of each, and their IoU; and how many lesions there are."""
    masks = paired_masks(pred, ref)
    (pred_labels, n_pred), (ref_labels, n_ref) = (_label(mask, connectivity) for mask in masks)
    both = (pred_labels > 0) & (ref_labels > 0)
    # One number for each pair of labels.
    pairs, shared = np.unique(pred_labels[both].astype(np.int64) * (n_ref + 1) + ref_labels[both], return_counts=True)
    of_pred, of_ref = pairs // (n_ref + 1), pairs % (n_ref + 1)
    size_pred, size_ref = (np.bincount(labels.ravel()) for labels in (pred_labels, ref_labels))
    return of_pred, of_ref, shared / (size_pred[of_pred] + size_ref[of_ref] - shared), n_pred, n_ref


def _label(mask: np.ndarray, connectivity: int) -> tuple[np.ndarray, int]:
    if connectivity not in (6, 26):
        raise refused("E-MET-50", where="connectivity", found=str(connectivity))
    rank = 1 if connectivity == 6 else mask.ndim
    return ndimage.label(mask, structure=ndimage.generate_binary_structure(mask.ndim, rank))
