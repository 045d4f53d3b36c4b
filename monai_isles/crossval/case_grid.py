"""Dice and Hausdorff distance of one case for every threshold and smallest lesion size, one labelling a threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree

from monai_isles.metrics.overlap import paired_masks, ratio
from monai_isles.metrics.surface import surface_of
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
    reference is one map a case.

    Shapes: two equal shapes ``(H, W, D)``. Units: thresholds 0..1, sizes in voxels, distances in voxels.
    Args:
        probability: lesion probability.
        reference: binary mask.
    Raises:
        IslesError: ``E-MET-01``, ``E-MET-02`` for the reference, ``E-POST-02``, ``E-POST-03`` for the grid.
    Source: ours; equal to ``binarise``, ``dsc`` and ``hd_vox`` in ``tests/crossval/test_case_grid.py``.
    """
    require_settings(thresholds, sizes_vox)
    probability = np.asarray(probability)
    candidates, reference = paired_masks(probability > min(thresholds), reference)
    found = ndimage.find_objects((candidates | reference).view(np.int8))
    if not found:
        shape = len(thresholds), len(sizes_vox)
        return CaseGrid(np.ones(shape), np.zeros(shape))
    probability, reference = probability[found[0]], reference[found[0]]
    surface = surface_of(reference)
    away = ndimage.distance_transform_edt(~surface) if surface.any() else None
    rows = [_row(probability > threshold, reference, np.argwhere(surface), away, sizes_vox) for threshold in thresholds]
    return CaseGrid(np.array([dsc for dsc, _ in rows]), np.array([hd for _, hd in rows]))


def _row(
    above: np.ndarray, reference: np.ndarray, points: np.ndarray, away: np.ndarray | None, sizes_vox: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return Dice and distance of one threshold for every size.

    Sizes fall, so components only come. A point of the reference's surface that lies nearer to those there than the
    largest distance found so far cannot decide any more, and is not asked again.

    Args:
        points: voxels of the reference's surface. away: distance of every voxel to it, None without any.
    """
    labels, number = ndimage.label(above, structure=ndimage.generate_binary_structure(above.ndim, 1))
    size, hits = (np.bincount(part.ravel(), minlength=number + 1) for part in (labels, labels[reference]))
    size[0] = hits[0] = 0
    edge = np.argwhere(surface_of(above))
    owner, reach = labels[tuple(edge.T)], np.zeros(number + 1)
    if away is not None:
        np.maximum.at(reach, owner, away[tuple(edge.T)])
    size_ref, near, far = int(np.count_nonzero(reference)), np.full(len(points), np.inf), 0.0
    dsc, hd, kept = np.empty(len(sizes_vox)), np.empty(len(sizes_vox)), np.zeros(number + 1, bool)
    # The largest size first: every smaller one keeps what was there and adds components.
    for place in np.argsort(sizes_vox)[::-1]:
        new = (size >= max(sizes_vox[place], 1)) & ~kept
        kept |= new
        total = int(size[kept].sum()) + size_ref
        dsc[place] = ratio(2 * int(hits[kept].sum()), total, both_empty=total == 0)
        if new.any() and len(points):
            far = max(far, float(reach[new].max()))
            # Distances of points only fall and ``far`` only rises: what lies below it cannot be the largest any more.
            asked = np.flatnonzero(near > far)
            tree = KDTree(edge[new[owner]], balanced_tree=False, compact_nodes=False)
            near[asked] = np.minimum(near[asked], tree.query(points[asked])[0])
        both = kept.any() and len(points)
        hd[place] = max(far, float(near.max())) if both else (np.nan if total else 0.0)
    return dsc, hd
