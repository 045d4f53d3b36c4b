"""Parse a NIfTI header as stored, without repairs: its shape, number type and time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from monai_isles.errors import refused

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

DTYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
_TIME_UNITS = {8: 1.0, 16: 1e-3, 24: 1e-6}


def parse_header(block: bytes, where: str) -> Nifti1Header:
    """Return the header as stored, unrepaired; NIfTI-1 and NIfTI-2 single files, both byte orders."""
    import nibabel

    for size, kind in ((348, nibabel.Nifti1Header), (540, nibabel.Nifti2Header)):
        for endian in "<>":
            if int.from_bytes(block[:4], "little" if endian == "<" else "big") == size and len(block) >= 4:
                if len(block) < size:
                    raise refused("E-FILE-05", where=where, found=f"{len(block)} of {size} header bytes")
                header = kind(block[:size], endianness=endian, check=False)
                if bytes(header["magic"])[:3] in (b"n+1", b"n+2"):
                    return header
    if len(block) >= 348 and block[344:347] == b"n+1":  # the length of the header is wrong, the rest may be right
        for endian in "<>":
            if 1 <= int.from_bytes(block[40:42], "little" if endian == "<" else "big") <= 7:
                return nibabel.Nifti1Header(block[:348], endianness=endian, check=False)
    raise refused("E-FILE-03", where=where, found=f"starts with {block[:24]!r}")


def stored_shape(header: Nifti1Header) -> tuple[int, ...]:
    """Return the dimensions as stored, empty where their number is out of range."""
    dim = [int(d) for d in header["dim"]]
    return tuple(dim[1 : 1 + dim[0]]) if 1 <= dim[0] <= 7 else ()


def layout(header: Nifti1Header) -> tuple[tuple[int, int, int], int | None]:
    """Return the spatial shape and the number of frames, None for one volume; trailing ones are ignored."""
    dims = stored_shape(header)
    while len(dims) > 3 and dims[-1] == 1:
        dims = dims[:-1]
    x, y, z = (*dims[:3], 1, 1, 1)[:3] if len(dims) < 3 else dims[:3]
    return (x, y, z), dims[-1] if len(dims) > 3 else None


def voxel_dtype(header: Nifti1Header) -> np.dtype | None:
    """Return the stored number type, None when it is not a real number type."""
    name = DTYPES.get(int(header["datatype"]))
    return np.dtype(name).newbyteorder(header.endianness) if name else None


def claimed_bytes(header: Nifti1Header) -> int:
    """Return the bytes of the voxels according to the header, in plain integers (no overflow)."""
    dtype = voxel_dtype(header)
    size = max(1, int(header["bitpix"]) // 8) if dtype is None else dtype.itemsize
    return size * math.prod(max(0, dim) for dim in stored_shape(header))


def bare_step(header: Nifti1Header) -> float | None:
    """Return the frame step stored in the header, in an unknown unit; None if it is no possible time."""
    dims, pixdim = stored_shape(header), np.asarray(header["pixdim"], float)
    dt = float(pixdim[4])
    if len(dims) == 5 and pixdim[5] > 0 and not (pixdim[5] == 1 and dt > 0):
        dt = float(pixdim[5])
    return dt if np.isfinite(dt) and dt > 0 else None


def frame_time_s(header: Nifti1Header) -> float | None:
    """Return the seconds between frames, None where the header states no number with a unit of time."""
    dt, unit_s = bare_step(header), _TIME_UNITS.get(int(header["xyzt_units"]) & 0x38)
    return None if dt is None or unit_s is None else dt * unit_s
