"""The reference's largest distance from growing masks, without asking every one of its points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial import KDTree

_EVERY = 8


class WayBack:
    """Hold the surface of a reference, and for every smallest size how far each point of it can be at most.

    A point outside a mask is as far from its surface as from the mask itself, and no farther from any mask around it:
    what one mask showed bounds all that hold it, those of smaller sizes and of lower thresholds. A point inside is no
    farther from the surface than from the edge of the volume, as outside counts as background. And two points differ
    at most by their own distance, so one of eight is asked first.

    Shapes: ``points`` ``(P, dimensions)`` in the order of the array.  Units: voxels.

    Args:
        sizes: number of smallest sizes, the largest is 0.

    Source: ours, in the manner of the early break of Taha and Hanbury, IEEE PAMI 2015,
    doi:10.1109/TPAMI.2015.2408351; ``tests/evaluation/test_way_back.py``.
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
        bound = self._outside[size]
        if size:
            self._outside[: size + 1].min(0, out=bound)
        asked = np.flatnonzero(np.maximum(bound, self._inside) > least)
        if not len(asked):
            return least
        leaders = asked[::_EVERY]
        near = self._nearest(leaders)
        bound[leaders] = np.minimum(bound[leaders], near)
        least = max(least, float(near.max()))
        row = np.arange(len(asked)) // _EVERY
        apart = near[row] + np.sqrt(((self.points[asked] - self.points[leaders[row]]) ** 2).sum(1))
        bound[asked] = np.minimum(bound[asked], apart)
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
