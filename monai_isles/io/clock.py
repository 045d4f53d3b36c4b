"""Decide when each frame of a series was taken, and state the source of the times."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from monai_isles.errors import refused
from monai_isles.io.header import bare_step, frame_time_s, parse_header
from monai_isles.io.payload import peek, sha256_of

# seconds between frames, or the time of every frame, given by the user; None: those of the file
UserTimes = float | Sequence[float] | None

SHORTEST_STEP_S, LONGEST_STEP_S = 0.2, 20.0
AGREE = 0.01  # clocks of one series, and a step that is worked out, are trusted to this part
SECOND_US, HOUR_US, DAY_US = 1_000_000, 3_600_000_000, 86_400_000_000

# clocks of a DICOM frame, in the order of trust; Content Time is when a picture was computed and is not among them
STRONG = (
    "FrameAcquisitionDateTime", "FrameReferenceDateTime", "MidScanTime", "AcquisitionDateTime", "AcquisitionTime",
)  # fmt: skip
WEAK = (
    "TriggerTime", "FrameReferenceTime", "TemporalPositionTimeOffset", "TemporalPositionIndex",
    "TemporalPositionIdentifier",
)  # fmt: skip
CLOCKS = (*STRONG, *WEAK)
# clocks that must agree with one another; positions count frames, not seconds, where a protocol has two phases
_MEASURED = (*STRONG, "TriggerTime", "FrameReferenceTime", "TemporalPositionTimeOffset")
# what puts frames in order where the user, or a clock without fractions, gives the step
ORDERS = (*CLOCKS, "PositionInTime", "AcquisitionNumber", "InstanceNumber", "FrameNumber", "ContentTime")
_WORDS = {"MidScanTime": "MidScanTime (GEMS_ACQU_01)"}
_LISTS = ("FrameTimesStart", "VolumeTiming", "AcquisitionTimes", "AcquisitionTime")
# SimpleITK and ITK state 1 s, with the unit, for frames that were joined without a time
_EXACTLY_ONE = (
    "pixdim[4] is exactly 1 s, which some programs also write where they know no time: compare with the protocol (--dt)"
)
_ISLES_2018 = re.compile(r"\.CT_4DPWI\.[^.]+\.nii(?:\.gz)?$", re.IGNORECASE)


@dataclass(frozen=True)
class Clock:
    """Hold the times at which frames were taken.

    Shapes: ``times_s`` one array a slice of a DICOM series, or one (T,) for all.  Units: s since the first frame.
    Args:
        source: words for a reader: an attribute, a file, an option.
        remarks: what a reader of the results must know about these times.
    """

    times_s: list[np.ndarray]
    source: str
    remarks: tuple[str, ...] = ()


# --- the user


def read_times(path: str | Path) -> list[float]:
    """Read one number per frame from a text file (separated by lines, blanks, commas or semicolons) or from JSON."""
    try:
        words = re.split(r"[\s,;\[\]]+", Path(path).read_text(encoding="utf-8-sig").strip(" \t\r\n[],;"))
        return [float(word) for word in words]
    except (OSError, ValueError) as error:
        result = f"{type(error).__name__}: no list of numbers"
        raise refused("E-TIME-05", where=f"--times {path}", found=result) from error


def require_user_times(user_times: UserTimes) -> None:
    """Refuse a step or times that no perfusion scan has."""
    if user_times is None:
        return
    if isinstance(user_times, int | float):
        if not 0 < user_times <= LONGEST_STEP_S:
            raise refused("E-PERF-10", where="--dt", found=f"{user_times:g} s", longest_step_s=LONGEST_STEP_S)
        return
    steps = np.diff(np.asarray(user_times, float))
    if len(user_times) < 2 or not np.isfinite(steps).all() or steps.min() <= 0 or steps.max() > LONGEST_STEP_S:
        apart = f"steps from {steps.min():g} to {steps.max():g} s" if steps.size else "no steps"
        raise refused("E-TIME-05", where="--times", found=f"{len(user_times)} times, {apart}")


def _user_clock(user_times: float | Sequence[float], frames: int, where: str) -> Clock:
    require_user_times(user_times)
    if isinstance(user_times, int | float):
        return Clock([np.arange(frames) * float(user_times)], f"given (--dt {user_times:g})")
    if len(user_times) != frames:
        raise refused("E-TIME-05", where=where, found=f"{len(user_times)} times for {frames} frames (--times)")
    return Clock([np.asarray(user_times, float) - float(user_times[0])], "given (--times)")


# --- NIfTI


def nifti_clock(path: Path, frames: int, user_times: UserTimes = None) -> Clock:
    """Return the times of the frames of a 4D NIfTI file.

    In this order: the user's times; the JSON file of the same name (``FrameTimesStart``, ``VolumeTiming``,
    ``AcquisitionTimes``, else ``RepetitionTime``); ``pixdim[4]`` where the header states a unit of time; 1 s for a
    file named as ISLES 2018 names its series, where the header states nothing.

    Source: NIfTI-1 ``xyzt_units``; BIDS 1.10; ``tests/io/test_clock.py``.
    """
    if user_times is not None:
        return _user_clock(user_times, frames, str(path))
    header = parse_header(peek(path, str(path)), str(path))
    step, bare = frame_time_s(header), bare_step(header)
    beside, name, fault = _sidecar(path)
    stated = _from_sidecar(beside, frames, str(name))
    if stated is not None:
        return _agreeing(_plausible(stated, str(path)), step, str(path))
    if step is not None:
        notes: tuple[str, ...] = (f"{name.name} {fault}",) if fault else ()
        if step == 1.0 and not _ISLES_2018.search(path.name) and not bytes(header["descrip"]).strip(b"\0 "):
            notes += (_EXACTLY_ONE,)
        return _plausible(Clock([np.arange(frames) * step], "pixdim[4]", notes), str(path))
    if _ISLES_2018.search(path.name) and bare in (None, 1.0):
        return Clock([np.arange(frames) * 1.0], "rule of the ISLES 2018 layout (1 s)")
    missing = "no time between frames (pixdim[4] is 0)"
    if bare is not None:
        missing = f"pixdim[4] = {bare:g} without a unit of time"
    result = f"{missing}, no times in {name.name}{f' ({fault})' if fault else ''}"
    raise refused("E-TIME-01", where=str(path), found=result)


def sidecar(path: Path) -> Path:
    """Return the path of an image's JSON file, there or not."""
    return path.with_name(re.sub(r"\.nii(\.gz)?$", "", path.name, flags=re.IGNORECASE) + ".json")


def b_values(path: Path) -> Path:
    """Return the path of the b-values of a diffusion series, as dcm2niix and BIDS name it, there or not."""
    return sidecar(path).with_suffix(".bval")


def sidecar_sha256(entry: Mapping[Any, Any]) -> dict[str, str]:
    """Return the checksums of the files that state times and b-values of an entry: ``ctp.json``, ``dwi.bval``."""
    places = {"ctp.json": ("ctp", sidecar), "dwi.bval": ("dwi", b_values)}
    files = {name: beside(Path(str(entry[key]))) for name, (key, beside) in places.items() if entry.get(key)}
    return {name: sha256_of(file) for name, file in files.items() if file.is_file()}


def _sidecar(path: Path) -> tuple[Mapping[str, Any], Path, str]:
    """Return the content of an image's JSON file, its path, and the fault if it cannot be used."""
    name = sidecar(path)
    if not name.is_file():
        return {}, name, ""
    try:
        beside = json.loads(name.read_bytes())
    except (OSError, ValueError) as error:
        return {}, name, f"cannot be read ({type(error).__name__})"
    return (beside, name, "") if isinstance(beside, dict) else ({}, name, "holds no names")


def _from_sidecar(beside: Mapping[str, Any], frames: int, name: str) -> Clock | None:
    """Return the first clock that a sidecar states; others in it must agree."""
    lists = [_list_clock(beside[key], key, frames, name) for key in _LISTS if isinstance(beside.get(key), list)]
    step, source = beside.get("RepetitionTime"), f"RepetitionTime of {Path(name).name}"
    if not isinstance(step, int | float) or isinstance(step, bool) or not step > 0:
        step = None
    if not lists:
        return None if step is None else Clock([np.arange(frames) * float(step)], source)
    first, *others = lists
    for other in others:
        apart = np.abs(first.times_s[0] - other.times_s[0]).max()
        if apart > max(0.1, AGREE * first.times_s[0][-1]):
            raise refused("E-TIME-02", where=name, found=f"{first.source} and {other.source} {apart:.3g} s apart")
    return _agreeing(first, step, name, source)


def _list_clock(values: Sequence[object], key: str, frames: int, name: str) -> Clock:
    """Return the clock of a list of a sidecar, one time per frame; whole seconds are treated as in DICOM."""
    where, source = f"{name}: {key}", f"{key} of {Path(name).name}"
    times = [_seconds(value, of_day=key.startswith("Acquisition")) for value in values]
    if len(times) != frames:
        raise refused("E-TIME-05", where=where, found=f"{len(times)} values for {frames} frames")
    if None in times:
        raise refused("E-TIME-05", where=where, found=f"no time: {values[times.index(None)]!r:.40}")
    stated = unwrap_summer_time(unwrap_midnight([round(value * 1e6) for value in times if value is not None]))
    if (np.diff(stated) <= 0).any():
        raise refused("E-TIME-04", where=where, found="times that do not rise")
    if _whole_seconds([stated]) and not _even([stated]):
        worked_out = _work_out_step(source, {source: [stated]}, [source], where)
        assert worked_out is not None  # the times rise, and give the order
        return worked_out
    return Clock([(np.array(stated) - stated[0]) / SECOND_US], source)


def _seconds(value: object, *, of_day: bool) -> float | None:
    """Return a time of a list as seconds: a number, or a time of day as dcm2niix writes it (``10:00:01.300``)."""
    if isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value):
        return float(value)
    if not isinstance(value, str):
        return None
    if not of_day and re.fullmatch(r"\s*\d+(\.\d*)?\s*", value):
        return float(value)
    clock = clock_us(value)
    return None if clock is None else clock / 1e6


def _agreeing(clock: Clock, step_s: float | None, where: str, source: str = "pixdim[4]") -> Clock:
    """Return the clock of a sidecar, unless a stated step is neither its median nor its mean."""
    steps = np.diff(clock.times_s[0])
    if step_s is None or any(abs(own - step_s) <= AGREE * own for own in (float(np.median(steps)), steps.mean())):
        return clock
    result = f"{clock.source}: {np.median(steps):.4g} s between frames; {source}: {step_s:.4g} s"
    raise refused("E-TIME-02", where=where, found=result)


# --- DICOM


def clock_us(text: str) -> int | None:
    """Return the microseconds since midnight of a DICOM time (``HHMMSS.FFFFFF``), None if it is none."""
    digits = re.sub(r"^(\d{5})(?!\d)", r"0\1", text.strip().replace(":", ""))  # a number lost its leading zero
    match = re.match(r"(\d{2})(\d{2})?(\d{2})?(?:\.(\d{1,6})\d*)?$", digits)
    if match is None:
        return None
    hour, minute, second = (int(part or 0) for part in match.groups()[:3])
    return ((hour * 60 + minute) * 60 + second) * SECOND_US + int((match[4] or "0").ljust(6, "0"))


def unwrap_midnight(times_us: Sequence[int]) -> list[int]:
    """Return times with those after midnight moved to the next day; dates more than a day apart are left out."""
    if times_us and max(times_us) - min(times_us) > DAY_US:
        times_us = [time % DAY_US for time in times_us]  # some lack their date, or another was put in its place
    one_day = len({time // DAY_US for time in times_us}) == 1
    if one_day and max(times_us) - min(times_us) > DAY_US // 2:
        return [time + DAY_US if time % DAY_US < DAY_US // 2 else time for time in times_us]
    return list(times_us)


def unwrap_summer_time(times_us: Sequence[int]) -> list[int]:
    """Return the times of a scan during which the clock was set forward or back by an hour, as if it had not been.

    The two parts must then follow each other within twice the longest other step.

    >>> [time // SECOND_US for time in unwrap_summer_time([time * SECOND_US for time in (7198, 7199, 3600, 3601)])]
    [7198, 7199, 7200, 7201]
    """
    every = np.unique(times_us)
    gaps = np.diff(every)
    if len(gaps) < 2 or gaps.max() < HOUR_US // 2:
        return list(times_us)
    longest, last = 2 * int(np.sort(gaps)[-2]), int(every[gaps.argmax()])
    if 0 < gaps.max() - HOUR_US <= longest:
        return [time - HOUR_US if time > last else time for time in times_us]
    if 0 < HOUR_US - (every[-1] - every[0]) <= longest:
        return [time + HOUR_US if time <= last else time for time in times_us]
    return list(times_us)


def dicom_clock(
    slices: Sequence[Sequence[Mapping[str, int]]], where: str, user_times: UserTimes = None
) -> Clock | None:
    """Return the times of every frame of every slice, None if no attribute distinguishes the frames.

    The clock is the first of ``CLOCKS`` that all frames hold and that differs between the frames of every slice. A
    clock cut to whole seconds gives way to a finer one; where there is none, the step is worked out from all its times
    and used if it is certain to 1 %. Clocks of the acquisition that disagree are refused.

    Args:
        slices: of every slice, of every frame: the value of each attribute, in microseconds.
        user_times: they take precedence; the attributes then give only the order.
    Source: DICOM PS3.3 C.7.6.1 and C.7.6.16; ``tests/dicom/test_clocks.py``.
    """
    read = {key: result for key in ORDERS if (result := _times(slices, key)) is not None}
    apart = [key for key, times in read.items() if all(len(set(time)) == len(time) for time in times)]
    clocks = [key for key in CLOCKS if key in apart]
    if user_times is not None:
        return _dicom_user_clock(user_times, {key: read[key] for key in apart}, clocks, where) if apart else None
    judged = _MEASURED if any(key in STRONG for key in clocks) else CLOCKS
    _require_agreement({key: read[key] for key in clocks if key in judged}, where)
    whole = [key for key in clocks if _whole_seconds(read[key]) and not _even(read[key])]
    coarse = [key for key in STRONG if key in read and _whole_seconds(read[key]) and len(set(sum(read[key], []))) > 2]
    if fine := [key for key in clocks if key not in whole]:
        if fine[0] in WEAK:
            _require_agreement({key: read[key] for key in (fine[0], *coarse)}, where)
        start = min(min(item) for item in read[fine[0]])
        times = [(np.array(item) - start) / SECOND_US for item in read[fine[0]]]
        return _plausible(Clock(times, _WORDS.get(fine[0], fine[0])), where)
    return _work_out_step(coarse[0], read, apart, where) if coarse else None


def _times(slices: Sequence[Sequence[Mapping[str, int]]], key: str) -> list[list[int]] | None:
    if not all(key in frame for group in slices for frame in group):
        return None
    every = [frame[key] for group in slices for frame in group]
    flat = iter(unwrap_summer_time(unwrap_midnight(every)) if key in STRONG else unwrap_midnight(every))
    return [[next(flat) for _ in group] for group in slices]


def _require_agreement(clocks: Mapping[str, Sequence[Sequence[int]]], where: str) -> None:
    """Refuse two acquisition clocks that disagree about the intervals between the frames of a slice."""
    (first, *others) = list(clocks) or [""]
    for other in others:
        for mine, yours in zip(clocks[first], clocks[other], strict=True):
            a, b = ((np.array(item) - min(item)) / SECOND_US for item in (mine, yours))
            coarse = any(_whole_seconds([item]) for item in (mine, yours))
            if np.abs(a - b).max() > max(AGREE * max(a.max(), b.max()), 1.0 if coarse else 0.1):
                result = f"{len(a)} frames in {a.max():.4g} s by {first}, in {b.max():.4g} s by {other}"
                raise refused("E-TIME-02", where=where, found=result)


def _whole_seconds(times_us: Sequence[Sequence[int]]) -> bool:
    return all(time % SECOND_US == 0 for item in times_us for time in item)


def _even(times_us: Sequence[Sequence[int]]) -> bool:
    """Return whether times in whole seconds are exact: equal steps, or phases that no single step explains."""
    # The steps of a protocol grow from phase to phase; those of a clock that was cut go up and down.
    for item in times_us:
        cut = np.sort(item) / SECOND_US
        steps = np.diff(cut)
        low, high = _steps_allowed(cut)
        changes = np.diff(steps)
        changes = changes[np.abs(changes) <= 1]  # the cut alone makes no larger ones: those are phases of a protocol
        up_and_down = np.count_nonzero(changes) > 2 and (changes < 0).any()
        if steps.size and np.ptp(steps) and (low < high or up_and_down):
            return False
    return True


def _work_out_step(key: str, read: Mapping[str, list[list[int]]], apart: Sequence[str], where: str) -> Clock | None:
    """Estimate even times from a clock cut to whole seconds; the possible steps must agree to 1 %."""
    if key not in apart and not apart:
        return None
    order = key if key in apart else apart[0]
    ranks = [np.argsort(np.argsort(item)) for item in read[order]]
    low, high = 0.0, np.inf
    for times, rank in zip(read[key], ranks, strict=True):
        cut = np.array(times)[np.argsort(rank)] / SECOND_US
        below, above = _steps_allowed(cut)
        low, high = max(low, below), min(high, above)
    if not 0 < low < high or high - low > 2 * AGREE * low:
        allowed = f"steps of {low:.3g} to {high:.3g} s fit" if low < high else "no even step fits"
        raise refused("E-TIME-03", where=where, found=f"{key} in whole seconds: {allowed}")
    step, start = (low + high) / 2, min(min(item) for item in read[key])
    placed = []
    for times, rank in zip(read[key], ranks, strict=True):
        own = (np.array(times) - start) / SECOND_US
        placed.append(rank * step + float((own - rank * step).mean()))
    first = min(float(item.min()) for item in placed)
    remark = f"{key} is cut to whole seconds; a step of {step:.3f} s was worked out from all of them"
    source = f"{_WORDS.get(key, key)} in whole seconds"
    return _plausible(Clock([item - first for item in placed], source, (remark,)), where)


def _steps_allowed(cut: np.ndarray) -> tuple[float, float]:
    """Return the least and the largest even step whose times, cut to whole seconds, are these (T,)."""
    apart = np.subtract.outer(cut, cut)
    frames = np.subtract.outer(np.arange(len(cut)), np.arange(len(cut)))
    later = frames > 0
    return (
        float(((apart[later] - 1) / frames[later]).max(initial=0.0)),
        float(((apart[later] + 1) / frames[later]).min(initial=np.inf)),
    )


def _dicom_user_clock(
    user_times: float | Sequence[float], apart: Mapping[str, list[list[int]]], clocks: Sequence[str], where: str
) -> Clock:
    """Return the user's times in the order of the file; slabs keep their offsets to each other."""
    key = clocks[0] if clocks else next(iter(apart))
    frames, start = max(map(len, apart[key])), min(min(item) for item in apart[key])
    given = _user_clock(user_times, frames, where)
    late = [min(item) - start for item in apart[key]]
    longest = next(np.sort(item) for item in apart[key] if len(item) == frames)
    usual = float(np.median(np.diff(longest))) if frames > 1 and clocks else np.inf
    uneven = min(map(len, apart[key])) < frames
    if (uneven and not clocks) or (not isinstance(user_times, int | float) and (uneven or max(late) > 0.25 * usual)):
        result = "slices with different numbers of frames, or taken at different times"
        raise refused("E-TIME-05", where=where, found=f"{given.source}: {result}")
    step, times = float(np.median(np.diff(given.times_s[0]))) if frames > 1 else 0.0, []
    for item, own in zip(apart[key], late, strict=True):
        rank = np.argsort(np.argsort(item))
        if uneven:  # the nearest frame of the longest slice
            rank = np.abs(longest[None] - longest[0] - (np.array(item) - own)[:, None] + start).argmin(1)
        times.append(given.times_s[0][rank] + step * own / usual)
    return Clock(times, f"{given.source}, in the order of {_WORDS.get(key, key)}")


def _plausible(clock: Clock, where: str) -> Clock:
    """Return the clock if its steps are plausible for a perfusion scan, else refuse it."""
    steps = np.concatenate([np.diff(np.sort(item)) for item in clock.times_s])
    if not steps.size:
        return clock
    usual, longest = float(np.median(steps)), float(steps.max())
    if usual < SHORTEST_STEP_S or longest > LONGEST_STEP_S or float(steps.min()) <= 0:
        result = f"{clock.source}: {usual:.4g} s between frames, at most {longest:.4g} s"
        raise refused("E-TIME-04", where=where, found=result)
    return clock
