"""From loose frames to a stack of slices: one orientation, one size, even steps, an exact affine; else refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from monai_isles.dicom.frames import Frame
from monai_isles.errors import IslesError, refused

SAME_PLACE_MM = 0.02
_ANGLE = 1e-3
_TILT_DEG = 0.1
_UNEVEN = 0.01
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Stack:
    """Slices from the first to the last along the normal.

    Shapes: ``frames`` has one list a slice, as they came; ``affine`` (4, 4), (column, row, slice) to RAS+.
    Units: ``places_mm`` along the slice normal, ``affine`` in mm.
    """

    frames: list[list[Frame]]
    places_mm: list[float]
    affine: np.ndarray


def stack_frames(frames: Sequence[Frame], where: str) -> Stack:
    """Return the frames as a stack.

    Raises:
        IslesError: ``E-DCM-10`` mixed orientations, ``E-DCM-13`` a gap of one or more slices, ``E-DCM-14`` gantry tilt,
            ``E-DCM-17`` uneven steps or slices beside each other, ``E-DCM-18`` mixed sizes, ``E-DCM-20`` one slice
            without a thickness, ``E-DCM-22`` several frames of reference.
    Source: DICOM PS3.3 C.7.6.2.1.1; ``tests/dicom/test_read.py``.
    """
    _require_one_reference(frames, where)
    _require_one_orientation(frames, where)
    _require_one_size(frames, where)
    row, column = _axes(frames[0])
    normal = np.cross(row, column)
    slices = _by_place(frames, normal)
    places = [float(np.mean([np.dot(frame.position, normal) for frame in group])) for group in slices]
    origins = np.array([group[0].position for group in slices])
    _require_no_tilt(slices, origins, normal, where)
    _require_even(slices, places, where)
    affine = np.eye(4)
    affine[:3, 0] = row * frames[0].spacing[1]
    affine[:3, 1] = column * frames[0].spacing[0]
    affine[:3, 2] = _step(slices, origins, normal, where)
    affine[:3, 3] = origins[0]
    return Stack(slices, places, _LPS_TO_RAS @ affine)


def named(frames: Sequence[Frame], normal_mm: float | None = None) -> str:
    """Return the place and the file of frames, four of them at most, for an error."""
    place = "" if normal_mm is None else f"{normal_mm:.2f} mm: "
    files = [f"{frame.file.path.name}" + (f" frame {frame.index + 1}" if frame.index else "") for frame in frames]
    return place + ", ".join(files[:4]) + (f" and {len(files) - 4} more" if len(files) > 4 else "")


def _axes(frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    return np.array(frame.orientation[:3]), np.array(frame.orientation[3:])


def _require_one_reference(frames: Sequence[Frame], where: str) -> None:
    named_by = {frame.file.text("FrameOfReferenceUID"): frame for frame in frames}
    if len(named_by) > 1:
        raise refused("E-DCM-22", where=where, found=f"{len(named_by)} of them, in {named(list(named_by.values()))}")


def _require_one_orientation(frames: Sequence[Frame], where: str) -> None:
    first = np.array(frames[0].orientation)
    row, column = _axes(frames[0])
    lengths = (np.linalg.norm(row), np.linalg.norm(column))
    others = [frame for frame in frames if np.abs(np.array(frame.orientation) - first).max() > _ANGLE]
    if others:
        raise refused(
            "E-DCM-10",
            where=where,
            found=f"{len(frames) - len(others)} like {named(frames[:1])}, {len(others)} others: {named(others)}",
        )
    if abs(row @ column) > _ANGLE or max(abs(length - 1) for length in lengths) > _ANGLE:
        raise refused(
            "E-DCM-10",
            where=where,
            found=f"Image Orientation (Patient) {', '.join(f'{one:g}' for one in frames[0].orientation)}",
            fault="orientation of the slices is no pair of axes",
            fix="export the original series from the archive",
        )


def _require_one_size(frames: Sequence[Frame], where: str) -> None:
    sizes: dict[tuple, list[Frame]] = {}
    for frame in frames:
        key = (frame.file.text("Rows"), frame.file.text("Columns"), *(round(one, 6) for one in frame.spacing))
        sizes.setdefault(key, []).append(frame)
    if len(sizes) > 1 or min(frames[0].spacing) <= 0:
        raise refused(
            "E-DCM-18",
            where=where,
            found="; ".join(f"{r} x {c} of {a:g} x {b:g} mm: {named(group)}" for (r, c, a, b), group in sizes.items()),
        )


def _by_place(frames: Sequence[Frame], normal: np.ndarray) -> list[list[Frame]]:
    places = np.array([frame.position for frame in frames]) @ normal
    order = np.argsort(places, kind="stable")
    slices: list[list[Frame]] = []
    for n, at in enumerate(order):
        if n and places[at] - places[order[n - 1]] <= SAME_PLACE_MM:
            slices[-1].append(frames[at])
        else:
            slices.append([frames[at]])
    return slices


def _require_no_tilt(slices: Sequence[Sequence[Frame]], origins: np.ndarray, normal: np.ndarray, where: str) -> None:
    for group, origin in zip(slices, origins, strict=True):
        beside = [frame for frame in group if np.linalg.norm(np.subtract(frame.position, origin)) > 5 * SAME_PLACE_MM]
        if beside:
            raise refused(
                "E-DCM-17",
                where=where,
                found=f"{named([group[0], *beside])}: "
                f"{max(np.linalg.norm(np.subtract(f.position, origin)) for f in beside):.3g} mm apart in their plane",
            )
    steps = np.diff(origins, axis=0)
    aside = float(np.linalg.norm(steps - np.outer(steps @ normal, normal), axis=1).max()) if len(steps) else 0.0
    tilt = max((abs(frame.tilt_deg) for group in slices for frame in group), default=0.0)
    lean = float(np.degrees(np.arctan2(aside, np.abs(steps @ normal).max()))) if len(steps) else 0.0
    level = bool(np.linalg.norm(np.cross(normal, [0, 0, 1])) < np.radians(_TILT_DEG))
    if lean > _TILT_DEG or (tilt > _TILT_DEG and level):
        raise refused(
            "E-DCM-14",
            where=where,
            found=f"tilt {tilt:g} degrees by the header, slices shifted by {aside:.3g} mm from one to the next "
            f"({lean:.2f} degrees): the grid is sheared",
        )


def _require_even(slices: Sequence[Sequence[Frame]], places: Sequence[float], where: str) -> None:
    gaps = np.diff(places)
    if len(gaps) < 2:
        return
    usual = float(np.median(gaps)) if len(gaps) > 2 else float(gaps.min())
    off = np.abs(gaps - usual) > max(SAME_PLACE_MM, _UNEVEN * usual)
    if not off.any():
        return
    whole = np.abs(gaps / usual - np.round(gaps / usual)) < 0.1
    lost = bool((whole | ~off).all()) and float(gaps.min()) > 0.9 * usual
    listed = [
        f"{gaps[n]:.4g} mm between {places[n]:.2f} mm ({named(slices[n][:1])}) and {places[n + 1]:.2f} mm "
        f"({named(slices[n + 1][:1])})"
        for n in np.flatnonzero(off)[:4]
    ]
    raise IslesError(
        "E-DCM-13" if lost else "E-DCM-17",
        "slices are missing" if lost else "slices are unevenly spaced",
        where=where,
        found=f"{'; '.join(listed)}; {usual:.4g} mm elsewhere",
        fix="export the whole series again" if lost else "reconstruct with one slice spacing, or give one slab alone",
    )


def _step(slices: Sequence[Sequence[Frame]], origins: np.ndarray, normal: np.ndarray, where: str) -> np.ndarray:
    if len(origins) > 1:
        return (origins[-1] - origins[0]) / (len(origins) - 1)
    thick = slices[0][0].step_mm
    if not thick or thick <= 0:
        raise refused(
            "E-DCM-20",
            where=f"{where}: {named(slices[0][:1])}: Slice Thickness",
            found="none, and there is one slice only",
            fix="export the original series from the archive",
        )
    return normal * thick
