"""Bring frames to even steps, and curves to arterial time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from monai_isles.errors import refused

TOLERANCE, FEWEST_FRAMES, LONGEST_STEP_S = 0.05, 10, 20.0


def frame_times(frames: int, dt_s: float | None, times_s: np.ndarray | None) -> np.ndarray:
    """Return the time (T,) of every frame, from 0 s, from a step or from given times."""
    times = np.asarray(times_s, float) if times_s is not None else np.arange(frames) * float(dt_s or 0.0)
    if frames < FEWEST_FRAMES:
        raise refused("E-PERF-07", where="perfusion series", found=f"{frames} frames, {FEWEST_FRAMES} wanted at least")
    steps = np.diff(times)
    if times.shape != (frames,) or not np.isfinite(times).all() or steps.min() <= 0 or steps.max() > LONGEST_STEP_S:
        apart = f"steps of {steps.min():.3g} to {steps.max():.3g} s" if steps.size else "no steps"
        found = f"{times.size} times for {frames} frames, {apart}"
        raise refused("E-PERF-06", where="perfusion series", found=found, longest_step_s=LONGEST_STEP_S)
    return times - times[0]


def even_frames(series: Tensor, times_s: np.ndarray) -> tuple[Tensor, float, bool]:
    """Return the series at even steps, the step in s, and whether it had to be interpolated.

    The step is the quarter quantile of those measured, so that a dense first pass stays dense.

    Shapes: ``series`` (T, H, W, D) in, (T', H, W, D) out.
    """
    steps = np.diff(times_s)
    middle = float(np.median(steps))
    if np.abs(steps - middle).max() <= TOLERANCE * middle:
        return series, float(times_s[-1] / len(steps)), False
    # The median would thin out a dense first pass that is followed by a longer sparse one.
    dt_s = float(np.quantile(steps, 0.25))
    return frames_at(series, times_s, np.arange(0.0, times_s[-1] + 1e-6, dt_s)), dt_s, True


def frames_at(series: Tensor, times_s: np.ndarray, wanted_s: np.ndarray) -> Tensor:
    """Return the frames of a series (T, ...) at other times, float32, linear between those at ``times_s`` (T,)."""
    after = np.searchsorted(times_s, wanted_s, side="right").clip(1, len(times_s) - 1)
    share = (wanted_s - times_s[after - 1]) / np.diff(times_s)[after - 1]
    out = series.new_empty((len(wanted_s), *series.shape[1:]), dtype=torch.float32)
    for frame, (late, part) in enumerate(zip(after, share, strict=True)):
        out[frame] = torch.lerp(series[late - 1].float(), series[late].float(), float(part))
    return out


ARRIVED, _WITHIN = 0.1, 32


def arrival_s(curve: np.ndarray, dt_s: float, part: float = ARRIVED) -> float:
    """Return when a curve (T,) over baseline first reaches a part of its peak, linear between frames; s."""
    least = part * float(curve.max())
    after = int(np.argmax(curve >= least))
    if after == 0:
        return 0.0
    before, now = float(curve[after - 1]), float(curve[after])
    return (after - 1 + (least - before) / (now - before)) * dt_s


def arterial_curves(curves: Tensor, artery: np.ndarray, dt_s: float, times_s: Sequence[float]) -> Tensor:
    """Return curves at even times after the artery's arrival, over the artery's area: the same for every frame step.

    Each value is the mean of the linear curve over one step of ``times_s`` around its time; beyond the frames the first
    and the last value hold. A curve of blood flow F that leaves nothing has at most 100 F.

    Shapes: ``curves`` (T, ...) over baseline, ``artery`` (T,) in; (K, ...) for K even ``times_s`` out.
    Units: HU and s in; parts of 100 of the arterial area a second out.

    >>> artery = np.array([0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    >>> ramp = torch.arange(8.0)
    >>> arterial_curves(ramp, artery, 1.0, [0.0, 1.0, 2.0]).round(decimals=3).tolist()  # arrival at 1.1 s, area 2
    [55.0, 105.0, 155.0]
    """
    wanted = np.asarray(times_s, float)
    step = float(wanted[1] - wanted[0]) if len(wanted) > 1 else dt_s
    # The mean of a linear curve over one step, as a sum over points within it: one matrix for all voxels.
    within = step * ((np.arange(_WITHIN) + 0.5) / _WITHIN - 0.5)
    place = np.clip((arrival_s(artery, dt_s) + wanted[:, None] + within) / dt_s, 0, len(artery) - 1)
    low = np.minimum(place.astype(int), len(artery) - 2)
    weights = np.zeros((len(wanted), len(artery)))
    rows = np.arange(len(wanted))[:, None]
    np.add.at(weights, (rows, low), 1.0 - (place - low))
    np.add.at(weights, (rows, low + 1), place - low)
    weights *= 100.0 / (_WITHIN * max(float(artery.sum()) * dt_s, 1e-6))
    return torch.tensordot(torch.from_numpy(weights).to(curves), curves, dims=1)
