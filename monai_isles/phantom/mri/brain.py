"""Sample the brain on an MRI grid: its place and the tissue of each voxel, folded cortex included."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage

from monai_isles.phantom.atlas import ORIGIN_MM, SmoothField, depth_at, load_atlas
from monai_isles.phantom.ct.anatomy import CENTRE_MM, Grid, Pose, Subject, fractions_at
from monai_isles.phantom.ct.stroke import soft_step

_CHUNK_VOX = 400_000


@dataclass
class Brain:
    """Hold the tissue of every voxel of the brain, fluid included.

    Shapes: all (n,) float32 but ``head_mm`` and ``atlas_mm`` (n, 3); ``index`` flat places in the ``box`` of the grid.
    Units: fractions 0..1, mm; ``depth`` mm below the brain's hull, ``periventricular`` 0..1.
    """

    grid: Grid
    box: tuple[slice, ...]
    index: np.ndarray
    head_mm: np.ndarray
    atlas_mm: np.ndarray
    gm: np.ndarray
    wm: np.ndarray
    csf: np.ndarray
    artery: np.ndarray
    vein: np.ndarray
    depth: np.ndarray
    periventricular: np.ndarray

    @property
    def matter(self) -> np.ndarray:
        """Return the share of grey and white matter (n,)."""
        return self.gm + self.wm

    @property
    def box_shape(self) -> tuple[int, ...]:
        """Return the shape of the box that the brain lies in."""
        return tuple(part.stop - part.start for part in self.box)

    def fill(self, values: np.ndarray) -> np.ndarray:
        """Return the box (h, w, d) with ``values`` (n,) in the brain and zero elsewhere."""
        volume = np.zeros(int(np.prod(self.box_shape)), values.dtype)
        volume[self.index] = values
        return volume.reshape(self.box_shape)

    def whole(self, values: np.ndarray) -> np.ndarray:
        """Return the volume (H, W, D) of the grid with ``values`` (n,) in the brain and zero elsewhere."""
        volume = np.zeros(self.grid.shape, values.dtype)
        volume[self.box] = self.fill(values)
        return volume


def brain_of(rng: np.random.Generator, subject: Subject, pose: Pose, grid: Grid) -> Brain:
    """Sample the subject's brain on ``grid``."""
    strip, folds = SmoothField(rng, 6.0), (SmoothField(rng, 3.4, symmetry=1), SmoothField(rng, 3.4))
    parts: tuple[list[np.ndarray], ...] = ([], [], [], [])
    for index, head_mm in _candidates(subject, pose, grid):
        atlas_mm = subject.to_atlas(head_mm)
        depth = depth_at(atlas_mm)
        inside = depth + 0.6 * strip.at(head_mm) > 0.3  # skull stripping never follows the hull exactly
        for whole, part in zip(parts, (index, head_mm, atlas_mm, depth), strict=True):
            whole.append(part[inside])
    index, head_mm, atlas_mm, depth = (np.concatenate(part) for part in parts)
    gm, wm, csf, _, _, artery, vein, _ = fractions_at(subject, head_mm, atlas_mm)
    # Zero crossings of a smooth field draw the sulci as thin sheets.
    fold = np.abs(0.9 * folds[0].at(head_mm) + 0.45 * folds[1].at(head_mm))
    # Folds reach 16 to 24 mm deep; the cerebellum has finer ones.
    shell = np.clip((24 - depth) / 8, 0, 1) * (1 - 0.7 * infratentorial(atlas_mm))
    gm, wm, csf = _fold(fold, shell, gm, wm, csf)
    near = ndimage.map_coordinates(_around_ventricles(), ((atlas_mm - ORIGIN_MM) / 2).T, order=1, output=np.float32)
    box, flat = _box(index, grid.shape)
    return Brain(grid, box, flat, head_mm, atlas_mm, gm, wm, csf, artery, vein, depth, near)


def _candidates(subject: Subject, pose: Pose, grid: Grid) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    rotation = pose.rotation().astype(np.float32)
    origin = CENTRE_MM + np.array([0, 0, pose.level_mm * subject.scale[2]], np.float32)
    shift = np.array([*pose.shift_px, 0.0], np.float32)
    spacing, middle = np.array(grid.spacing_mm, np.float32), grid.middle().astype(np.float32)
    total = int(np.prod(grid.shape))
    for start in range(0, total, _CHUNK_VOX):
        index = np.arange(start, min(start + _CHUNK_VOX, total))
        voxels = np.stack(np.unravel_index(index, grid.shape), -1).astype(np.float32)
        head_mm = ((voxels - middle - shift) * spacing) @ rotation + origin
        # A rough test first: exact warping of the whole grid would be slow.
        near = depth_at(head_mm / subject.scale.astype(np.float32)) > -10.0
        if near.any():
            yield index[near], head_mm[near]


def _fold(
    fold: np.ndarray, shell: np.ndarray, gm: np.ndarray, wm: np.ndarray, csf: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    gyrus = wm * np.exp(shell * np.clip(3.2 * (fold - 0.75), -2.2, 1.6))
    sulcus = csf * np.exp(shell * np.clip(9.0 * (0.22 - fold), -1.6, 1.6))
    sulcus = sulcus + 0.5 * shell * gm * np.clip((0.16 - fold) / 0.12, 0, 1)
    total = np.maximum(gm + gyrus + sulcus, 1e-3)
    parts = (gm / total, gyrus / total, sulcus / total)
    # Borders between tissues are sharper than the averaged atlas shows.
    sharp = [np.power(part, 1 + 0.7 * shell) for part in parts]
    total = np.maximum(sum(sharp), 1e-6)
    gm, wm = ((part / total).astype(np.float32) for part in sharp[:2])
    return gm, wm, 1 - gm - wm


def infratentorial(atlas_mm: np.ndarray) -> np.ndarray:
    """Return how far (n,) points (MNI mm) lie in the cerebellum and brainstem, 0..1."""
    y, z = atlas_mm[:, 1], atlas_mm[:, 2]
    # The tentorium rises from back and front to its apex.
    tent = np.where(y > -58, -9 + 0.15 * (y + 58), -9 + 0.42 * (y + 58))
    return (soft_step((tent - z) / 2) * soft_step((-19 - 0.42 * np.abs(atlas_mm[:, 0]) - y) / 2)).astype(np.float32)


@lru_cache(maxsize=1)
def _around_ventricles() -> np.ndarray:
    fluid = load_atlas().ventricle[::2, ::2, ::2].astype(np.float32) / 255
    return np.clip(2.4 * ndimage.gaussian_filter(fluid, 2.2), 0, 1)


def _box(index: np.ndarray, shape: tuple[int, int, int]) -> tuple[tuple[slice, ...], np.ndarray]:
    places = np.array(np.unravel_index(index, shape))
    low, high = np.maximum(places.min(1) - 3, 0), np.minimum(places.max(1) + 4, shape)
    box = tuple(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))
    return box, np.ravel_multi_index(tuple(places - low[:, None]), tuple(high - low))
