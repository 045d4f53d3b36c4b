"""Repair empty, torn and misplaced frames: leave them out at the ends of a series, interpolate them inside it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy import interpolate
from torch import Tensor
from torch.nn import functional

from monai_isles.errors import refused
from monai_isles.perfusion.quality import Flag

BAD_FRAME = "bad-frame"
FAR_HU, FAR_SHARE = 300.0, 0.25
LINE_HU, TORN_LINES = 20.0, 3
LONGEST_GAP_S, MOST_LOST = 8.0, 1 / 3
_PLANE, _SLICES, _PROBES = 64, 8, 8
NEIGHBOURS, ODD_FRAME, TURNED_RATIO = 3, 2.0, 0.25
_WINDOW_HU = (-100.0, 300.0)


def repair_frames(series: Tensor, times_s: np.ndarray) -> tuple[Tensor, np.ndarray, list[Flag]]:
    """Return the series without empty, torn and misplaced frames, the times of its frames, and a remark a change.

    A slice of a frame is bad when more than a quarter of it lies over 300 HU from the slice's median in time, or when
    three or more of its lines hold one number where they usually do not, and that number is 20 HU off; a frame is bad
    when it is mirrored, turned upside down or one slice off (``misplaced_frames``). A bad frame before the first or
    after the last good one is left out; inside, its bad slices are interpolated in time, by the cubic through the two
    good frames on either side.

    Shapes: ``series`` (T, H, W, D) in, (T', H, W, D) out; ``times_s`` (T,) in, (T',) out. Units: HU, s.
    """
    if len(series) < 3:
        return series, times_s, []
    bad, about = _bad_slices(series), misplaced_frames(series)
    bad[list(about)] = True
    whole = np.flatnonzero(~bad.any(axis=1))
    if len(whole) == len(series):
        return series, times_s, []
    if len(whole) < (1 - MOST_LOST) * len(series):
        first_bad = int(np.flatnonzero(bad.any(axis=1))[0]) + 1
        lost = len(series) - len(whole)
        result = f"{lost} of {len(series)} frames are empty, torn or misplaced, the first is {first_bad}"
        raise refused("E-PERF-11", where="perfusion series", found=result)
    # A frame with neighbours on both sides can be interpolated; at the ends its content is unknown.
    first, last = int(whole[0]), int(whole[-1])
    ends, inside = (*range(first), *range(last + 1, len(series))), np.flatnonzero(bad[first : last + 1].any(axis=1))
    flags = [_flag(bad, n, "left out", about) for n in ends]
    flags += [_flag(bad, int(n) + first, "interpolated between its neighbours", about) for n in inside]
    series, times_s, bad = series[first : last + 1], times_s[first : last + 1], bad[first : last + 1]
    return (_interpolate(series, times_s, bad) if len(inside) else series), times_s, flags


def misplaced_frames(series: Tensor) -> dict[int, str]:
    """Return the frames (from 0) that match their neighbours only when they are turned or moved by one slice, and how.

    Each frame is compared with the median of three frames on either side, as it lies and as each of ``_TURNS`` puts it:
    it is misplaced where one of these brings the mean difference down to a quarter, and the frame differs twice as much
    as most. A head that moves does not match better when it is mirrored (``docs/perfusion.md``).

    Shapes: (T, H, W, D), RAS+.  Units: HU.
    """
    if len(series) < 2 * NEIGHBOURS:
        return {}
    middle = max(0, (series.shape[3] - _SLICES) // 2)
    coarse = torch.stack([_pool(frame[..., middle : middle + _SLICES]) for frame in series])
    numbers = np.arange(len(coarse))
    near = [numbers[(numbers != n) & (abs(numbers - n) <= NEIGHBOURS)] for n in numbers]
    usual = [coarse[around].median(dim=0).values for around in near]
    apart = torch.stack([(frame - other).abs().mean() for frame, other in zip(coarse, usual, strict=True)])
    # Turning every frame would be slow: only those that differ from their neighbours are tried.
    odd = torch.nonzero(apart > ODD_FRAME * apart.median()).flatten().tolist()
    names = {}
    for n in odd:
        ratios = {name: _ratio(turn(coarse[n]), coarse[n], usual[n]) for name, turn in _TURNS.items()}
        name = min(ratios, key=lambda key: ratios[key])
        if ratios[name] < TURNED_RATIO:
            names[n] = name
    return names


def _pool(frame: Tensor) -> Tensor:
    """Return a frame (H, W, D) as slices (D, h, w) of about 64 x 64, bone and air cut off."""
    size = [max(1, n // _PLANE) for n in frame.shape[:2]]
    return functional.avg_pool2d(frame.permute(2, 0, 1).float().clip(*_WINDOW_HU), size)


def _move(frame: Tensor, by: int) -> Tensor:
    """Return slices (D, h, w) moved by one place, not a number where none is left."""
    empty = torch.full_like(frame[:1], torch.nan)
    return torch.cat([empty, frame[:-1]] if by > 0 else [frame[1:], empty])


# what may have been done to a frame, and what undoes it
_TURNS: dict[str, Callable[[Tensor], Tensor]] = {
    "is mirrored left to right": lambda frame: frame.flip(1),
    "is mirrored front to back": lambda frame: frame.flip(2),
    "is turned upside down": lambda frame: frame.flip(1, 2),
    "has its slices in reverse order": lambda frame: frame.flip(0),
    "lies one slice too low": lambda frame: _move(frame, 1),
    "lies one slice too high": lambda frame: _move(frame, -1),
}


def _ratio(turned: Tensor, frame: Tensor, usual: Tensor) -> float:
    """Return how far a frame lies from its neighbours once turned, as part of before, over the slices that are left."""
    left = ~torch.isnan(turned)
    before = float((frame[left] - usual[left]).abs().mean())
    return float((turned[left] - usual[left]).abs().mean()) / before if before > 0 else 1.0


def _bad_slices(series: Tensor) -> np.ndarray:
    """Return which slices of which frames are bad (T, D)."""
    coarse = [max(1, size // _PLANE) for size in series.shape[1:3]]
    # Every few pixels are enough to see that a slice is empty, and a bolus moves few of them by ``FAR_HU``.
    part = series[:, :: coarse[0], :: coarse[1]].float()
    middle = part.median(dim=0).values
    far = torch.stack([((frame - middle).abs() > FAR_HU).float().mean(dim=(0, 1)) for frame in part])
    torn = _torn_lines(series, 1) | _torn_lines(series, 2)
    return ((far > FAR_SHARE) | torn).numpy()


def _torn_lines(series: Tensor, axis: int) -> Tensor:
    """Return which slices (T, D) hold lines of one number along an axis where they usually hold several."""
    # A few values of a line are enough to see that it holds several; only the other lines are read in full.
    few = (slice(None),) * axis + (slice(None, None, max(1, series.shape[axis] // _PROBES)),)
    low, high = series[few].aminmax(dim=axis)
    suspects = torch.eq(low, high).any(dim=2).any(dim=0).nonzero().flatten()
    ends = [frame.index_select(2 - axis, suspects).aminmax(dim=axis - 1) for frame in series]
    low, high = (torch.stack([pair[side] for pair in ends]).float() for side in (0, 1))
    # A line of one number is torn only where that line has several in most frames: air is flat in all of them.
    one_number = torch.eq(low, high)
    usual = one_number.float().mean(dim=0) >= 0.5
    middle = ((low + high) / 2).median(dim=0).values
    odd = one_number & ~usual & ((low - middle).abs() > LINE_HU)
    return odd.sum(dim=1) >= TORN_LINES


def _interpolate(series: Tensor, times_s: np.ndarray, bad: np.ndarray) -> Tensor:
    series = series.clone()
    for frame, place in zip(*np.nonzero(bad), strict=True):
        good = np.flatnonzero(~bad[:, place])
        near = np.r_[good[good < frame][-2:], good[good > frame][:2]]
        before, after = int(good[good < frame][-1]), int(good[good > frame][0])
        gap = times_s[after] - times_s[before]
        if gap > LONGEST_GAP_S:
            result = f"slice {place + 1} is empty or torn for {gap:.1f} s from frame {before + 1} to {after + 1}"
            raise refused("E-PERF-11", where="perfusion series", found=result)
        # The polynomial through them: a line between two frames would cut off the top of the arterial curve.
        cubic = interpolate.KroghInterpolator(times_s[near], np.eye(len(near)))
        weights = torch.from_numpy(cubic(times_s[frame])).float()
        between = torch.tensordot(weights, series[near, ..., place].float(), 1)
        series[frame, ..., place] = (between if series.is_floating_point() else between.round()).to(series.dtype)
    return series


def _flag(bad: np.ndarray, frame: int, done: str, misplaced: dict[int, str]) -> Flag:
    places = np.flatnonzero(bad[frame]) + 1
    if frame in misplaced:
        about = misplaced[frame]
    elif len(places) == bad.shape[1]:
        about = "is empty or torn"
    else:
        about = f"is torn in {len(places)} of {bad.shape[1]} slices ({', '.join(map(str, places[:6]))})"
    return Flag(BAD_FRAME, "warning", f"frame {frame + 1} {about}: {done}")
