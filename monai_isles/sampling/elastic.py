"""Augment patches: elastic deformation, rotation and scaling, reflections and quarter turns, intensities."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn import functional as F

from monai_isles.transforms.augment import noise_field

OPERATIONS = ("as it is", "sagittal reflection", "90 degrees", "180 degrees", "270 degrees")
_REFLECTION = 1


def axial_operations(repeated: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw one of the five ``OPERATIONS`` for every repeated patch; leave the others unchanged.

    The paper counts five operations and names four. The fifth is taken to be the identity, since the random offset
    alone gives another patch.

    Shapes: ``repeated`` (n,) flags in, (n,) indices of ``OPERATIONS`` out.
    Source: Clerigues 2020 (doi:10.1016/j.cmpb.2020.105521), section 3.3; the fifth ours.
    """
    return np.where(repeated, rng.integers(0, len(OPERATIONS), size=len(repeated)), 0)


def apply_operation(patches: Tensor, operation: int) -> Tensor:
    """Return patches reflected left-right or turned about the long axis of the body."""
    if operation == _REFLECTION:
        return patches.flip(2)
    return torch.rot90(patches, max(0, operation - _REFLECTION), dims=(2, 3))


def displacement(shape: tuple[int, ...], *, alpha: float, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Draw displacement fields in voxels: uniform noise in [-1, 1], smoothed, scaled.

    The noise counts as zero outside the patch. Continuing its border values instead, which are not averaged away
    across the border, makes displacements four times as large at the rim and folds an eighth of the patch.

    Shapes: ``shape`` is ``(N, *spatial)``, two or three axes; ``(N, *spatial, axes)`` out, the displacement along
        each axis. Scale (``alpha``) and Gaussian smoothing (``sigma``) are fractions of the mean patch side.
    Source: Simard 2003 (doi:10.1109/ICDAR.2003.1227801), section 2; alpha 2.5, sigma 0.12 in Clerigues 2019.
    """
    spatial = shape[1:]
    side = sum(spatial) / len(spatial)
    field = rng.uniform(-1.0, 1.0, size=(shape[0], len(spatial), *spatial)).astype(np.float32)
    # One matrix an axis: the numbers of scipy's filter in a quarter of the time.
    for axis, size in enumerate(spatial, start=2):
        rows = field.swapaxes(axis, -1) @ _gaussian(size, sigma * side).T
        field = rows.astype(np.float32).swapaxes(axis, -1)
    return np.ascontiguousarray(np.moveaxis(alpha * side * field, 1, -1), np.float32)


def rotation_field(shape: tuple[int, ...], *, rotate_deg: float, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Draw displacement fields in voxels that rotate and scale each patch in plane about its centre."""
    count, spatial = shape[0], shape[1:]
    angle = np.deg2rad(rng.uniform(-rotate_deg, rotate_deg, count))
    size = (1 + scale) ** rng.uniform(-1, 1, count)
    matrix = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], 1).reshape(count, 2, 2)
    matrix = matrix * size[:, None, None] - np.eye(2)  # minus the identity: displacements, not places
    rows, columns = (np.arange(n) - (n - 1) / 2 for n in spatial[:2])
    place = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2).astype(np.float32)
    moved = (place @ matrix.transpose(0, 2, 1).astype(np.float32)).reshape(count, len(rows), len(columns), 2)
    if len(spatial) == 2:
        return moved
    field = np.zeros((*shape, 3), np.float32)
    field[..., :2] = moved[:, :, :, None]
    return field


def rescale(image: Tensor, *, gain: float, shift: float, rng: np.random.Generator) -> Tensor:
    """Return every channel of every patch times a random factor near 1, plus a number near 0."""
    size = (*image.shape[:2], *(1,) * (image.ndim - 2))
    factor = torch.from_numpy(((1 + gain) ** rng.uniform(-1, 1, size)).astype(np.float32))
    return image * factor + torch.from_numpy(rng.uniform(-shift, shift, size).astype(np.float32))


def add_noise(image: Tensor, inside: Tensor, *, noise: float, rng: np.random.Generator) -> Tensor:
    """Add noise (``noise_field``) to every other patch of unit variance, and bring it back to unit variance.

    The standard deviation of a patch's noise is uniform up to ``noise``.

    Shapes: ``image`` (N, C, *spatial), changed in place; ``inside`` (N, 1, *spatial) mask of the voxels that get noise.
    """
    rows = np.flatnonzero(rng.random(len(image)) < 0.5)
    if len(rows):
        strength = torch.from_numpy(rng.uniform(0, noise, len(rows)).astype(np.float32))
        sd = strength.reshape(-1, *(1,) * (image.ndim - 1)) * inside[rows]
        field = noise_field((len(rows), *image.shape[1:]), rng)
        image[rows] = (image[rows] + sd * field) / torch.sqrt(1 + sd**2)
    return image


@lru_cache(maxsize=8)
def _gaussian(size: int, sigma_vox: float) -> np.ndarray:
    """Return the matrix that smooths a column of ``size`` values, zeros beyond its ends."""
    return gaussian_filter(np.eye(size), (sigma_vox, 0), mode="constant", truncate=3.0)


def deform(image: Tensor, label: Tensor, field: np.ndarray) -> tuple[Tensor, Tensor]:
    """Move voxels along ``field``: the image linearly, the label by its nearest voxel.

    Shapes: image ``(N, C, *spatial)``, label ``(N, 1, *spatial)``, field ``(N, *spatial, axes)`` in voxels; the same
        out.
    """
    sizes = np.array(image.shape[2:])
    place = np.stack(np.meshgrid(*map(np.arange, sizes), indexing="ij"), axis=-1) + field
    unit = (place * 2 / (sizes - 1) - 1)[..., ::-1]  # torch counts the last axis first
    grid = torch.from_numpy(unit.astype(np.float32))
    moved = F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=True)
    return moved, F.grid_sample(label, grid, mode="nearest", padding_mode="border", align_corners=True)
