"""When a frame was taken: the attributes that may say so, in one order, in whole microseconds."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date
from typing import TYPE_CHECKING

from monai_isles.dicom.header import DAMAGE

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
