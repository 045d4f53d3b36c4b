"""Stack loose frames to slices: one orientation, one size, even steps and an exact affine, or refuse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from monai_isles.dicom.frames import Frame
from monai_isles.dicom.pixels import slices_a_slab
from monai_isles.errors import refused
from monai_isles.io.findings import WARNING, Finding, finding

SAME_PLACE_MM, SAME_PLACE_SHARE = 0.02, 0.1
_ANGLE = 1e-3
_TILT_DEG = 0.1
_STILL_VOX = 0.05
_UNEVEN = 0.01
# A position written with one decimal may be off by 0.05 mm along each axis, and so may the ends of a line.
_ROUNDED_MM, _ROUNDED_SHARE = 0.15, 0.25
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Shear:
    """Describe the shear of the slices of a tilted gantry, and the upright grid that contains all of them.

    Units: ``step_vox`` by which each slice lies further along (rows, columns) than the one before; ``start_vox`` of
    the upright grid from the first slice, ``size`` its (rows, columns); ``tilt_deg`` degrees.
    """

    step_vox: tuple[float, float]
    start_vox: tuple[int, int]
    size: tuple[int, int]
    tilt_deg: float

    def upright(self, picture: np.ndarray, place: int, fill: float) -> np.ndarray:
        """Return a slice on the upright grid: each axis shifted linearly, ``fill`` outside.

        Shapes: (rows, columns) in, ``size`` out.
        """
        for axis in (0, 1):
            at = np.arange(self.size[axis]) + self.start_vox[axis] - place * self.step_vox[axis]
            picture = _sample(picture, at, axis, fill)
        return picture

    def tilt_back(self, picture: np.ndarray, place: int, size: tuple[int, int], *, nearest: bool) -> np.ndarray:
        """Return a slice of the upright grid as the scanner acquired it, with its (rows, columns) ``size``."""
        for axis in (0, 1):
            at = np.arange(size[axis]) - self.start_vox[axis] + place * self.step_vox[axis]
            picture = _sample(picture, np.rint(at) if nearest else at, axis, 0)
        return picture


def _sample(picture: np.ndarray, at: np.ndarray, axis: int, fill: float) -> np.ndarray:
    """Interpolate a picture linearly along one axis."""
    count, before = picture.shape[axis], np.floor(at).astype(int)
    share = (at - before).astype(np.float32).reshape((-1, 1) if axis == 0 else (1, -1))
    edge = [(1, 1) if n == axis else (0, 0) for n in range(2)]
    padded = np.pad(picture, edge, constant_values=fill)
    low, high = (np.take(padded, np.clip(before + k, 0, count + 1), axis=axis) for k in (1, 2))
    return low if not share.any() else (low * (1 - share) + high * share).astype(picture.dtype)


@dataclass(frozen=True)
class Stack:
    """Hold the slices from the first to the last along the normal.

    Shapes: ``frames`` has one list a slice, as they came; ``affine`` (4, 4), (column, row, slice) to RAS+, of the
        upright grid where the gantry was tilted.
    Units: ``places_mm`` along the slice normal, ``affine`` in mm.
    Args:
        thick: how many slices are averaged to one of the grid that ``affine`` describes.
    """

    frames: list[list[Frame]]
    places_mm: list[float]
    affine: np.ndarray
    shear: Shear | None = None
    findings: list[Finding] = field(default_factory=list)
    thick: int = 1


def stack_frames(frames: Sequence[Frame], where: str) -> Stack:
    """Return the frames as a stack.

    Slices of a tilted gantry get an upright grid; a table that returned slightly off is one place; a tilt that the
    positions do not show is ignored; each with a remark.

    Source: DICOM PS3.3 C.7.6.2.1.1; ``tests/dicom/test_read.py``, ``tests/dicom/test_tilt.py``.
    """
    named_by = {frame.file.text("FrameOfReferenceUID"): frame for frame in frames}
    if len(named_by) > 1:
        result = f"{len(named_by)} of them, in {frame_names(list(named_by.values()))}"
        raise refused("E-DCM-22", where=where, found=result)
    _require_one_orientation(frames, where)
    _require_one_size(frames, where)
    row, column = _axes(frames[0])
    normal = np.cross(row, column)
    slices = by_place(frames, normal)
    # The median is robust to one pass in which the table returned off.
    origins = np.array([np.median([frame.position for frame in group], axis=0) for group in slices])
    apart_mm = [
        np.linalg.norm(np.array([frame.position for frame in group]) - middle, axis=1)
        for group, middle in zip(slices, origins, strict=True)
    ]
    places, off_mm = (origins @ normal).tolist(), float(max(apart.max() for apart in apart_mm))
    step, findings = _step(slices, origins, normal, where), []
    _require_in_line(slices, origins, step, apart_mm, where)
    _require_even(slices, places, off_mm, where)
    if off_mm > 5 * SAME_PLACE_MM:
        text = f"frames of one slice lie up to {off_mm:.3g} mm from each other's middle"
        findings.append(finding("E-DCM-63", WARNING, where=where, found=text))
    shear = _shear(frames, step, normal, len(slices))
    findings += _unshown_tilt(frames, normal, where) if shear is None else []
    affine = np.eye(4)
    affine[:3, 0] = row * frames[0].spacing[1]
    affine[:3, 1] = column * frames[0].spacing[0]
    affine[:3, 2], affine[:3, 3] = step, origins[0]
    if shear is not None:
        affine[:3, 2] = np.dot(step, normal) * normal  # upright: the step is along the normal alone
        affine[:3, 3] += affine[:3, 1] * shear.start_vox[0] + affine[:3, 0] * shear.start_vox[1]
        text = f"{shear.tilt_deg:.2f} degrees: slices shifted onto an upright grid of {shear.size[1]} x {shear.size[0]}"
        findings.append(finding("E-DCM-64", WARNING, where=where, found=text))
    return Stack(slices, places, _LPS_TO_RAS @ affine, shear, findings)


def thicken(stack: Stack, slab_mm: float | None, where: str) -> Stack:
    """Average slices over about ``slab_mm``; leave out slices that do not fill a slab."""
    step = float(np.linalg.norm(stack.affine[:3, 2]))
    thick = min(slices_a_slab(step, slab_mm), len(stack.frames))
    if thick == 1:
        return stack
    count, affine = len(stack.frames) // thick, stack.affine.copy()
    affine[:3, 3] += affine[:3, 2] * (thick - 1) / 2  # middle of the first slab
    affine[:3, 2] *= thick
    left = len(stack.frames) - count * thick
    text = f"{len(stack.frames)} slices of {step:g} mm to {count} of {thick * step:g} mm"
    text += f", {left} at the end left out" if left else ""
    remarks = [*stack.findings, finding("E-DCM-65", WARNING, where=where, found=text)]
    frames, places = stack.frames[: count * thick], stack.places_mm[: count * thick]
    return replace(stack, frames=frames, places_mm=places, affine=affine, findings=remarks, thick=thick)


def frame_names(frames: Sequence[Frame], normal_mm: float | None = None) -> str:
    """Return position and file of up to four frames, for an error."""
    place = "" if normal_mm is None else f"{normal_mm:.2f} mm: "
    files = [f"{frame.file.path.name}" + (f" frame {frame.index + 1}" if frame.index else "") for frame in frames]
    return place + ", ".join(files[:4]) + (f" and {len(files) - 4} more" if len(files) > 4 else "")


def _axes(frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    return np.array(frame.orientation[:3]), np.array(frame.orientation[3:])


def _require_one_orientation(frames: Sequence[Frame], where: str) -> None:
    first = np.array(frames[0].orientation)
    row, column = _axes(frames[0])
    lengths = (np.linalg.norm(row), np.linalg.norm(column))
    others = [frame for frame in frames if np.abs(np.array(frame.orientation) - first).max() > _ANGLE]
    if others:
        like = f"{len(frames) - len(others)} like {frame_names(frames[:1])}"
        raise refused("E-DCM-10", where=where, found=f"{like}, {len(others)} others: {frame_names(others)}")
    if abs(row @ column) > _ANGLE or max(abs(length - 1) for length in lengths) > _ANGLE:
        result = f"Image Orientation (Patient) {', '.join(f'{item:g}' for item in frames[0].orientation)}"
        fault, fix = "orientation of the slices is no pair of axes", "export the original series from the archive"
        raise refused("E-DCM-10", where=where, found=result, fault=fault, fix=fix)


def _require_one_size(frames: Sequence[Frame], where: str) -> None:
    sizes: dict[tuple, list[Frame]] = {}
    for frame in frames:
        # Spacings written with fewer decimals differ by less than a tenth of a voxel over a whole picture.
        alike = [round(mm / (own or 1.0), 4) for mm, own in zip(frame.spacing, frames[0].spacing, strict=True)]
        key = (frame.file.text("Rows"), frame.file.text("Columns"), *alike)
        sizes.setdefault(key, []).append(frame)
    if len(sizes) > 1 or min(frames[0].spacing) <= 0:
        text = "{} x {} of {:g} x {:g} mm: {}"
        listed = (text.format(*key[:2], *group[0].spacing, frame_names(group)) for key, group in sizes.items())
        raise refused("E-DCM-18", where=where, found="; ".join(listed))


def by_place(frames: Sequence[Frame], normal: np.ndarray) -> list[list[Frame]]:
    """Return the frames by their position along a normal, lowest first."""
    # Within a tenth of the slice step is one place: a table that was moved returns slightly off. The step is that of
    # the header, or of the gaps that are at least half of the largest (nine tenths of a step, or more), whichever is
    # less.
    places = np.array([frame.position for frame in frames]) @ normal
    order = np.argsort(places, kind="stable")
    steps = np.diff(places[order])  # zero between frames of one slice
    step = float(np.median(steps[steps >= 0.5 * steps.max()])) if steps.size else 0.0
    text = [frame.step_mm for frame in frames if frame.step_mm]
    # The smaller of header and gaps: a series with lost slices has gaps of twice the step.
    near = max(SAME_PLACE_MM, SAME_PLACE_SHARE * min([step / (1 - SAME_PLACE_SHARE), *text]) + 1e-6)
    slices: list[list[Frame]] = []
    for at in order:
        if slices and places[at] - np.dot(slices[-1][0].position, normal) <= near:
            slices[-1].append(frames[at])
        else:
            slices.append([frames[at]])
    return slices


def _require_in_line(
    slices: Sequence[Sequence[Frame]], origins: np.ndarray, step: np.ndarray, apart_mm: Sequence[np.ndarray], where: str
) -> None:
    """Refuse frames shifted by ``apart_mm`` from the middle of their slice, and slices that do not follow one line."""
    length = float(np.linalg.norm(step))
    near = max(5 * SAME_PLACE_MM, SAME_PLACE_SHARE * length + 1e-6)
    for group, apart in zip(slices, apart_mm, strict=True):
        beside = [frame for frame, far in zip(group, apart, strict=True) if far > near]
        if beside:
            result = f"{frame_names([group[0], *beside])}: {apart.max():.3g} mm apart in their plane"
            raise refused("E-DCM-17", where=where, found=result)
    normal = np.cross(*_axes(slices[0][0]))
    # What is left beside the straight line through the slices; a tilt keeps them on a line, a moved table does not.
    aside = origins - origins[0] - np.outer((origins - origins[0]) @ normal / np.dot(step, normal), step)
    bend = float(np.linalg.norm(aside, axis=1).max())
    if bend > max(_ROUNDED_MM, 2 * max(apart.max() for apart in apart_mm)):
        raise refused("E-DCM-17", where=where, found=f"slices lie up to {bend:.3g} mm beside the line of the others")


def _shear(frames: Sequence[Frame], step: np.ndarray, normal: np.ndarray, count: int) -> Shear | None:
    """Return the shear of the slices of a tilted gantry, None if they are upright."""
    row, column = _axes(frames[0])
    # The part of the step within the plane is the shear of a tilted gantry.
    aside = step - np.dot(step, normal) * normal
    lean = float(np.degrees(np.arctan2(np.linalg.norm(aside), abs(np.dot(step, normal)))))
    if lean <= _TILT_DEG or count < 2:
        return None
    steps = [float(np.dot(aside, axis)) / mm for axis, mm in zip((column, row), frames[0].spacing, strict=True)]
    steps = [item if abs(item) * (count - 1) > _STILL_VOX else 0.0 for item in steps]
    more = [int(np.ceil(abs(item) * (count - 1))) for item in steps]
    size = [int(frames[0].file.text(key)) + extra for key, extra in zip(("Rows", "Columns"), more, strict=True)]
    start = [-extra if item < 0 else 0 for item, extra in zip(steps, more, strict=True)]
    return Shear((steps[0], steps[1]), (start[0], start[1]), (size[0], size[1]), lean)


def _unshown_tilt(frames: Sequence[Frame], normal: np.ndarray, where: str) -> list[Finding]:
    """Return the remark that the header states a tilt that neither orientation nor positions show."""
    remarks = max(abs(frame.tilt_deg) for frame in frames)
    level = bool(np.linalg.norm(np.cross(normal, [0, 0, 1])) < np.radians(_TILT_DEG))
    if remarks <= _TILT_DEG or not level:
        return []
    text = f"tilt {remarks:g} degrees by the header, but the slices lie upright and level by their positions"
    return [finding("E-DCM-14", WARNING, where=where, found=text)]


def _require_even(slices: Sequence[Sequence[Frame]], places: Sequence[float], off_mm: float, where: str) -> None:
    gaps = np.diff(places)
    if len(gaps) < 2:
        return
    usual = float(np.median(gaps)) if len(gaps) > 2 else float(gaps.min())
    off = np.abs(gaps - usual) > max(SAME_PLACE_MM, _UNEVEN * usual, 2 * off_mm)
    beside = np.abs(places - np.linspace(places[0], places[-1], len(places))).max()
    if not off.any() or beside <= min(_ROUNDED_MM, _ROUNDED_SHARE * usual):
        return
    whole = (np.abs(gaps / usual - np.round(gaps / usual)) < 0.1) & (gaps > 1.5 * usual)
    # Gaps of a whole number of steps are lost files; others are another reconstruction.
    lost = bool((whole | ~off).all()) and float(gaps.min()) > 0.9 * usual
    ends = [f"{place:.2f} mm ({frame_names(group[:1])})" for place, group in zip(places, slices, strict=True)]
    listed = [f"{gaps[n]:.4g} mm between {ends[n]} and {ends[n + 1]}" for n in np.flatnonzero(off)[:4]]
    result = f"{'; '.join(listed)}; {usual:.4g} mm elsewhere"
    if lost:
        raise refused("E-DCM-13", where=where, found=result)
    fault, fix = "slices are unevenly spaced", "reconstruct with one slice spacing, or give one slab alone"
    raise refused("E-DCM-17", where=where, found=result, fault=fault, fix=fix)


def _step(slices: Sequence[Sequence[Frame]], origins: np.ndarray, normal: np.ndarray, where: str) -> np.ndarray:
    if len(origins) > 1:
        return (origins[-1] - origins[0]) / (len(origins) - 1)
    thick = slices[0][0].step_mm
    if not thick:
        place, fix = f"{where}: {frame_names(slices[0][:1])}", "export the original series from the archive"
        text = "none, and there is one slice only"
        raise refused("E-DCM-20", where=f"{place}: Slice Thickness", found=text, fix=fix)
    return normal * thick
