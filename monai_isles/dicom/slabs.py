"""Order frames in time: the time attribute, slabs of a shuttled table, lost or duplicate frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise, product

import numpy as np

from monai_isles.dicom.frames import Frame
from monai_isles.dicom.stack import Stack, frame_names
from monai_isles.errors import IslesError, refused
from monai_isles.io.clock import CLOCKS, Clock, UserTimes, dicom_clock
from monai_isles.io.findings import WARNING, Finding, finding


@dataclass(frozen=True)
class Timed:
    """Hold the frames of every slice in order of time.

    Shapes: ``frames`` one list a slice; ``times_s`` one array a slice (T of its slab,); ``slabs`` slice numbers.
    Units: seconds since the first frame of all.
    Args:
        clock: of all frames; ``source`` is where the times are from.
        findings: frames that were left out, times that were estimated.
    """

    frames: list[list[Frame]]
    times_s: list[np.ndarray]
    slabs: list[list[int]]
    clock: Clock
    findings: list[Finding] = field(default_factory=list)


def order_frames(stack: Stack, where: str, dt_s: UserTimes = None) -> Timed:
    """Return the frames of each slice in the order they were taken, by ``io.clock.dicom_clock``.

    Slices whose times lie together, or follow one another within a pass, make a slab; a shuttled table gives two or
    more. A last or first pass that lacks slices is left out.
    """
    _require_no_copies(stack, where)
    clock = dicom_clock([[frame.times_us for frame in group] for group in stack.frames], where, dt_s)
    if clock is None:
        raise _no_time(stack, where)
    orders = [np.argsort(item, kind="stable") for item in clock.times_s]
    frames = [[group[n] for n in order] for group, order in zip(stack.frames, orders, strict=True)]
    times = [item[order] for item, order in zip(clock.times_s, orders, strict=True)]
    findings = [finding("E-TIME-30", WARNING, where=where, found=remark) for remark in clock.remarks]
    slabs = _slabs(times)
    for slab in slabs:
        lacking = _lacking_ends(slab, times)
        first, last = (any(ends) for ends in zip(*lacking.values(), strict=True)) if lacking else (False, False)
        if last:
            text = f"frame {max(len(times[n]) for n in slab)} lacks slices"
            findings.append(finding("E-DCM-61", WARNING, where=where, found=text))
        if first:
            fault = "the first pass lacks slices and is left out"
            findings.append(finding("E-DCM-61", WARNING, where=where, found="frame 1", fault=fault))
        for n, (no_first, no_last) in (lacking or {}).items():
            whole = slice(int(first and not no_first), len(times[n]) - int(last and not no_last))
            frames[n], times[n] = frames[n][whole], times[n][whole]
        if lacking is None:
            _require_whole(slab, frames, times, stack.places_mm, where)
    return Timed(frames, times, slabs, clock, findings)


def common_times(timing: Timed, where: str) -> tuple[np.ndarray, bool]:
    """Return the times of the frames and whether the slices must be interpolated to them, which is remarked.

    One slab whose slices differ by at most a quarter of the shortest step: the mean time of each frame, as it is.
    Else the times of the slab that began first, those that lie inside the times of every other slice: nothing is
    extrapolated. At the ends of a table that sweeps, two passes follow at once: slices whose shortest step is less than
    nine tenths of that of the others give no times.
    """
    if len(timing.slabs) == 1:
        table = np.stack(timing.times_s)
        step = float(np.diff(table, axis=1).min()) if table.shape[1] > 1 else np.inf
        if float(np.ptp(table, axis=0).max()) <= 0.25 * step:
            # Slices of one pass: the mean time of a frame is right to a quarter of a step.
            return (table[0] if not np.ptp(table, axis=0).any() else table.mean(axis=0)), False
    # Only inside the times of every slice: interpolated, never extrapolated.
    shortest = [float(np.diff(times).min(initial=np.inf)) for times in timing.times_s]
    even = [times for times, step in zip(timing.times_s, shortest, strict=True) if step >= 0.9 * max(shortest)]
    first = min(even, key=lambda times: times[0])
    begin, end = max(times[0] for times in timing.times_s), min(times[-1] for times in timing.times_s)
    times = first[(first >= begin) & (first <= end)]
    if len(times) < 2:
        starts = ", ".join(f"{len(slab)} slices from {timing.times_s[slab[0]][0]:.2f} s" for slab in timing.slabs[:6])
        text = f"{len(timing.slabs)} slabs: {starts}; {len(times)} times in common"
        raise refused("E-DCM-21", where=where, found=text)
    own = f"{len(timing.slabs)} slabs" if len(timing.slabs) > 1 else "the slices of a pass"
    text = f"{own} with times of their own, {len(times)} common frames"
    timing.findings.append(finding("E-DCM-33", WARNING, where=where, found=text))
    return times, True


def _require_no_copies(stack: Stack, where: str) -> None:
    seen: dict[tuple[str, int], Frame] = {}
    for place, group in zip(stack.places_mm, stack.frames, strict=True):
        for frame in group:
            key = (frame.file.text("SOPInstanceUID") or str(frame.file.path), frame.index)
            if key in seen:
                raise _twice([seen[key], frame], place, where, "one SOP Instance UID")
            seen[key] = frame


def _no_time(stack: Stack, where: str) -> IslesError:
    """Return an error that names a doubled slice if one attribute orders nearly all frames, else "no time"."""
    every = [frame for group in stack.frames for frame in group]
    for key in CLOCKS:
        if not all(key in frame.times_us for frame in every):
            continue
        for place, group in zip(stack.places_mm, stack.frames, strict=True):
            often = Counter(frame.times_us[key] for frame in group)
            alike = [frame for frame in group if often[frame.times_us[key]] > 1]
            if alike and (len(often) > 1 or min(map(len, stack.frames)) == 1):
                return _twice(alike, place, where, f"one {key}")
    clocks = [key for key in CLOCKS if any(key in frame.times_us for frame in every)]
    text = f"{len(every)} frames at {len(stack.frames)} positions; "
    text += f"{', '.join(clocks)} is missing in some or equal for all of a position" if clocks else "no time attribute"
    if any("ContentTime" in frame.times_us for frame in every):
        text += " (ContentTime is the clock of the reconstruction, and is not used)"
    return refused("E-DCM-12", where=where, found=text)


def _twice(frames: Sequence[Frame], place: float, where: str, why: str) -> IslesError:
    return refused("E-DCM-11", where=where, found=f"at {frame_names(frames, place)} ({why})")


def _slabs(times: Sequence[np.ndarray]) -> list[list[int]]:
    # The shortest step of all slices bounds how far apart slices of one pass can be.
    steps = [float(np.diff(time).min()) for time in times if len(time) > 1]
    near = 0.2 * min(steps) if steps else np.inf
    slabs, counts = [[0]], list(map(len, times))
    both = set[int]()  # where slabs overlap, slices have the frames of both
    for n, own in enumerate(counts):
        ends = [next((other for other in part if other != own), 0) for part in (counts[n::-1], counts[n:])]
        both |= {n} if min(ends) > 1 and abs(own - sum(ends)) <= 1 else set()
    for n in range(1, len(times)):
        few, many = sorted((times[n], times[n - 1]), key=len)
        together = np.abs(few[:, None] - many[None, :]).min(axis=1) <= near
        # Half of the frames at the times of the slice before: the same position of the table.
        if together.mean() >= 0.5 and (n - 1 in both) == (n in both):
            slabs[-1].append(n)
        else:
            slabs.append([n])
    return slabs


def _lacking_ends(slab: Sequence[int], times: Sequence[np.ndarray]) -> dict[int, tuple[bool, bool]] | None:
    """Return for each slice whether it lacks the first and the last frame; None if a slice lacks another one.

    Neighbours are compared pass by pass: the delay of a slice changes its sign with the direction of the table.
    """
    most, fewest = (end(len(times[n]) for n in slab) for end in (max, min))
    if fewest < 2:
        return None
    near = 0.5 * min(float(np.diff(times[n]).min()) for n in slab)
    start = next(k for k, n in enumerate(slab) if len(times[n]) == most)
    lacking, passes = {slab[start]: (False, False)}, {slab[start]: times[slab[start]]}
    for before, n in (*pairwise(slab[start:]), *pairwise(slab[start::-1])):
        for first, last in product((0, 1), repeat=2):
            own = np.pad(times[n], (first, last), constant_values=np.nan)
            if len(own) == most and np.nan_to_num(np.abs(own - passes[before])).max() <= near:
                lacking[n], passes[n] = (bool(first), bool(last)), own
                break
        else:
            return None
    return lacking


def _offsets(slab: Sequence[int], times: Sequence[np.ndarray], model: np.ndarray) -> list[float]:
    """Return the delay of each slice within its pass against the model; neighbours have similar delays."""
    offsets = {}
    start = next(k for k, n in enumerate(slab) if times[n] is model)
    for part in (slab[start:], slab[:start][::-1]):
        offset = 0.0
        for n in part:
            nearest = np.abs(times[n][:, None] - offset - model[None]).argmin(1)
            offset += float(np.median(times[n] - offset - model[nearest]))
            offsets[n] = offset
    return [offsets[n] for n in slab]


def _require_whole(
    slab: Sequence[int], frames: Sequence[Sequence[Frame]], times: Sequence[np.ndarray], places: Sequence[float],
    where: str,
) -> None:  # fmt: skip
    counts = Counter(len(times[n]) for n in slab)
    usual = max(counts, key=lambda count: (counts[count], count))
    model = next(times[n] for n in slab if len(times[n]) == usual)
    near = 0.5 * float(np.diff(model).min()) if len(model) > 1 else np.inf
    for n, offset in zip(slab, _offsets(slab, times, model), strict=True):
        own = times[n] - offset
        if len(own) > usual:
            extra = [f for f, t in zip(frames[n], own, strict=True) if np.abs(model - t).min() > near]
            text = f"{len(own)} frames, {usual} at other positions"
            if not extra:
                raise _twice(frames[n], places[n], where, text)
            found = f"no other position has the time of {frame_names(extra, places[n])} ({text})"
            raise refused("E-DCM-13", where=where, found=found)
        lacking = [time for time in model if np.abs(own - time).min() > near]
        if len(times[n]) < usual or lacking:
            listed = ", ".join(f"{time:.2f}" for time in lacking[:6]) + (" ..." if len(lacking) > 6 else "")
            text = f"at {places[n]:.2f} mm (first file {frame_names(frames[n][:1])}): {len(times[n])} of {usual} frames"
            raise refused("E-DCM-13", where=where, found=text + (f", none at {listed} s" if listed else ""))
