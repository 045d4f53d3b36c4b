"""The frames of a DICOM file, classic or enhanced multi-frame, each with its place, its scale and its times."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from monai_isles.dicom.header import DAMAGE, DicomFile, damaged
from monai_isles.errors import IslesError, refused

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


DAY_US = 86_400_000_000
TIME_ATTRIBUTES = (
    "FrameAcquisitionDateTime", "AcquisitionDateTime", "AcquisitionTime", "TriggerTime", "TemporalPositionTimeOffset",
    "TemporalPositionIndex", "TemporalPositionIdentifier", "ContentTime",
)  # fmt: skip
_CLOCK = re.compile(r"(\d{2})(\d{2})?(\d{2})?(?:\.(\d{1,6}))?$")


def clock_us(text: str) -> int | None:
    """Return the microseconds since midnight of a DICOM time (``HHMMSS.FFFFFF``), None if it is none."""
    match = _CLOCK.match(text.strip().replace(":", ""))
    if match is None:
        return None
    hour, minute, second = (int(part or 0) for part in match.groups()[:3])
    return ((hour * 60 + minute) * 60 + second) * 1_000_000 + int((match[4] or "0").ljust(6, "0"))


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
    """Return what the attributes of one frame say about its time, in microseconds by attribute.

    Times of day without a date are counted from midnight; positions in time are multiplied by the temporal resolution.

    Args:
        groups: where to look, the frame's own first, the file's last.
    """
    day = {"AcquisitionTime": "AcquisitionDate", "ContentTime": "ContentDate"}
    found: dict[str, int | None] = {}
    for key in ("FrameAcquisitionDateTime", "AcquisitionDateTime"):
        found[key] = _parsed(_first(groups, key), instant_us)
    for key, dated in day.items():
        clock, on = _first(groups, key), _first(groups, dated)
        found[key] = _parsed(on and clock and on + clock, instant_us) or _parsed(clock, clock_us)
    found["TriggerTime"] = _scaled(_first(groups, "TriggerTime"), "1e3")
    found["TemporalPositionTimeOffset"] = _scaled(_first(groups, "TemporalPositionTimeOffset"), "1e6")
    step_ms = _first(groups, "TemporalResolution")
    for key in ("TemporalPositionIndex", "TemporalPositionIdentifier"):
        position = _first(groups, key)
        found[key] = _scaled(position, step_ms, 1000.0) if step_ms else None
    return {key: found[key] for key in TIME_ATTRIBUTES if found.get(key) is not None}


def unwrapped(times_us: Sequence[int]) -> list[int]:
    """Return times of day with those after midnight moved to the next day."""
    if times_us and max(times_us) < DAY_US and max(times_us) - min(times_us) > DAY_US // 2:
        return [time + DAY_US if time < DAY_US // 2 else time for time in times_us]
    return list(times_us)


def _first(groups: Sequence[Dataset], keyword: str) -> str | None:
    for group in groups:
        try:
            value = group.get(keyword)
        except DAMAGE:
            continue
        if value not in (None, ""):
            return str(value)
    return None


def _parsed(text: str | None, parse: Callable[[str], int | None]) -> int | None:
    return parse(text) if text else None


def _scaled(text: str | None, factor: str, more: float = 1.0) -> int | None:
    try:
        return None if text is None else round(float(text) * float(factor) * more)
    except (ValueError, OverflowError):
        return None


_GROUPS = (
    "PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence", "PixelValueTransformationSequence",
    "FrameContentSequence", "TemporalPositionSequence", "RealWorldValueMappingSequence", "CTAcquisitionDetailsSequence",
)  # fmt: skip


@dataclass(frozen=True)
class Frame:
    """One picture of one slice.

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
    """Return how many frames a file claims.

    Raises:
        IslesError: ``E-DCM-06`` not a number of one or more.
    """
    text = file.text("NumberOfFrames") or "1"
    if not text.isdigit() or int(text) < 1:
        raise damaged(file.path, f"Number of Frames {text[:20]!r}")
    return int(text)


def frames_of(file: DicomFile) -> list[Frame]:
    """Return every frame of a file.

    Raises:
        IslesError: ``E-DCM-06`` per-frame groups that do not fit the number of frames, ``E-DCM-20`` an attribute is
            missing or no number.
    """
    if "frames" not in file.known:
        file.known["frames"] = _frames(file)
    return list(file.known["frames"])


def _frames(file: DicomFile) -> list[Frame]:
    count, header = frame_count(file), file.header
    try:
        shared = list(header.get("SharedFunctionalGroupsSequence") or ())
        each = list(header.get("PerFrameFunctionalGroupsSequence") or ())
    except DAMAGE as error:
        raise damaged(file.path, f"functional groups cannot be read ({type(error).__name__})") from error
    if (count > 1 or each) and len(each) != count:
        raise damaged(file.path, f"{count} frames, {len(each)} per-frame functional groups")
    if not each:
        return [_frame(file, 0, [header, *_nested(file, [header])])]
    common = [*_nested(file, shared), header, *_nested(file, [header])]
    return [_frame(file, n, [*_nested(file, [group]), *common]) for n, group in enumerate(each)]


def _nested(file: DicomFile, groups: Sequence[Dataset]) -> list[Dataset]:
    try:
        return [item for group in groups for name in _GROUPS for item in (group.get(name) or ())]
    except DAMAGE as error:
        raise damaged(file.path, f"functional groups cannot be read ({type(error).__name__})") from error


def _frame(file: DicomFile, index: int, groups: Sequence[Dataset]) -> Frame:
    slope, intercept = _numbers(file, groups, "RescaleSlope", 1), _numbers(file, groups, "RescaleIntercept", 1)
    units = _text(groups, "RescaleType")
    if slope is None:
        slope, intercept = (_numbers(file, groups, f"RealWorldValue{part}", 1) for part in ("Slope", "Intercept"))
        units = _coded_units(groups)
    step = _numbers(file, groups, "SpacingBetweenSlices", 1) or _numbers(file, groups, "SliceThickness", 1)
    return Frame(
        file,
        index,
        _required(file, groups, "ImagePositionPatient", 3),
        _required(file, groups, "ImageOrientationPatient", 6),
        _required(file, groups, "PixelSpacing", 2),
        slope and slope[0],
        intercept[0] if intercept else None,
        units,
        frame_times(groups),
        step and step[0],
        (_numbers(file, groups, "GantryDetectorTilt", 1) or (0.0,))[0],
    )


def _required(file: DicomFile, groups: Sequence[Dataset], keyword: str, count: int) -> tuple[float, ...]:
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
            numbers = tuple(float(one) for one in ([value] if single else value))
        except DAMAGE as error:
            raise _not_there(file, keyword, f"not a number ({type(error).__name__})") from error
        if len(numbers) != count or not all(map(math.isfinite, numbers)):
            raise _not_there(file, keyword, f"{len(numbers)} values, {count} finite ones wanted")
        return numbers
    return None


def _text(groups: Sequence[Dataset], keyword: str) -> str:
    for group in groups:
        try:
            value = group.get(keyword)
        except DAMAGE:
            continue
        if value:
            return str(value)
    return ""


def _coded_units(groups: Sequence[Dataset]) -> str:
    for group in groups:
        try:
            codes = list(group.get("MeasurementUnitsCodeSequence") or ())
        except DAMAGE:
            continue
        if codes:
            return _text(codes, "CodeValue")
    return ""


def _not_there(file: DicomFile, keyword: str, found: str) -> IslesError:
    return refused("E-DCM-20", where=f"{file.path}: {keyword}", found=found)
