"""Measure distances between the surfaces of two masks, in mm or in voxels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree

from monai_isles.metrics.overlap import EMPTY_BOTH, NOT_EMPTY, emptiness, paired_masks, require_spacing


@dataclass(frozen=True)
class SurfaceDistances:
    """Hold the distance of every surface voxel of one mask to the other mask's surface, both ways.

    Where one mask is empty both arrays are ``[nan]``; where both are, ``[0.0]``.
    """

    from_pred: np.ndarray
    from_ref: np.ndarray

    @property
    def hd(self) -> float:
        """Return the symmetric Hausdorff distance: the largest of all distances. Source: Abulnaga 2018, eq. 7."""
        return float(max(self.from_pred.max(), self.from_ref.max()))

    @property
    def hd95(self) -> float:
        """Return the larger of the two directed 95th percentiles. Source: MONAI (MedPy pools both sides first)."""
        return float(max(np.percentile(self.from_pred, 95), np.percentile(self.from_ref, 95)))

    @property
    def assd(self) -> float:
        """Return one mean over both surfaces together. Source: Wang 2020, eq. 18; MedPy ``assd``."""
        return float(np.concatenate([self.from_pred, self.from_ref]).mean())

    @property
    def assd_half_sum(self) -> float:
        """Return half the sum of the two directed means. Source: Abulnaga 2018, below eq. 8."""
        return float((self.from_pred.mean() + self.from_ref.mean()) / 2)


def surface_distances(pred: np.ndarray, ref: np.ndarray, spacing: Sequence[float]) -> SurfaceDistances:
    """Return the distances between the two surfaces; a surface is the mask minus its 6-connected erosion.

    Outside the volume counts as background, so in volumes of one or two slices every lesion voxel is surface.

    Shapes: two equal shapes ``(H, W, D)``, or ``(H, W)``. Units: those of ``spacing``.
    Raises: ``E-MET-01`` shapes, ``E-MET-02`` values, ``E-MET-03`` spacing.
    Source: definition of MONAI and MedPy; agreement in ``tests/metrics/test_surface.py``.

    >>> pred, ref = np.zeros((2, 5, 5, 1), bool)
    >>> pred[1, 1], ref[1, 4] = True, True
    >>> surface_distances(pred, ref, (1.0, 2.0, 5.0)).hd
    6.0
    """
    pred, ref = paired_masks(pred, ref)
    spacing = require_spacing(spacing, pred.ndim)
    empty = emptiness(pred, ref)
    if empty != NOT_EMPTY:
        rule = np.array([0.0 if empty == EMPTY_BOTH else np.nan])
        return SurfaceDistances(rule, rule)
    box = ndimage.find_objects((pred | ref).view(np.int8))[0]
    pred_edge, ref_edge = surface_of(pred[box]), surface_of(ref[box])
    sides = (pred_edge, ref_edge), (ref_edge, pred_edge)
    return SurfaceDistances(*(_directed_distances(here, there, spacing) for here, there in sides))


def hd_mm(pred: np.ndarray, ref: np.ndarray, spacing_mm: Sequence[float]) -> float:
    """Return the symmetric Hausdorff distance in mm; nan if one mask is empty, 0 if both are.

    >>> pred, ref = np.zeros((2, 5, 5, 1), bool)
    >>> pred[1, 1], ref[1, 4] = True, True
    >>> hd_mm(pred, ref, (1.0, 2.0, 5.0))
    6.0
    """
    return surface_distances(pred, ref, spacing_mm).hd


def hd95_mm(pred: np.ndarray, ref: np.ndarray, spacing_mm: Sequence[float]) -> float:
    """Return the larger directed 95th percentile distance in mm; nan if one mask is empty, 0 if both are.

    >>> hd95_mm(np.ones((1, 3, 1)), np.ones((1, 3, 1)), (1.0, 1.0, 5.0))
    0.0
    """
    return surface_distances(pred, ref, spacing_mm).hd95


def assd_mm(pred: np.ndarray, ref: np.ndarray, spacing_mm: Sequence[float]) -> float:
    """Return the mean distance over both surfaces together in mm; nan if one mask is empty, 0 if both are.

    >>> assd_mm(np.array([[1, 0, 0]]), np.array([[0, 0, 1]]), (1.0, 0.5))
    1.0
    """
    return surface_distances(pred, ref, spacing_mm).assd


def assd_half_sum_mm(pred: np.ndarray, ref: np.ndarray, spacing_mm: Sequence[float]) -> float:
    """Return half the sum of the two directed mean distances in mm; nan if one mask is empty, 0 if both are.

    >>> assd_half_sum_mm(np.array([[1, 0, 0]]), np.array([[0, 0, 1]]), (1.0, 0.5))
    1.0
    """
    return surface_distances(pred, ref, spacing_mm).assd_half_sum


def hd_vox(pred: np.ndarray, ref: np.ndarray) -> float:
    """Return the symmetric Hausdorff distance in voxels, every axis counted alike.

    Source: Clerigues 2020, eq. 2 (normalised there by 200 voxels).

    >>> hd_vox(np.array([[1, 0, 0]]), np.array([[0, 0, 1]]))
    2.0
    """
    return surface_distances(pred, ref, (1.0,) * np.ndim(pred)).hd


def surface_of(mask: np.ndarray) -> np.ndarray:
    """Return the voxels of a mask with a neighbour along an axis that is not in it, or at the edge of the volume."""
    # Outside the volume is background: a mask cut by the border has a surface there, as in MedPy and MONAI.
    return mask & ~ndimage.binary_erosion(mask, structure=ndimage.generate_binary_structure(mask.ndim, 1))


def _directed_distances(here: np.ndarray, there: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Return the distance of every voxel of one surface to the other surface."""
    # Voxels of both surfaces are at distance 0; only the others are looked up.
    apart = ~there[here]
    distance = np.zeros(len(apart))
    if apart.any():
        # In mm before the tree is built, so that thick slices count as far apart.
        cloud, tree = (np.argwhere(part) * np.asarray(spacing) for part in (here & ~there, there))
        distance[apart] = KDTree(tree, balanced_tree=False, compact_nodes=False).query(cloud)[0]
    return distance
