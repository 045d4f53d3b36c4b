"""The two sides of a head, and which of them is the healthy one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from monai_isles.errors import IslesError

HYPOPERFUSED_S = 6.0


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
    from monai_isles.transforms.mirror import Plane
    from monai_isles.transforms.registration import register_mirror

    in_plane = (float(spacing_mm[0]), float(spacing_mm[1]))
    mirror = register_mirror(head, in_plane, where=where).mirror
    points = Plane.centred(head.shape[:2], in_plane).points()
    left = (points[:, 0] < mirror(points)[:, 0]).reshape(head.shape[:2])
    return np.repeat(left[:, :, None], head.shape[2], axis=2)


def upright_hemispheres(brain: np.ndarray) -> np.ndarray:
    """Return the left half of the volume, split at the column of the brain's centre of mass; a tilt is ignored.

    Shapes: boolean ``(H, W, D)``, RAS+, in and out. Source: ours, for volumes without a CT.
    """
    middle = float(np.nonzero(brain)[0].mean()) if brain.any() else (brain.shape[0] - 1) / 2
    left = np.arange(brain.shape[0]) < middle
    return np.broadcast_to(left[:, None, None], brain.shape).copy()


def contralateral(tmax_s: np.ndarray, brain: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Return the brain of the side with less hypoperfusion (Tmax > 6 s); the whole brain when both have as much.

    Shapes: all ``(H, W, D)``; boolean out. Units: s. The lesion label is not looked at.

    Raises:
        IslesError: ``E-EVAL-01`` when a side holds no brain.

    Source: Tmax > 6 s as in DEFUSE 3, doi:10.1056/NEJMoa1713973; choice of side ours.
    """
    sides = [brain & left, brain & ~left]
    if not all(side.any() for side in sides):
        raise IslesError(
            "E-EVAL-01",
            "one side of the head holds no brain",
            where="contralateral side",
            found=f"{int(sides[0].sum())} voxels left, {int(sides[1].sum())} right",
            fix="check the brain mask and the midline",
        )
    low = [int(np.count_nonzero(tmax_s[side] > HYPOPERFUSED_S)) for side in sides]
    if low[0] == low[1]:
        return brain.copy()
    return sides[0] if low[0] < low[1] else sides[1]
