"""List the frames of a DICOM file, classic or enhanced, each with its place, scale and times."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, cast

from monai_isles.dicom.header import PARSER_ERRORS, DicomFile, damage_error
from monai_isles.errors import IslesError, refused
from monai_isles.io.clock import DAY_US, ORDERS, clock_us

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def instant_us(text: str) -> int | None:
    """Return the microseconds of a DICOM date and time (``YYYYMMDDHHMMSS.FFFFFF&ZZZZ``), None if it is none."""
    text = re.split(r"[+-]", text.strip())[0]
    clock = clock_us(text[8:])
    try:
        day = date(int(text[:4]), int(text[4:6]), int(text[6:8])).toordinal()
    except ValueError:
        return None
    return None if clock is None else day * DAY_US + clock


def frame_times(groups: Sequence[Dataset]) -> dict[str, int]:
    """Return the time and order attributes of one frame, by the names of ``clock.ORDERS``.

    Units: microseconds; times of day without a date count from midnight, positions in time are multiplied by the
    temporal resolution; what only gives an order is a number of its own.
    """
    result: dict[str, int | None] = {}
    for key in ("FrameAcquisitionDateTime", "FrameReferenceDateTime", "AcquisitionDateTime"):
        result[key] = instant_us(_first(groups, key))
    for key, dated in (("AcquisitionTime", "AcquisitionDate"), ("ContentTime", "ContentDate")):
        clock, on = _first(groups, key), _first(groups, dated)
        result[key] = (instant_us(on + clock) if on and clock else None) or clock_us(clock)
    result["MidScanTime"] = _scale(_mid_scan(groups), 1e6)
    for key, unit_us in (("TriggerTime", 1e3), ("FrameReferenceTime", 1e3), ("TemporalPositionTimeOffset", 1e6)):
        result[key] = _scale(_first(groups, key), unit_us)
    step_ms = _scale(_first(groups, "TemporalResolution"), 1e3)
    for key in ("TemporalPositionIndex", "TemporalPositionIdentifier"):
        position = _scale(_first(groups, key), 1)
        result[key] = position * step_ms if position is not None and step_ms else None
        result["PositionInTime"] = result.get("PositionInTime") or position
    for key in ("AcquisitionNumber", "InstanceNumber"):
        result[key] = _scale(_first(groups, key), 1)
    return {key: value for key in ORDERS if (value := result.get(key)) is not None}


def _mid_scan(groups: Sequence[Dataset]) -> str:
    """Return GE's Mid Scan Time in s, from the private block of its creator, empty where there is none."""
    for group in groups:
        try:
            held = group.private_block(0x19, "GEMS_ACQU_01")[0x24].value
        except PARSER_ERRORS:  # a KeyError where there is none
            continue
        return held.decode("latin-1").strip(" \0") if isinstance(held, bytes) else str(held)
    return ""


def _values(groups: Sequence[Dataset], keyword: str) -> Iterator[Any]:
    """Yield the values of an attribute that groups hold and that can be read."""
    for group in groups:
        try:
            value = group.get(keyword)
        except PARSER_ERRORS:
            continue
        if value not in (None, ""):
            yield value


def _first(groups: Sequence[Dataset], keyword: str) -> str:
    return next((str(value) for value in _values(groups, keyword)), "")


def _scale(text: str, unit: float) -> int | None:
    try:
        return round(float(text) * unit)
    except (ValueError, OverflowError):
        return None


_GROUPS = (
    "PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence", "PixelValueTransformationSequence",
    "FrameContentSequence", "TemporalPositionSequence", "RealWorldValueMappingSequence", "CTAcquisitionDetailsSequence",
    "CTXRayDetailsSequence",
)  # fmt: skip


@dataclass(frozen=True)
class Frame:
    """Hold one picture of one slice.

    Units: ``position``, ``spacing`` (between rows, between columns) and ``step_mm`` in mm, LPS; ``tilt_deg`` degrees;
    ``times_us`` microseconds by attribute.
    """

    file: DicomFile
    index: int
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing: tuple[float, ...]
    slope: float | None
    intercept: float | None
    units: str
    times_us: dict[str, int]
    step_mm: float | None
    tilt_deg: float


def frame_count(file: DicomFile) -> int:
    """Return the number of frames stated by a file."""
    text = file.text("NumberOfFrames") or "1"
    if not text.isdigit() or int(text) < 1:
        raise damage_error(file.path, f"Number of Frames {text[:20]!r}")
    return int(text)


def frames_of(file: DicomFile) -> list[Frame]:
    """Return every frame of a file."""
    if "frames" not in file.known:
        file.known["frames"] = _frames(file)
    return list(cast(list[Frame], file.known["frames"]))


def tube_kv(file: DicomFile) -> float | None:
    """Return the tube voltage in kV that a classic or enhanced file states; None without a positive number."""
    try:
        groups = [file.header, *_nested_groups(file, file.header.get("SharedFunctionalGroupsSequence") or ())]
        stated = [float(value) for group in groups if (value := group.get("KVP")) not in (None, "")]
    except (*PARSER_ERRORS, IslesError):  # nothing depends on it
        return None
    return stated[0] if stated and stated[0] > 0 else None


def _frames(file: DicomFile) -> list[Frame]:
    count, header = frame_count(file), file.header
    shared = _nested_groups(file, [header], ["SharedFunctionalGroupsSequence"])
    each = _nested_groups(file, [header], ["PerFrameFunctionalGroupsSequence"])
    if (count > 1 or each) and len(each) != count:
        raise damage_error(file.path, f"{count} frames, {len(each)} per-frame functional groups")
    if not each:
        return [_frame(file, 0, [header, *_nested_groups(file, [header])])]
    # Per-frame values come before shared ones, those before the header.
    common = [*_nested_groups(file, shared), header, *_nested_groups(file, [header])]
    frames = [_frame(file, n, [*_nested_groups(file, [group]), *common]) for n, group in enumerate(each)]
    for frame in frames:
        frame.times_us["FrameNumber"] = frame.index
    return frames


def _nested_groups(file: DicomFile, groups: Sequence[Dataset], names: Sequence[str] = _GROUPS) -> list[Dataset]:
    try:
        return [item for group in groups for name in names for item in (group.get(name) or ())]
    except PARSER_ERRORS as error:
        raise damage_error(file.path, f"functional groups cannot be read ({type(error).__name__})") from error


def _frame(file: DicomFile, index: int, groups: Sequence[Dataset]) -> Frame:
    slope, intercept = _numbers(file, groups, "RescaleSlope", 1), _numbers(file, groups, "RescaleIntercept", 1)
    units = _first(groups, "RescaleType")
    if slope is None and intercept is None:  # parametric maps state a real-world value mapping instead
        slope, intercept = (_numbers(file, groups, f"RealWorldValue{part}", 1) for part in ("Slope", "Intercept"))
        codes = next(filter(None, _values(groups, "MeasurementUnitsCodeSequence")), ())
        units = _first(codes, "CodeValue")
    # Without a stated spacing, or one of 0, the thickness is the step: contiguous slices.
    stated = (_numbers(file, groups, key, 1) for key in ("SpacingBetweenSlices", "SliceThickness"))
    step_mm = next((step[0] for step in stated if step and step[0] > 0), None)
    (tilt_deg,) = _numbers(file, groups, "GantryDetectorTilt", 1) or (0.0,)
    wanted = (("ImagePositionPatient", 3), ("ImageOrientationPatient", 6), ("PixelSpacing", 2))
    position, orientation, spacing = (_require_numbers(file, groups, keyword, count) for keyword, count in wanted)
    scale = (slope[0] if slope else None, intercept[0] if intercept else None)
    return Frame(file, index, position, orientation, spacing, *scale, units, frame_times(groups), step_mm, tilt_deg)


def _require_numbers(file: DicomFile, groups: Sequence[Dataset], keyword: str, count: int) -> tuple[float, ...]:
    numbers = _numbers(file, groups, keyword, count)
    if numbers is None:
        raise _not_there(file, keyword, "no such attribute")
    return numbers


def _numbers(file: DicomFile, groups: Sequence[Dataset], keyword: str, count: int) -> tuple[float, ...] | None:
    """Return the numbers of an attribute from the first group that holds it, None where none does."""
    for group in groups:
        try:
            value = group.get(keyword)
            if value is None or value == "":
                continue
            single = isinstance(value, str | float | int)
            numbers = tuple(float(item) for item in ([value] if single else value))
        except PARSER_ERRORS as error:
            raise _not_there(file, keyword, f"not a number ({type(error).__name__})") from error
        if len(numbers) != count or not all(map(math.isfinite, numbers)):
            raise _not_there(file, keyword, f"{len(numbers)} values, {count} finite ones wanted")
        return numbers
    return None


def _not_there(file: DicomFile, keyword: str, found: str) -> IslesError:
    return refused("E-DCM-20", where=f"{file.path}: {keyword}", found=found)
