"""Parse a NIfTI header as stored, without repairs: its shape, number type and time; and check it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from monai_isles.errors import refused
from monai_isles.io.findings import ERROR, WARNING, Finding, finding
from monai_isles.io.grid import SAME_GRID_VOX, TOLERANCE_VOX, corners_apart_mm, displacement_vox
from monai_isles.io.orientation import LAST_CODE, form_codes, native_affine, nearest_qform
from monai_isles.modalities import MODALITIES

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

DTYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
_TIME_UNITS = {8: 1.0, 16: 1e-3, 24: 1e-6}
MAX_SHEAR, LARGE_SHEAR = 1e-3, 0.02  # cosines
DT_RANGE_S = (0.05, 30.0)
_COMPLEX, _COLOUR = {32, 1792, 2048}, {128, 2304}
_WRITERS = ("FSL", "SPM", "FreeSurfer", "dcm2nii", "ANTs", "ITK", "AFNI", "MRtrix", "Slicer", "nibabel", "TORTOISE")
_LENGTH_UNITS = {1: ("metre", 1000.0), 3: ("micron", 0.001)}
_VIEW_MM, _WHOLE_VOX = (60.0, 5000.0), 64


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


def header_findings(header: Nifti1Header, *, kind: str | None, where: str, judge_time: bool = True) -> list[Finding]:
    """Return every fault of a header: dimensions, data type, orientation, units, frames."""
    findings = _size_findings(header, where) + _type_findings(header, where) + _scale_findings(header, where)
    findings += _unit_findings(header, where)
    if not any(f.code in ("E-DIM-01", "E-DIM-02", "E-DIM-05") for f in findings):
        findings += _orientation_findings(header, where) + _frame_findings(header, kind, where, judge_time)
    return findings


def _size_findings(header: Nifti1Header, where: str) -> list[Finding]:
    dims, text = stored_shape(header), [int(d) for d in header["dim"]]
    if len(dims) and min(dims) < 0:
        return [finding("E-DIM-02", ERROR, where=where, found=f"dimensions {dims}")]
    if not dims or min(dims) == 0:
        return [finding("E-DIM-01", ERROR, where=where, found=f"dimensions {dims or text}")]
    spare = [d for d in dims[3:] if d > 1]
    if len(dims) < 2 or len(spare) > 1 or (spare and dims[3] == 1 and len(dims) > 4 and dims[4] != spare[0]):
        return [finding("E-DIM-05", ERROR, where=where, found=f"dimensions {dims}")]
    if len(dims) == 2:
        return [finding("E-DIM-10", WARNING, where=where, found=f"dimensions {dims}")]
    if len(dims) > 3 and dims[-1] == 1:
        return [finding("E-DIM-09", WARNING, where=where, found=f"dimensions {dims}")]
    return []


def _type_findings(header: Nifti1Header, where: str) -> list[Finding]:
    code, findings = int(header["datatype"]), []
    if header["sizeof_hdr"] not in (348, 540):
        findings.append(finding("E-FILE-22", WARNING, where=where, found=f"length {int(header['sizeof_hdr'])}"))
    offset = float(header["vox_offset"])
    if not np.isfinite(offset) or offset < (544 if header["sizeof_hdr"] == 540 else 352):
        findings.append(finding("E-FILE-09", ERROR, where=where, found=f"voxel offset {offset:g}"))
    elif offset % 1:  # other readers cut the fraction off too
        text, fault = f"offset {offset:g}: {int(offset)}", "header states a part of a byte as the start of the voxels"
        findings.append(finding("E-FILE-22", WARNING, where=where, found=text, fault=fault))
    if code in _COMPLEX:
        findings.append(finding("E-VAL-01", ERROR, where=where, found=f"complex numbers (NIfTI datatype {code})"))
    elif code in _COLOUR:
        findings.append(finding("E-VAL-02", ERROR, where=where, found=f"RGB colours (NIfTI datatype {code})"))
    elif code not in DTYPES:
        findings.append(finding("E-VAL-11", ERROR, where=where, found=f"NIfTI datatype {code}"))
    return findings


def _scale_findings(header: Nifti1Header, where: str) -> list[Finding]:
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or np.isnan(slope) or (np.isfinite(slope) and np.isfinite(inter)):
        return []
    if np.isinf(slope):  # no scaling, for nibabel and ITK too
        text, fix = f"slope {slope:g}: read as none", "nothing, where the values are plausible"
        return [finding("E-VAL-12", WARNING, where=where, found=text, fix=fix)]
    return [finding("E-VAL-12", ERROR, where=where, found=f"slope {slope:g}, intercept {inter:g}")]


def _unit_findings(header: Nifti1Header, where: str) -> list[Finding]:
    name, factor = _LENGTH_UNITS.get(int(header["xyzt_units"]) & 7, ("", 1.0))
    if not name:
        return []
    zooms = " x ".join(f"{z:g}" for z in np.asarray(header["pixdim"], float)[1:4])
    return [finding("E-GEOM-07", ERROR, where=where, found=f"unit {name}, voxels {zooms}", factor=factor)]


def _orientation_findings(header: Nifti1Header, where: str) -> list[Finding]:
    s_code, q_code = int(header["sform_code"]), int(header["qform_code"])
    if s_code <= 0 and q_code <= 0:
        return [finding("E-GEOM-01", ERROR, where=where, found=f"sform code {s_code} and qform code {q_code}")]
    affine = native_affine(header)
    rows = np.array2string(affine, precision=4, suppress_small=True).replace("\n", "")
    s_used, q_used = form_codes(header)
    used = "sform" if s_used > 0 else "qform"
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    unit = affine[:3, :3] / np.where(lengths > 0, lengths, 1.0)
    if not np.isfinite(affine).all() or lengths.min() <= 1e-6 or abs(np.linalg.det(unit)) < 1e-3:
        # the program named in the description; the rest of that may contain a patient's name
        text = bytes(header["descrip"]).decode("latin-1").lower()
        writer = next((f", written by {name}" for name in _WRITERS if name.lower() in text), "")
        return [finding("E-GEOM-06", ERROR, where=where, found=f"{used} {rows}{writer}")]
    shape = layout(header)[0]
    findings = _view_findings(lengths, shape, where) + _shear_findings(affine, shape, used, where)
    if np.array_equal(affine, np.eye(4)):
        findings.append(finding("E-GEOM-11", WARNING, where=where, found=f"the {used} is the identity"))
    stated = (("sform", s_code), ("qform", q_code))
    strange = [f"{name} code {code}" for name, code in stated if not 0 <= code <= LAST_CODE]
    if strange:
        text = f"{', '.join(strange)}; 0 to {LAST_CODE} are known"
        # readers differ on whether a negative code counts, and on a form whose unknown code is the only one
        severity = ERROR if min(s_code, q_code) < 0 or max(s_used, q_used) == 0 else WARNING
        findings.append(finding("E-GEOM-08", severity, where=where, found=text, used=used))
    if s_used > 0 and q_used > 0:
        findings += _conflict_findings(header, where)
    return findings


def _view_findings(lengths: np.ndarray, shape: tuple[int, ...], where: str) -> list[Finding]:
    """Return an error for an image of many voxels that is too small or too large to be a head's in mm."""
    view_mm = float((lengths * shape).max())
    if max(shape) < _WHOLE_VOX or _VIEW_MM[0] <= view_mm <= _VIEW_MM[1]:
        return []
    metre = 10.0 if view_mm >= _VIEW_MM[0] / 10 else 1000.0  # centimetres, or metres
    factor = 0.001 if view_mm > _VIEW_MM[1] else metre
    text = f"voxels {' x '.join(f'{mm:g}' for mm in lengths)}, a field of view of {view_mm:.4g} mm"
    return [finding("E-GEOM-07", ERROR, where=where, found=text, factor=factor)]


def _shear_findings(affine: np.ndarray, shape: tuple[int, ...], used: str, where: str) -> list[Finding]:
    """Return an error for axes that are not at right angles, a remark where no corner moves by half a voxel."""
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    unit = affine[:3, :3] / lengths
    cosines = unit.T @ unit
    worst = float(np.abs(cosines - np.diag(np.diag(cosines))).max())
    if worst <= MAX_SHEAR:
        return []
    left, _, right = np.linalg.svd(unit)
    upright = affine.copy()
    upright[:3, :3] = left @ right * lengths  # the nearest axes at right angles
    gap_vox = displacement_vox(upright, affine, shape)
    degrees = float(np.degrees(np.arcsin(min(1.0, worst))))
    text = f"axes of the {used} are {degrees:.3g} degrees off a right angle (cosine {worst:.3g})"
    if gap_vox < SAME_GRID_VOX and worst < LARGE_SHEAR:
        text, fix = f"{text}, {gap_vox:.2g} voxel at the corners", "nothing; it is read as it stands"
        return [finding("E-GEOM-05", WARNING, where=where, found=text, fix=fix)]
    return [finding("E-GEOM-05", ERROR, where=where, found=text, max_shear=MAX_SHEAR)]


def _conflict_findings(header: Nifti1Header, where: str) -> list[Finding]:
    shape, ours = layout(header)[0], header.get_sform()
    theirs = nearest_qform(header, ours)
    if not np.isfinite(theirs).all():
        fault = "qform is not finite and states no place"
        return [finding("E-GEOM-10", WARNING, where=where, found=str(theirs[:3]), fault=fault, used="sform")]
    gap_vox = displacement_vox(ours, theirs, shape)
    if gap_vox <= TOLERANCE_VOX:
        return []
    apart_mm = corners_apart_mm(ours, shape, theirs, shape)
    apart = f"field-of-view corners {apart_mm:.4g} mm ({gap_vox:.3g} voxel) apart"
    if gap_vox < SAME_GRID_VOX:
        return [finding("E-GEOM-10", WARNING, where=where, found=apart, used="sform")]
    return [finding("E-GEOM-02", ERROR, where=where, found=f"{apart}; the sform would be used")]


def _frame_findings(header: Nifti1Header, kind: str | None, where: str, judge_time: bool) -> list[Finding]:
    (_, frames), text = layout(header), f"dimensions {stored_shape(header)}"
    series = kind in MODALITIES and MODALITIES[kind].time_series
    if series and frames is None:
        return [finding("E-DIM-04", ERROR, where=where, found=f"{text}: one volume, it looks like a map")]
    if kind is not None and not series and frames is not None:
        return [finding("E-DIM-03", ERROR, where=where, found=f"{frames} frames, {text}", kind=kind)]
    step_s = frame_time_s(header) or bare_step(header)
    if series and judge_time and step_s is not None and not DT_RANGE_S[0] <= step_s <= DT_RANGE_S[1]:
        return [finding("E-DIM-06", ERROR, where=where, found=f"{step_s:g} s between frames")]
    return []
