"""The two sides of a head, told apart by its own mirror image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from monai_isles.errors import IslesError
from monai_isles.perfusion.sides import upright_hemispheres
from monai_isles.transforms.mirror import Plane
from monai_isles.transforms.registration import register_mirror


def hemispheres(head: np.ndarray, spacing_mm: Sequence[float], *, where: str = "head") -> np.ndarray:
    """Return the patient's left half of the volume, split at the registered mid-sagittal line.

    A voxel is left when its mirror partner lies further to the right; the right half is the negation.

    Shapes: unstripped CT ``(H, W, D)``, RAS+, in; boolean ``(H, W, D)`` out. Units: HU; mm.

    Args:
        head: CT with its skull.
        spacing_mm: voxel size.
        where: name of the case, for messages.

    Raises:
        IslesError: ``E-REG-01`` to ``E-REG-06``, as ``monai_isles.transforms.register_mirror``.

    Source: the mirror of Clerigues 2019, doi:10.1016/j.compbiomed.2019.103487;
    ``tests/evaluation/test_sides.py``.
    """
    in_plane = (float(spacing_mm[0]), float(spacing_mm[1]))
    mirror = register_mirror(head, in_plane, where=where).mirror
    points = Plane.centred(head.shape[:2], in_plane).points()
    left = (points[:, 0] < mirror(points)[:, 0]).reshape(head.shape[:2])
    return np.repeat(left[:, :, None], head.shape[2], axis=2)


def split_head(
    ct: np.ndarray | None, brain: np.ndarray, spacing_mm: Sequence[float], *, where: str = "head"
) -> tuple[np.ndarray, str]:
    """Return the left half and how it was found: ``mirror``, or ``centroid`` without a CT that can be registered.

    Shapes: ``(H, W, D)``; boolean out. Source: ``hemispheres``, ``monai_isles.perfusion.upright_hemispheres``.
    """
    if ct is None:
        return upright_hemispheres(brain), "centroid"
    try:
        return hemispheres(ct, spacing_mm, where=where), "mirror"
    except IslesError:
        return upright_hemispheres(brain), "centroid"
