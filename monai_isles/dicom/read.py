"""Read DICOM folders: CT perfusion in time, single volumes and numeric perfusion maps, in HU, RAS+, seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from monai_isles.dicom.find import DicomFolder, SeriesInfo, perfusion_series, scan_dicom
from monai_isles.dicom.frames import Frame, frames_of, tube_kv
from monai_isles.dicom.header import quietly
from monai_isles.dicom.pixels import (
    AIR_HU,
    read_pixels,
    require_readable,
    require_scale,
    rescale_remarks,
    shown_inverted,
)
from monai_isles.dicom.slabs import common_times, order_frames
from monai_isles.dicom.stack import Stack, stack_frames, thicken
from monai_isles.errors import refused
from monai_isles.io.clock import UserTimes
from monai_isles.io.findings import WARNING, Finding, finding, refuse
from monai_isles.io.orientation import to_ras
from monai_isles.io.values import settle_values

UNIFORM_S = 1e-3


@dataclass(frozen=True)
class DicomSeries:
    """Hold one series in memory, without the patient.

    Shapes: ``array`` (T, H, W, D), or (H, W, D) of a single volume, float32 RAS+; affines (4, 4), ``native_affine``
        from (column, row, slice); ``slice_times_s`` one row of times a slice as acquired, None for a volume.
    Units: HU (maps: ``units``), mm, s since the first frame kept; ``tube_kv`` is None where unstated.
    Args:
        kind: as in ``SeriesInfo``.
        times_from: the source of the times, empty for a volume.
        slices: files and frame numbers (from 0) of the first time, in the order of the array's last axis; all of those
            that a slab was averaged of.
        interpolated: slices were brought to common times (shuttled table).
    """

    array: np.ndarray
    affine: np.ndarray
    times_s: np.ndarray | None
    kind: str
    native_affine: np.ndarray
    units: str
    times_from: str
    slices: tuple[tuple[Path, int], ...]
    frame_of_reference_uid: str
    tube_kv: float | None
    slice_times_s: tuple[tuple[float, ...], ...] | None = None
    interpolated: bool = False
    findings: list[Finding] = field(default_factory=list)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Return the voxel size."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return x, y, z

    @property
    def dt_s(self) -> float | None:
        """Return the seconds between frames, None where they are uneven or there is one."""
        if self.times_s is None or len(self.times_s) < 2 or float(np.ptp(np.diff(self.times_s))) > UNIFORM_S:
            return None
        return float(self.times_s[-1] / (len(self.times_s) - 1))


def find_series(folder: str | Path) -> list[SeriesInfo]:
    """Return every image series below a folder, by number; unusable ones state the reason.

    Raises: ``E-DCM-01`` no pydicom, ``E-DCM-02`` nothing there, ``E-DCM-06`` a damaged file, and others.

    >>> [series.kind for series in find_series(study)]
    ['ct', 'ctp', 'cbf']
    """
    dicom = scan_dicom(folder)
    refuse(dicom.findings)
    return dicom.series


@quietly()
def read_series(
    folder: str | Path, *, series_uid: str | None = None, kind: str | None = None,
    dt_s: UserTimes = None, slab_mm: float | None = None, files: Sequence[Path] = (),
) -> DicomSeries:  # fmt: skip
    """Read one series of a folder, classic or enhanced, still, in time, or shuttled.

    Times: see ``io.clock.dicom_clock``; Content Time is never used. Where the table was shuttled, or slices follow one
    another within a pass, every voxel is interpolated linearly to the times of the slice that began first, inside the
    times of all slices.

    Args:
        series_uid: which series, where there are several: its UID or its number.
        kind: the one series of this kind (``ctp``, ``cbf`` and so on), where there are several.
        dt_s: seconds between frames, or the time of each, instead of the file's.
        slab_mm: average thin slices to about this thickness while they are read.
        files: the only ones to read, of a folder with several studies.
    Raises: those of ``dicom_clock``; ``E-DCM-*`` names the file, the position in mm, or the series; ``E-VAL-*`` for
    impossible values.
    Source: DICOM PS3.3; ``tests/dicom/test_read.py``, ``tests/phantom/test_dicom_writer.py``.

    >>> read_series(study, kind="ctp").array.shape
    (40, 64, 64, 1)
    """
    dicom = scan_dicom(folder, files)
    refuse(dicom.findings)
    info = _choose_series(dicom, Path(folder), series_uid, kind)
    where, parts = f"{folder}: series {info.number or info.uid}", dicom.files[info.uid]
    require_readable(parts, where, slab_mm)
    frames = [frame for file in parts for frame in frames_of(file)]
    hounsfield = info.kind in ("ct", "ctp")
    units = require_scale(frames, where, hounsfield=hounsfield)
    stack = thicken(stack_frames(frames, where), slab_mm, where)
    findings = [item for item in dicom.findings if item.severity == WARNING]
    findings += [*stack.findings, *(rescale_remarks(frames, where) if hounsfield else [])]
    # -1 where the slices run against the axis they are turned to
    order = int(np.sign(stack.affine[np.abs(stack.affine[:3, 2]).argmax(), 2]))
    read = stack.frames
    taken, times, rows, timing = None, None, None, None
    if any(len(group) > 1 for group in stack.frames):
        taken = order_frames(stack, where, dt_s)
        times, uneven = common_times(taken, where)
        findings += taken.findings
        read = [group if uneven else group[: len(times)] for group in taken.frames]
        timing = (taken.times_s, times) if uneven else None
        rows = tuple(tuple((own - times[0]).tolist()) for own in taken.times_s[:: stack.thick][::order])
    array, affine = _to_ras(read, stack, hounsfield, timing)
    # values are checked and repaired as those of NIfTI files
    findings += shown_inverted(parts, array, where) if hounsfield else []
    settled = settle_values(array, kind=info.kind if hounsfield else None, where=where)
    refuse(settled.findings)
    return DicomSeries(
        array=settled.data if taken else settled.data[0],
        affine=affine,
        times_s=None if times is None else times - times[0],
        kind=info.kind,
        native_affine=stack.affine,
        units=units or ("HU" if hounsfield else ""),
        times_from=taken.clock.source if taken else "",
        slices=tuple((group[0].file.path, group[0].index) for group in read[::order]),
        frame_of_reference_uid=parts[0].text("FrameOfReferenceUID"),
        tube_kv=tube_kv(parts[0]),
        slice_times_s=rows,
        interpolated=timing is not None,
        findings=[*findings, *settled.findings],
    )


def _to_ras(
    slices: list[list[Frame]], stack: Stack, hounsfield: bool, timing: tuple[list[np.ndarray], np.ndarray] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the frames (T, H, W, D) in RAS+ and the affine; ``timing``: times of each slice, and the common ones."""
    own = (int(slices[0][0].file.text(key)) for key in ("Rows", "Columns"))
    rows, columns = own if stack.shear is None else stack.shear.size
    count, slabs = len(slices[0]) if timing is None else len(timing[1]), len(slices) // stack.thick
    seen, affine = to_ras(np.broadcast_to(np.float32(0), (columns, rows, slabs)), stack.affine)
    turned = np.empty((count, *seen.shape), np.float32)
    if timing is None:
        for t in range(count):
            volume = np.stack([_picture(frames[t], k, stack, hounsfield) for k, frames in enumerate(slices)])
            volume = volume.reshape(slabs, stack.thick, rows, columns).mean(axis=1)
            turned[t] = to_ras(volume.transpose(2, 1, 0), stack.affine)[0]
        return turned, affine
    native = np.zeros((count, slabs, rows, columns), np.float32)
    for n, frames in enumerate(slices):
        pictures = np.stack([_picture(frame, n, stack, hounsfield) for frame in frames])
        native[:, n // stack.thick] += _interpolate(pictures, timing[0][n], timing[1]) / stack.thick
    for t in range(count):
        turned[t] = to_ras(native[t].transpose(2, 1, 0), stack.affine)[0]
    return turned, affine


def _picture(frame: Frame, place: int, stack: Stack, hounsfield: bool) -> np.ndarray:
    picture = read_pixels(frame, hounsfield=hounsfield)
    return picture if stack.shear is None else stack.shear.upright(picture, place, AIR_HU if hounsfield else 0.0)


def _interpolate(pictures: np.ndarray, own_s: np.ndarray, times_s: np.ndarray) -> np.ndarray:
    before = np.clip(np.searchsorted(own_s, times_s, side="right") - 1, 0, max(0, len(own_s) - 2))
    after = np.minimum(before + 1, len(own_s) - 1)
    gap = np.maximum(own_s[after] - own_s[before], 1e-9)
    share = ((times_s - own_s[before]) / gap).astype(np.float32)[:, None, None]
    return pictures[before] * (1 - share) + pictures[after] * share


def _choose_series(content: DicomFolder, folder: Path, series_uid: str | None, kind: str | None) -> SeriesInfo:
    wanted = [item for item in content.series if item.named(series_uid) and kind in (None, item.kind)]
    usable = [item for item in wanted if item.usable]
    if kind == "ctp" and series_uid is None:
        usable = perfusion_series(usable)
        if len(usable) == 1 and (others := [item for item in wanted if item.usable and item != usable[0]]):
            left = "; ".join(f"{item.number or item.uid} {item.extent}" for item in others)
            text = f"{usable[0].number or usable[0].uid} {usable[0].extent}; not {left}"
            content.findings.append(finding("E-DCM-69", WARNING, where=str(folder), found=text))
    if len(usable) == 1:
        return usable[0]
    listed = "; ".join(str(item) for item in (usable or wanted or content.series)[:8])
    if usable:
        raise refused("E-DCM-04", where=str(folder), found=listed)
    if not any(item.named(series_uid) for item in content.series):
        raise refused("E-DCM-05", where=f"{folder}: {series_uid}", found=listed)
    code = "E-DCM-15" if any("colours" in item.reason for item in wanted) else "E-DCM-03"
    fix = "export the original CT or MR series, or maps as grey values with rescale or units"
    if kind == "ctp" and any(item.kind == "ct" for item in content.series):
        fix = "give the series in time: frames repeat each position, or five series or more state when they were taken"
    elif kind == "ctp" and any(item.kind == "mr" for item in content.series):
        fix = "give the perfusion series; convert MR images to NIfTI (.nii.gz) for monai-isles predict"
    raise refused(code, where=f"{folder}" + (f": {kind}" if kind else ""), found=listed, fix=fix)
