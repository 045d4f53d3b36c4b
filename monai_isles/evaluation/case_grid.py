"""Dice and Hausdorff distance of one case for every threshold and smallest lesion size, each component seen once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree

from monai_isles.metrics.rules import paired_masks, ratio
from monai_isles.postprocessing.components import require_settings


@dataclass(frozen=True)
class CaseGrid:
    """Hold the scores of one case over the grid.

    Shapes: ``dsc`` and ``hd_vox`` ``(thresholds, sizes)``.
    Units: ``hd_vox`` voxels; nan where exactly one mask is empty, 0 where both are.
    """

    dsc: np.ndarray
    hd_vox: np.ndarray


def case_grid(
    probability: np.ndarray, reference: np.ndarray, thresholds: Sequence[float], sizes_vox: Sequence[int]
) -> CaseGrid:
    """Return Dice and Hausdorff distance of ``binarise(probability, T, S)`` against ``reference`` for every pair.

    Components do not touch, so size, overlap and largest distance to the reference belong to each alone and are
    counted once a threshold; every size then is a sum or a maximum over the components it keeps. The distance to the
    reference is one map a case; the way back grows with the components, from the largest size down.

    Shapes: two equal shapes ``(H, W, D)``. Units: thresholds 0..1, sizes in voxels, distances in voxels.

    Args:
        probability: lesion probability.
        reference: binary mask.

    Raises:
        IslesError: ``E-MET-01``, ``E-MET-02`` for the reference, ``E-POST-02``, ``E-POST-03`` for the grid.

    Source: ours; equal to ``binarise``, ``dsc`` and ``hd_vox`` in ``tests/evaluation/test_case_grid.py``.
    """
    require_settings(thresholds, sizes_vox)
    candidates, reference = paired_masks(np.asarray(probability) > min(thresholds), reference)
    shape = (len(thresholds), len(sizes_vox))
    found = ndimage.find_objects((candidates | reference).astype(np.int8))
    if not found:
        return CaseGrid(np.ones(shape), np.zeros(shape))
    truth = _Truth(reference[found[0]])
    rows = [_row(probability[found[0]] > threshold, truth, sizes_vox) for threshold in thresholds]
    dsc, hd_vox = (np.array([row[part] for row in rows]) for part in (0, 1))
    return CaseGrid(dsc, hd_vox)


class _Truth:
    """Hold what every pair of the grid asks of the reference: its size, its surface and the distances to it."""

    def __init__(self, mask: np.ndarray) -> None:
        surface = _surface(mask)
        self.mask, self.size_vox, self.points = mask, int(mask.sum()), np.argwhere(surface)
        self.distance = ndimage.distance_transform_edt(~surface) if self.size_vox else None


def _row(above: np.ndarray, truth: _Truth, sizes_vox: Sequence[int]) -> tuple[list[float], list[float]]:
    """Return Dice and distance of one threshold for every size."""
    labels, count = ndimage.label(above, structure=ndimage.generate_binary_structure(above.ndim, 1))
    size = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    hit = np.bincount(labels[truth.mask], minlength=count + 1)[1:]
    dsc = [_dice(size[size >= smallest].sum(), hit[size >= smallest].sum(), truth.size_vox) for smallest in sizes_vox]
    if not truth.size_vox:
        return dsc, [np.nan if (size >= smallest).any() else 0.0 for smallest in sizes_vox]
    return dsc, _distances(labels, size, truth, sizes_vox)


def _distances(labels: np.ndarray, size: np.ndarray, truth: _Truth, sizes_vox: Sequence[int]) -> list[float]:
    edge = _surface(labels > 0)
    owner, points = labels[edge] - 1, np.argwhere(edge)
    farthest = np.zeros(len(size))
    np.maximum.at(farthest, owner, truth.distance[edge])
    back = np.full(len(truth.points), np.inf)
    kept = np.zeros(len(size), bool)
    hd = {}
    for smallest in sorted(set(sizes_vox), reverse=True):
        new = (size >= smallest) & ~kept
        if new.any():
            back = np.minimum(back, KDTree(points[new[owner]]).query(truth.points)[0])
            kept |= new
        hd[smallest] = float(max(farthest[kept].max(), back.max())) if kept.any() else np.nan
    return [hd[smallest] for smallest in sizes_vox]


def _dice(size_pred: int, shared: int, size_ref: int) -> float:
    return ratio(2 * int(shared), int(size_pred) + size_ref, both_empty=int(size_pred) + size_ref == 0)


def _surface(mask: np.ndarray) -> np.ndarray:
    return mask & ~ndimage.binary_erosion(mask, structure=ndimage.generate_binary_structure(mask.ndim, 1))
