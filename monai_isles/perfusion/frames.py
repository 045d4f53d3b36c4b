"""Repair frames without a head: leave them out at the ends of a series, interpolate them inside it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from monai_isles.errors import refused
from monai_isles.perfusion.quality import Flag

FAR_HU, FAR_SHARE = 300.0, 0.25
LINE_HU, TORN_LINES = 20.0, 3
LONGEST_GAP_S, MOST_LOST = 8.0, 1 / 3
_PLANE = 64


def repair_frames(series: Tensor, times_s: np.ndarray) -> tuple[Tensor, np.ndarray, list[Flag]]:
    """Return the series without empty and torn frames, the times of its frames, and one remark for each change.

    A slice of a frame is bad when more than a quarter of it lies over 300 HU from the slice's median in time, or when
    three or more of its lines hold one number where they usually do not, and that number is 20 HU off. A bad frame
    before the first or after the last good one is left out; inside, its bad slices are interpolated linearly in time.

    Shapes: ``series`` (T, H, W, D) in, (T', H, W, D) out; ``times_s`` (T,), from the first frame left.
    Units: HU, s.
    """
    if len(series) < 3:
        return series, times_s, []
    bad = _bad_slices(series)
    whole = np.flatnonzero(~bad.any(axis=1))
    if len(whole) == len(series):
        return series, times_s, []
    if len(whole) < (1 - MOST_LOST) * len(series):
        result = f"{len(series) - len(whole)} of {len(series)} frames are empty or torn, the first is {_first(bad)}"
        raise refused("E-PERF-11", where="perfusion series", found=result)
    first, last = int(whole[0]), int(whole[-1])
    flags = [_flag(bad, n, "left out") for n in (*range(first), *range(last + 1, len(series)))]
    series, times_s, bad = series[first : last + 1], times_s[first : last + 1] - times_s[first], bad[first : last + 1]
    inside = np.flatnonzero(bad.any(axis=1))
    if len(inside):
        series = _interpolate(series, times_s, bad)
        flags += [_flag(bad, int(n), "interpolated between its neighbours", first) for n in inside]
    return series, times_s, flags


def _bad_slices(series: Tensor) -> np.ndarray:
    """Return which slices of which frames are bad (T, D)."""
    coarse = [max(1, size // _PLANE) for size in series.shape[1:3]]
    part = series[:, :: coarse[0], :: coarse[1]].float()
    middle = part.median(dim=0).values
    far = torch.stack([((frame - middle).abs() > FAR_HU).float().mean(dim=(0, 1)) for frame in part])
    torn = _torn_lines(series, 1) | _torn_lines(series, 2)
    return ((far > FAR_SHARE) | torn).numpy()


def _torn_lines(series: Tensor, axis: int) -> Tensor:
    """Return which slices (T, D) hold lines of one number along an axis where they usually hold several."""
    ends = [frame.aminmax(dim=axis - 1) for frame in series]
    low, high = (torch.stack([pair[side] for pair in ends]).float() for side in (0, 1))
    one_number = torch.eq(low, high)
    usual = one_number.float().mean(dim=0) >= 0.5
    middle = ((low + high) / 2).median(dim=0).values
    odd = one_number & ~usual & ((low - middle).abs() > LINE_HU)
    return odd.sum(dim=1) >= TORN_LINES


def _interpolate(series: Tensor, times_s: np.ndarray, bad: np.ndarray) -> Tensor:
    series = series.clone()
    for frame, place in zip(*np.nonzero(bad), strict=True):
        good = np.flatnonzero(~bad[:, place])
        before, after = int(good[good < frame][-1]), int(good[good > frame][0])
        gap = times_s[after] - times_s[before]
        if gap > LONGEST_GAP_S:
            result = f"slice {place + 1} is empty or torn for {gap:.1f} s from frame {before + 1} to {after + 1}"
            raise refused("E-PERF-11", where="perfusion series", found=result)
        share = float((times_s[frame] - times_s[before]) / gap)
        between = torch.lerp(series[before, ..., place].float(), series[after, ..., place].float(), share)
        series[frame, ..., place] = between.to(series.dtype)
    return series


def _flag(bad: np.ndarray, frame: int, done: str, skipped: int = 0) -> Flag:
    places = np.flatnonzero(bad[frame]) + 1
    if len(places) == bad.shape[1]:
        about = "is empty or torn"
    else:
        about = f"is torn in {len(places)} of {bad.shape[1]} slices ({', '.join(map(str, places[:6]))})"
    return Flag("bad-frame", "warning", f"frame {frame + 1 + skipped} {about}: {done}")


def _first(bad: np.ndarray) -> int:
    return int(np.flatnonzero(bad.any(axis=1))[0]) + 1
