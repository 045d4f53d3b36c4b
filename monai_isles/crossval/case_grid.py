"""Dice and Hausdorff distance of one case for every threshold and smallest lesion size, each component seen once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree

from monai_isles.metrics.overlap import paired_masks, ratio
from monai_isles.postprocessing.components import require_settings

_EVERY = 8


class HausdorffBound:
    """Hold the surface of a reference, and for every smallest size how far each point of it can be at most.

    A point outside a mask is as far from its surface as from the mask itself, and no farther from any mask around it:
    what one mask showed bounds all that hold it, those of smaller sizes and of lower thresholds. A point inside is no
    farther from the surface than from the edge of the volume, as outside counts as background. And two points differ
    at most by their own distance, so one of eight is asked first.

    Shapes: ``points`` ``(P, dimensions)`` in the order of the array.  Units: voxels.

    Args:
        sizes: number of smallest sizes, the largest is 0.

    Source: ours, in the manner of the early break of Taha and Hanbury, IEEE PAMI 2015,
    doi:10.1109/TPAMI.2015.2408351; ``tests/crossval/test_hausdorff_bound.py``.
    """

    def __init__(self, points: np.ndarray, shape: Sequence[int], sizes: int) -> None:
        self.points = points.astype(float)
        self._inside = np.minimum(points + 1, np.asarray(shape) - points).min(1).astype(float)
        self._outside = np.full((sizes, len(points)), np.inf)
        self._surfaces: list[np.ndarray | KDTree] = []

    def lower(self) -> None:
        """Go on to a lower threshold, with no component yet."""
        self._surfaces = []

    def add(self, surface: np.ndarray) -> None:
        """Add the surface voxels ``(N, dimensions)`` of the components that the next size keeps besides."""
        self._surfaces.append(surface.astype(float))

    def largest(self, size: int, least: float) -> float:
        """Return the largest distance of a point from the surfaces added, or ``least`` where that is more.

        Sizes come in order, 0 first, after what they keep was added; thresholds fall from one ``lower`` to the next.
        """
        # A mask that another one contains cannot be nearer: bounds pass from small masks to large ones.
        bound = self._outside[size]
        if size:
            self._outside[: size + 1].min(0, out=bound)
        asked = np.flatnonzero(np.maximum(bound, self._inside) > least)
        if not len(asked):
            return least
        # Ask one point of eight; its distance plus the way to it bounds the seven beside it (triangle inequality).
        leaders = asked[::_EVERY]
        near = self._nearest(leaders)
        bound[leaders] = np.minimum(bound[leaders], near)
        least = max(least, float(near.max()))
        row = np.arange(len(asked)) // _EVERY
        apart = near[row] + np.sqrt(((self.points[asked] - self.points[leaders[row]]) ** 2).sum(1))
        bound[asked] = np.minimum(bound[asked], apart)
        # Only points whose bound exceeds the largest distance so far can still matter.
        rest = asked[apart > least]
        rest = rest[np.maximum(bound[rest], self._inside[rest]) > least]
        if len(rest):
            near = self._nearest(rest)
            bound[rest] = np.minimum(bound[rest], near)
            least = max(least, float(near.max()))
        return least

    def _nearest(self, chosen: np.ndarray) -> np.ndarray:
        near = np.full(len(chosen), np.inf)
        for place, surface in enumerate(self._surfaces):
            if not isinstance(surface, KDTree):
                surface = self._surfaces[place] = KDTree(surface, balanced_tree=False, compact_nodes=False)
            np.minimum(near, surface.query(self.points[chosen])[0], out=near)
        return near


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

    Masks of rising thresholds lie inside each other, so one map of how many thresholds a voxel exceeds holds them all,
    and the surface of each: a voxel with a neighbour that exceeds fewer. Components do not touch, so size, overlap and
    largest distance to the reference belong to each alone and are counted once a threshold, on the voxels above it;
    every size then is a sum or a maximum over the components it keeps. The distance to the reference is one map a
    case; the way back is asked for only where it can decide (``HausdorffBound``).

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
    dsc, hd_vox = np.ones((len(thresholds), len(sizes_vox))), np.zeros((len(thresholds), len(sizes_vox)))
    found = ndimage.find_objects((candidates | reference).view(np.int8))
    if not found:
        return CaseGrid(dsc, hd_vox)
    rising = sorted(set(thresholds))
    voxels = _Voxels(probability[found[0]], reference[found[0]], rising)
    falling = sorted(set(sizes_vox), reverse=True)
    back = HausdorffBound(voxels.ref_surface, voxels.exceeded.shape, len(falling)) if voxels.size_ref else None
    column = [falling.index(size) for size in sizes_vox]
    for level in range(len(rising), 0, -1):
        row = _row(voxels, level, falling, back)
        for place in (place for place, threshold in enumerate(thresholds) if threshold == rising[level - 1]):
            dsc[place], hd_vox[place] = row[0][column], row[1][column]
    return CaseGrid(dsc, hd_vox)


class _Voxels:
    """Hold the voxels above the lowest threshold, those above more of them first, and what the reference says of each.

    Shapes: all ``(V,)`` but ``place`` ``(dimensions, V)`` and ``exceeded``, the cropped volume.
    """

    def __init__(self, probability: np.ndarray, reference: np.ndarray, rising: Sequence[float]) -> None:
        self.exceeded = np.zeros(probability.shape, np.uint8 if len(rising) < 255 else np.int32)
        for threshold in rising:
            self.exceeded += probability > threshold
        flat = np.flatnonzero(self.exceeded)
        level = self.exceeded.ravel()[flat]
        # Sorted by how many thresholds they pass: the voxels of any threshold are a prefix.
        order = np.argsort(level, kind="stable")[::-1]
        self.flat, self.level = flat[order], level[order].astype(int)
        self.place = np.stack(np.unravel_index(self.flat, probability.shape))
        self.outside = _least_neighbour(self.exceeded).ravel()[self.flat]
        self.hit = reference.ravel()[self.flat]
        self.size_ref = int(np.count_nonzero(reference))
        if self.size_ref:
            surface = reference & ~_least_neighbour(reference)
            # One distance map of the reference serves every threshold and size.
            nearest = ndimage.distance_transform_edt(~surface, return_distances=False, return_indices=True)
            apart = nearest.reshape(surface.ndim, -1)[:, self.flat] - self.place
            self.distance = np.sqrt((apart * apart).sum(0))
            self.ref_surface = np.argwhere(surface)

    def above(self, level: int) -> tuple[int, np.ndarray, int]:
        """Return how many voxels exceed ``level`` thresholds, the component of each, and the number of components."""
        count = int(np.searchsorted(-self.level, -level, side="right"))
        if not count:
            return 0, np.zeros(0, int), 0
        place = self.place[:, :count]
        low, high = place.min(1), place.max(1) + 1
        part = self.exceeded[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] >= level
        labels, number = ndimage.label(part, structure=ndimage.generate_binary_structure(part.ndim, 1))
        return count, labels[tuple(place - low[:, None])] - 1, number


def _row(
    voxels: _Voxels, level: int, falling: Sequence[int], back: HausdorffBound | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return Dice and distance of one threshold for every size, the largest first."""
    count, owner, number = voxels.above(level)
    size = np.bincount(owner, minlength=number)
    hit = np.bincount(owner[voxels.hit[:count]], minlength=number)
    dsc = [_dice(size[size >= s].sum(), hit[size >= s].sum(), voxels.size_ref) for s in falling]
    if back is None:
        return np.array(dsc), np.array([np.nan if (size >= s).any() else 0.0 for s in falling])
    # Surface voxels: some neighbour fails this threshold.
    edge = np.flatnonzero(voxels.outside[:count] < level)
    owner, points = owner[edge], voxels.place[:, edge].T
    reach = np.zeros(number)
    np.maximum.at(reach, owner, voxels.distance[edge])
    hd, kept = np.full(len(falling), np.nan), np.zeros(number, bool)
    back.lower()
    for index, smallest in enumerate(falling):
        new = (size >= smallest) & ~kept
        if new.any():
            back.add(points[new[owner]])
            kept |= new
            hd[index] = back.largest(index, float(reach[kept].max()))
        # No component of this size: the mask is that of the size before.
        elif index:
            hd[index] = hd[index - 1]
    return np.array(dsc), hd


def _dice(size_pred: int, shared: int, size_ref: int) -> float:
    return ratio(2 * int(shared), int(size_pred) + size_ref, both_empty=int(size_pred) + size_ref == 0)


def _least_neighbour(volume: np.ndarray) -> np.ndarray:
    """Return the least value among the neighbours along the axes, 0 outside the volume."""
    least = volume.copy()
    for axis in range(volume.ndim):
        there, back = np.moveaxis(least, axis, 0), np.moveaxis(volume, axis, 0)
        np.minimum(there[1:], back[:-1], out=there[1:])
        np.minimum(there[:-1], back[1:], out=there[:-1])
        there[0], there[-1] = 0, 0
    return least
