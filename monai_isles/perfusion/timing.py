"""Bring frames to even steps."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from monai_isles.errors import refused

TOLERANCE, FEWEST_FRAMES, LONGEST_STEP_S = 0.05, 10, 15.0


def frame_times(frames: int, dt_s: float | None, times_s: np.ndarray | None) -> np.ndarray:
    """Return the time (T,) of every frame, from 0 s, from a step or from given times.

    Raises:
        IslesError: ``E-PERF-06`` times that cannot be, ``E-PERF-07`` too few frames.
    """
    times = np.asarray(times_s, float) if times_s is not None else np.arange(frames) * float(dt_s or 0.0)
    if frames < FEWEST_FRAMES:
        raise refused("E-PERF-07", where="perfusion series", found=f"{frames} frames, {FEWEST_FRAMES} wanted at least")
    steps = np.diff(times)
    if times.shape != (frames,) or not np.isfinite(times).all() or steps.min() <= 0 or steps.max() > LONGEST_STEP_S:
        apart = f"steps of {steps.min():.3g} to {steps.max():.3g} s" if steps.size else "no steps"
        raise refused(
            "E-PERF-06",
            where="perfusion series",
            found=f"{times.size} times for {frames} frames, {apart}",
            longest_step_s=LONGEST_STEP_S,
        )
    return times - times[0]


def even_frames(series: Tensor, times_s: np.ndarray) -> tuple[Tensor, float, bool]:
    """Return the series at even steps, the step in s, and whether it had to be interpolated.

    The step is the quarter quantile of those measured, so that a dense first pass stays dense.

    Shapes: ``series`` (T, H, W, D) in, (T', H, W, D) out.
    Source: linear interpolation; ``tests/perfusion/test_timing.py``.
    """
    steps = np.diff(times_s)
    middle = float(np.median(steps))
    if np.abs(steps - middle).max() <= TOLERANCE * middle:
        return series, float(times_s[-1] / len(steps)), False
    dt_s = float(np.quantile(steps, 0.25))
    wanted = np.arange(0.0, times_s[-1] + 1e-6, dt_s)
    after = np.searchsorted(times_s, wanted, side="right").clip(1, len(times_s) - 1)
    share = (wanted - times_s[after - 1]) / steps[after - 1]
    out = torch.empty((len(wanted), *series.shape[1:]), dtype=torch.float32)
    for frame, (late, part) in enumerate(zip(after, share, strict=True)):
        out[frame] = torch.lerp(series[late - 1].float(), series[late].float(), float(part))
    return out, dt_s, True
