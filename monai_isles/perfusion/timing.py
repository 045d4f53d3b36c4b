"""Frames at even steps, and whether the maps that follow from their times can be of a head."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from monai_isles.errors import refused
from monai_isles.io.findings import say_once
from monai_isles.perfusion.maps import PerfusionMaps
from monai_isles.perfusion.quality import Flag

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


# full width at half height of an arterial bolus and median transit time of healthy brain, in s, as measured here
USUAL_WIDTH_S, USUAL_MTT_S, USUAL_FACTOR = 7.0, 5.6, (0.62, 1.65)
WIDTH_S, MTT_S, CBF = (3.5, 18.0), (2.2, 12.0), (8.0, 130.0)


def clock_flags(maps: PerfusionMaps, dt_s: float, *, where: str) -> list[Flag]:
    """Judge by physiology whether the frame times can be right: a wrong clock stretches all of these by one factor.

    Looked at: the width of the arterial bolus, and the median transit time and flow of the half of the brain that
    contrast reaches first, which stands for the healthy side. Volume does not depend on the clock. It is logged too.

    Source: limits ours, from simulated scans at 1/3 to 3 times their true step; ``tests/perfusion/test_timing.py``.
    """
    inside = maps.brain
    healthy = inside & (maps.tmax <= np.median(maps.tmax[inside]))
    width, mtt, cbf = _half_width_s(maps.aif, dt_s), *(float(np.median(m[healthy])) for m in (maps.mtt, maps.cbf))
    factor = float(np.sqrt(max(width, 1e-3) / USUAL_WIDTH_S * max(mtt, 1e-3) / USUAL_MTT_S))
    bounds = ((width, WIDTH_S), (mtt, MTT_S), (cbf, CBF), (factor, USUAL_FACTOR))
    if all(low <= value <= high for value, (low, high) in bounds):
        return []
    text = (
        f"the frame times may be wrong: the arterial bolus is {width:.1f} s wide at half its height, and the half of "
    )
    text += f"the brain that contrast reaches first has a median MTT of {mtt:.1f} s and CBF of {cbf:.0f} ml/100 g/min; "
    text += f"times {'short' if factor < 1 else 'long'} by about {max(factor, 1 / factor):.1f} would explain it "
    text += "(check the protocol; --dt or --times state them)"
    say_once(f"{where}: {text}")
    return [Flag("implausible-times", "warning", text)]


def _half_width_s(curve: np.ndarray, dt_s: float) -> float:
    """Return the full width at half height of a curve (T,), between its first and its last crossing."""
    half = 0.5 * float(curve.max())
    above = np.flatnonzero(curve >= half)
    first, last = int(above[0]), int(above[-1])
    before = (curve[first] - half) / max(curve[first] - curve[first - 1], 1e-6) if first else 0.0
    after = (curve[last] - half) / max(curve[last] - curve[last + 1], 1e-6) if last + 1 < len(curve) else 0.0
    return float(last - first + before + after) * dt_s
