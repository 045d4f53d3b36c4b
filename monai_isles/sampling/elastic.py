"""Elastic deformation of 2D patches by smoothed random displacement fields."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn import functional as F

from monai_isles.errors import refused

OPERATIONS = ("as it is", "sagittal reflection", "90 degrees", "180 degrees", "270 degrees")
_REFLECTION = 1


def axial_operations(repeated: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw one of the five ``OPERATIONS`` for every repeated patch; the others stay as they are.

    The paper counts five operations and names four; the fifth is taken to be none, since a repeated voxel gives another
    patch by its random offset alone.

    Shapes: ``repeated`` (n,) flags in, (n,) indices of ``OPERATIONS`` out.
    Source: Clerigues 2020 (doi:10.1016/j.cmpb.2020.105521), section 3.3; the fifth ours,
    ``tests/sampling/test_axial.py``.
    """
    return np.where(repeated, rng.integers(0, len(OPERATIONS), size=len(repeated)), 0)


def operated(patches: Tensor, operation: int) -> Tensor:
    """Return patches reflected left-right or turned about the long axis of the body.

    Shapes: ``(n, C, H, W)`` or ``(n, C, H, W, D)``, H left-right (RAS+); the same out.
    Args:
        operation: index of ``OPERATIONS``.
    """
    if operation == _REFLECTION:
        return patches.flip(2)
    return torch.rot90(patches, max(0, operation - _REFLECTION), dims=(2, 3))


def require_square(augment: str, patch: Sequence[int]) -> None:
    """Refuse another augmentation than ``"axial"``, or one of a patch that is not square in plane (``E-SAMP-20``)."""
    if augment != "axial" or patch[0] != patch[1]:
        raise refused("E-SAMP-20", where="PatchLoader", found=f"augment {augment!r} with a patch of {list(patch)}")


def displacement(shape: tuple[int, int, int], *, alpha: float, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Draw displacement fields in voxels: uniform noise in [-1, 1], smoothed, scaled.

    Shapes: ``shape`` is (N, H, W); (N, H, W, 2) out, row then column displacement.
    Args:
        alpha, sigma: as fractions of the mean patch side: scale of the field and its Gaussian smoothing.
    Source: Simard 2003 (doi:10.1109/ICDAR.2003.1227801), section 2; alpha 2.5, sigma 0.12 in Clerigues 2019.
    """
    return smoothed(field_noise(shape, rng), alpha=alpha, sigma=sigma)


def field_noise(shape: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    """Draw uniform noise in [-1, 1]. Shapes: ``shape`` is (N, H, W); (N, H, W, 2) out, float32."""
    return rng.uniform(-1.0, 1.0, size=(*shape, 2)).astype(np.float32)


def smoothed(noise: np.ndarray, *, alpha: float, sigma: float) -> np.ndarray:
    """Return displacement fields from noise, each by itself. Shapes: (N, H, W, 2) in and out.

    The Gaussian along an axis is one matrix, rounded to float32 after each axis: the bits of scipy's filter, which
    takes four times as long.
    """
    height, width = noise.shape[1:3]
    side = (height + width) / 2
    along, across = _gaussian(height, sigma * side), _gaussian(width, sigma * side)
    rows = (along @ noise.transpose(0, 3, 1, 2).astype(np.float64)).astype(np.float32)
    smooth = (rows.astype(np.float64) @ across.T).astype(np.float32)
    return np.ascontiguousarray((alpha * side * smooth).transpose(0, 2, 3, 1))


@lru_cache(maxsize=8)
def _gaussian(size: int, sigma_vox: float) -> np.ndarray:
    """Return the matrix that smooths a column of ``size`` values, the ends continued as they are."""
    return gaussian_filter(np.eye(size), (sigma_vox, 0), mode="nearest", truncate=3.0)


def deform(image: Tensor, label: Tensor, field: np.ndarray) -> tuple[Tensor, Tensor]:
    """Move voxels along ``field``: the image bilinearly, the label by its nearest voxel.

    Shapes: image (N, C, H, W), label (N, 1, H, W), field (N, H, W, 2) in voxels; the same out.
    """
    height, width = image.shape[2:]
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    x = (columns + field[..., 1]) * 2 / (width - 1) - 1
    y = (rows + field[..., 0]) * 2 / (height - 1) - 1
    grid = torch.from_numpy(np.stack([x, y], axis=-1).astype(np.float32))
    moved = F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=True)
    return moved, F.grid_sample(label, grid, mode="nearest", padding_mode="border", align_corners=True)
