"""Decide whether images lie on the same grid, by the distance between the corners of their fields of view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np

from monai_isles.errors import refused
from monai_isles.io.findings import WARNING, finding, tell

TOLERANCE_VOX = 1e-3
SAME_GRID_VOX = 0.5


def corners_vox(shape: Sequence[int]) -> np.ndarray:
    """Return the corners of the field of view of a grid, homogeneous voxel coordinates (4, 8)."""
    return np.array([(*corner, 1.0) for corner in product(*((-0.5, n - 0.5) for n in shape[:3]))]).T


def displacement_vox(first: np.ndarray, second: np.ndarray, shape: tuple[int, ...]) -> float:
    """Return how far the corners of a grid of ``shape`` move when ``second`` replaces the affine ``first``."""
    corners = corners_vox(shape)
    apart = (second @ corners - first @ corners)[:3]
    return float(np.linalg.norm(np.linalg.solve(first[:3, :3], apart), axis=0).max())


def on_one_grid(first: np.ndarray, shape: Sequence[int], second: np.ndarray, size: Sequence[int]) -> bool:
    """Return whether grids of affine and shape are one: of one shape, less than ``SAME_GRID_VOX`` voxel apart."""
    return tuple(shape) == tuple(size) and displacement_vox(first, second, tuple(shape)) < SAME_GRID_VOX


def corners_apart_mm(
    first: np.ndarray, first_shape: tuple[int, ...], second: np.ndarray, second_shape: tuple[int, ...]
) -> float:
    """Return the largest distance in mm between matching field-of-view corners of two grids of any shapes."""
    ends = second @ corners_vox(second_shape) - first @ corners_vox(first_shape)
    return float(np.linalg.norm(ends[:3], axis=0).max())


def require_one_grid(
    grids: Mapping[str, tuple[np.ndarray, tuple[int, ...]]], *, case: str, files: Mapping[str, str] | None = None
) -> None:
    """Refuse grids, given as affine and shape by key, that differ from the first one.

    A header that holds its qform alone carries up to a tenth of a voxel of rounding at the corners, so grids below
    ``SAME_GRID_VOX`` voxel apart are one; what is above ``TOLERANCE_VOX`` is remarked.

    Shapes: affines (4, 4); shapes spatial, three numbers each.
    Units: affines in mm.
    Source: the corner rule of MRtrix, its 1e-3 voxel; the half voxel is ours; ``tests/io/test_grid.py``.
    """
    names = dict(files or {})
    first, *others = grids
    mine, shape = np.asarray(grids[first][0], float), tuple(grids[first][1])
    for key in others:
        where = f"{case}: {key} ({names.get(key, key)}) against {first} ({names.get(first, first)})"
        other, size = np.asarray(grids[key][0], float), tuple(grids[key][1])
        apart_mm = corners_apart_mm(mine, shape, other, size)
        if size != shape:
            sizes = " against ".join(" x ".join(str(int(n)) for n in numbers) for numbers in (size, shape))
            result = f"{sizes} voxels (RAS+ order), field-of-view corners {apart_mm:.4g} mm apart"
            raise refused("E-GEOM-04", where=where, found=result, key=key, first=first)
        gap_vox = displacement_vox(mine, other, shape)
        apart = f"field-of-view corners {apart_mm:.4g} mm ({gap_vox:.4g} voxels) apart"
        if TOLERANCE_VOX < gap_vox < SAME_GRID_VOX:
            tell(finding("E-GEOM-09", WARNING, where=where, found=apart))
        elif not gap_vox <= TOLERANCE_VOX:
            result = f"{apart}; less than {SAME_GRID_VOX:g} voxel allowed"
            raise refused("E-GEOM-03", where=where, found=result, key=key, first=first)
