"""Lesions counted one by one: how many there are and how many were found."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from monai_isles.errors import refused
from monai_isles.metrics.overlap import paired_masks, ratio

IOU_CUT = 0.25


CONNECTIVITIES = (6, 26)


def count_lesions(mask: np.ndarray, connectivity: int = 6) -> int:
    """Return the number of components, connected by faces (6) or by corners too (26).

    Shapes: any; ``(H, W)`` counts 4-connected and 8-connected ones.  Raises: ``E-MET-50`` another connectivity.

    >>> count_lesions(np.array([[1, 0, 1], [1, 0, 0]]))
    2
    """
    return int(_labelled(np.asarray(mask) != 0, connectivity)[1])


def lesion_f1(pred: np.ndarray, ref: np.ndarray, connectivity: int = 6) -> float:
    """Return the detection F1, ``TP / (TP + (FP + FN) / 2)``; one shared voxel counts as found.

    TP and FN count reference lesions, FP predicted lesions that touch none. Both empty 1, one empty 0.

    Shapes: two equal shapes. Raises: ``E-MET-01``, ``E-MET-02``, ``E-MET-50``.
    Source: the lesion-wise F1 of ISLES 2022 (doi:10.1038/s41597-022-01875-5); components 6-connected unless told.

    >>> lesion_f1(np.array([[1, 0, 0]]), np.array([[1, 0, 1]]))
    0.6666666666666666
    """
    pred, ref = paired_masks(pred, ref)
    pred_labels, n_pred = _labelled(pred, connectivity)
    ref_labels, n_ref = _labelled(ref, connectivity)
    shared = pred & ref
    found = np.unique(ref_labels[shared]).size
    false = n_pred - np.unique(pred_labels[shared]).size
    return ratio(found, found + (false + n_ref - found) / 2, both_empty=n_pred + n_ref == 0)


def matched_lesion_f1(pred: np.ndarray, ref: np.ndarray, iou: float = IOU_CUT, connectivity: int = 6) -> float:
    """Return the detection F1 where a lesion is found by one predicted lesion of its own with IoU of at least ``iou``.

    Of all one-to-one matchings the one with most pairs counts. Both empty 1, one empty 0.

    Shapes: two equal shapes. Units: none, 0..1.
    Raises: ``E-MET-01``, ``E-MET-02``, ``E-MET-50``.
    Source: one-to-one matching as in Metrics Reloaded (doi:10.1038/s41592-023-02151-z); the cut is this project's;
    ``tests/metrics/test_lesionwise.py``.

    >>> matched_lesion_f1(np.array([[1, 0, 0]]), np.array([[1, 0, 1]]))
    0.6666666666666666
    """
    pred, ref = paired_masks(pred, ref)
    pred_labels, n_pred = _labelled(pred, connectivity)
    ref_labels, n_ref = _labelled(ref, connectivity)
    of_pred, of_ref, overlap = _overlaps(pred_labels, ref_labels, n_ref)
    near = overlap >= iou * (1 - 1e-12)
    graph = csr_array((np.ones(int(near.sum())), (of_pred[near], of_ref[near])), shape=(n_pred + 1, n_ref + 1))
    found = int((maximum_bipartite_matching(graph, perm_type="column") >= 0).sum())
    return ratio(2 * found, n_pred + n_ref, both_empty=n_pred + n_ref == 0)


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
    pred, ref = paired_masks(pred, ref)
    pred_labels, n_pred = _labelled(pred, connectivity)
    ref_labels, n_ref = _labelled(ref, connectivity)
    overlap = _overlaps(pred_labels, ref_labels, n_ref)[2]
    total = float(overlap[overlap > 0.5].sum())
    return ratio(2 * total, n_pred + n_ref, both_empty=n_pred + n_ref == 0)  # TP + FP + TP + FN = all lesions


def _overlaps(pred_labels: np.ndarray, ref_labels: np.ndarray, n_ref: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return every pair of components that share voxels: label of each, and their IoU."""
    both = (pred_labels > 0) & (ref_labels > 0)
    pairs, shared = np.unique(pred_labels[both].astype(np.int64) * (n_ref + 1) + ref_labels[both], return_counts=True)
    of_pred, of_ref = pairs // (n_ref + 1), pairs % (n_ref + 1)
    size_pred, size_ref = (np.bincount(labels.ravel()) for labels in (pred_labels, ref_labels))
    return of_pred, of_ref, shared / (size_pred[of_pred] + size_ref[of_ref] - shared)


def _labelled(mask: np.ndarray, connectivity: int) -> tuple[np.ndarray, int]:
    if connectivity not in CONNECTIVITIES:
        raise refused("E-MET-50", where="connectivity", found=str(connectivity))
    rank = 1 if connectivity == 6 else mask.ndim
    return ndimage.label(mask, structure=ndimage.generate_binary_structure(mask.ndim, rank))
