"""Which side of the brain is the healthy one, and blood flow relative to it."""

from __future__ import annotations

import numpy as np

from monai_isles.errors import IslesError

HYPOPERFUSED_S = 6.0


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


def relative_cbf(cbf: np.ndarray, brain: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Divide CBF by its mean over the brain voxels of the reference side that have any; 0 outside the brain.

    Shapes: all ``(H, W, D)``; the precision of ``cbf`` out. Units: any for CBF, it cancels; 1 is the healthy side's
    mean.

    Args:
        cbf: cerebral blood flow map.
        brain: boolean brain mask.
        reference: boolean mask of the contralateral hemisphere.

    Raises:
        IslesError: ``E-EVAL-02`` when the reference side has no CBF.

    Source: mean contralateral CBF, Campbell 2011, doi:10.1161/STROKEAHA.111.618355.
    """
    healthy = cbf[brain & reference & (cbf > 0)]
    if not healthy.size:
        raise IslesError(
            "E-EVAL-02",
            "no blood flow on the reference side",
            where="relative CBF",
            found=f"{int((brain & reference).sum())} brain voxels, none above zero",
            fix="check the CBF map and the midline",
        )
    return np.where(brain, cbf, 0.0) / float(healthy.mean(dtype=np.float64))
