"""Turns and reflections in the axial plane that leave a head a head."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from monai_isles.errors import IslesError

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
        raise IslesError(
            "E-SAMP-20",
            "repeated patches cannot be augmented so",
            where="PatchLoader",
            found=f"augment {augment!r} with a patch of {list(patch)}",
            fix='use "axial" with equal first two sides, or None',
        )
