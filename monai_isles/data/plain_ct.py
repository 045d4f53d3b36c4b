"""The plain CT of a study on the grid of its perfusion series: as it is, resampled where that is right, or left out."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from monai_isles.io.grid import TOLERANCE_VOX, corners_apart_mm, displacement
from monai_isles.io.read import Image

AIR_HU = -1024.0
_HEAD_HU, _LEAST_SHARE = -200.0, 0.99


def ct_on_grid(plain: Image, like: Image, *, asked: bool, one_frame: bool) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Return the plain CT (H, W, D) on the grid of the series, None where it is not used, and what must be told.

    On another grid it is resampled (linear, air outside) when the user asked for it or when both have one DICOM frame
    of reference, and only when it covers 99 % of the head in the series; else it is left out, with the distance in mm.

    Args:
        plain: the CT. like: the first frame of the series.
        asked: the user says that they are in register. one_frame: they share a frame of reference.
    Source: ours; ``tests/data/test_plain_ct.py``.
    """
    same_shape = plain.grid_shape == like.grid_shape
    if same_shape and displacement(like.affine, plain.affine, plain.grid_shape).vox <= TOLERANCE_VOX:
        return plain.data, ()
    apart = corners_apart_mm(like.affine, like.grid_shape, plain.affine, plain.grid_shape)
    told = f"the plain CT lies on another grid (field-of-view corners {apart:.4g} mm apart)"
    if not (asked or one_frame):
        why = "nobody asked to resample it and no frame of reference says that it is in register"
        return None, (f"{told} and was not used: {why}",)
    moved, inside = _resampled(plain, like)
    head = like.data > _HEAD_HU
    share = float(inside[head].mean() if head.any() else inside.mean())
    if share < _LEAST_SHARE:
        return None, (f"{told} and was not used: it covers {100 * share:.0f} % of the head in the series",)
    reason = "both have one frame of reference" if one_frame else "as asked"
    return moved, (f"{told} and was resampled: {reason}",)


def _resampled(plain: Image, like: Image) -> tuple[np.ndarray, np.ndarray]:
    onto = np.linalg.solve(plain.affine, like.affine)
    moved = ndimage.affine_transform(
        plain.data.astype(np.float32), onto[:3, :3], onto[:3, 3], like.grid_shape, order=1, mode="constant", cval=AIR_HU
    )
    places = np.stack(np.meshgrid(*(np.arange(n) for n in like.grid_shape), indexing="ij"), -1) @ onto[:3, :3].T
    places += onto[:3, 3]
    ends = np.array(plain.grid_shape) - 0.5
    return moved, ((places >= -0.5) & (places <= ends)).all(-1)
