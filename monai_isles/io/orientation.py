"""Compute the affines of a NIfTI header, and convert between stored axes and RAS+ without resampling."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

LAST_CODE = 5
_QUATERNION_NOISE = 4e-7


def qform(header: Nifti1Header, *, a: float | None = None) -> np.ndarray:
    """Return the qform as a (4, 4) matrix; ``a``, the quaternion part that is not stored, may be given."""
    from nibabel.quaternions import quat2mat

    b, c, d = (float(header[f"quatern_{name}"]) for name in "bcd")
    if a is None:
        a = float(np.sqrt(max(0.0, 1.0 - (b * b + c * c + d * d))))
    pixdim = np.asarray(header["pixdim"], float)
    sizes = np.where(pixdim[1:4] > 0, pixdim[1:4], np.nan)  # readers differ on whether a negative one is a flip
    zooms = sizes * [1.0, 1.0, -1.0 if pixdim[0] < 0 else 1.0]
    affine = np.eye(4)
    affine[:3, :3] = quat2mat([a, b, c, d]) * zooms
    affine[:3, 3] = [float(header[f"qoffset_{axis}"]) for axis in "xyz"]
    return affine


def nearest_qform(header: Nifti1Header, target: np.ndarray) -> np.ndarray:
    """Return the qform nearest to ``target`` among those with the same stored single-precision numbers."""
    # Near half turns the missing quaternion part is the root of a rounding error, up to a tenth of a voxel at the edge
    # of a slice. Taking it from the other matrix within that error avoids refusing valid files.
    plain = qform(header)
    b, c, d = (float(header[f"quatern_{name}"]) for name in "bcd")
    square = 1.0 - (b * b + c * c + d * d)
    low, high = np.sqrt(max(0.0, square - _QUATERNION_NOISE)), np.sqrt(max(0.0, square + _QUATERNION_NOISE))
    if not np.isfinite(plain).all() or not np.isfinite(target).all() or high - low < 1e-6:
        return plain
    pixdim = np.asarray(header["pixdim"], float)
    turn = target[:3, :3] / np.linalg.norm(target[:3, :3], axis=0) * [1.0, 1.0, -1.0 if pixdim[0] < 0 else 1.0]
    vector = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
    stored = np.array([b, c, d])
    wanted = float(vector @ stored) / (4.0 * float(stored @ stored))
    return qform(header, a=float(np.clip(wanted, low, high)))


def native_affine(header: Nifti1Header) -> np.ndarray:
    """Return the affine in use: the sform if its code is positive, else the qform."""
    return header.get_sform() if form_codes(header)[0] > 0 else qform(header)


def form_codes(header: Nifti1Header) -> tuple[int, int]:
    """Return the codes of sform and qform, 0 for one that NIfTI does not have: nibabel and ITK use the other form."""
    first, second = (0 if code > LAST_CODE else code for code in (int(header["sform_code"]), int(header["qform_code"])))
    return first, second


def to_ras(data: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn ``(X, Y, Z, ...)`` and its affine so that the first three axes point right, anterior, superior."""
    from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

    turn = io_orientation(affine)
    return apply_orientation(data, turn), affine @ inv_ornt_aff(turn, data.shape[:3])


def from_ras(data: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Put a RAS+ array ``(H, W, D)`` back into the stored order of the image whose stored ``affine`` is given."""
    from nibabel.orientations import apply_orientation, io_orientation, ornt_transform

    plain = np.array([[0, 1], [1, 1], [2, 1]])
    return apply_orientation(data, ornt_transform(plain, io_orientation(affine)))
