"""Prepare a series for measurement: undo movement, make frames even, find masks and baseline."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from monai_isles.errors import refused
from monai_isles.perfusion.frames import repair_frames
from monai_isles.perfusion.masks import intracranial_mask, skull_interior, tissue_mask
from monai_isles.perfusion.motion import Motion, correct_motion, head_motion
from monai_isles.perfusion.quality import Flag, coverage_flags, frame_flags, gap_flags, motion_flags, slice_flags
from monai_isles.perfusion.timing import even_frames, frame_times
from monai_isles.perfusion.vessels import arterial_curve, has_bolus

_FIRST_FRAMES, _TALLEST, _EVERY = 3, 0.02, 10


@dataclass(frozen=True)
class PreparedSeries:
    """Hold a series ready for maps.

    Shapes: ``rise_hu`` (T, H, W, D), the others (H, W, D); ``tissue`` has no fluid and no bone, ``cranial`` has all
    inside the skull.  Units: HU (``rise_hu`` over baseline), s, mm.
    """

    rise_hu: Tensor
    baseline_hu: np.ndarray
    dt_s: float
    spacing_mm: tuple[float, float, float]
    tissue: np.ndarray
    cranial: np.ndarray
    baseline_frames: int
    motion: Motion | None
    moved_back: bool
    flags: tuple[Flag, ...]


def prepare_series(
    series_hu: np.ndarray | Tensor,
    *,
    spacing_mm: tuple[float, float, float],
    dt_s: float | None = None,
    times_s: np.ndarray | None = None,
    mask: np.ndarray | Tensor | None = None,
    motion: bool = True,
    baseline_frames: int | None = None,
) -> PreparedSeries:
    """Repair frames, undo movement where that helps, bring frames to even steps, find brain and baseline.

    Shapes: ``series_hu`` (T, H, W, D), ``times_s`` (T,), ``mask`` (H, W, D) bool.  Units: HU, mm, s.

    Args:
        mask: the brain; found in the first frames when None.
        dt_s, times_s: seconds between frames, or the time of each.
        motion: look for movement and undo it; without it the series is measured as it lies.
        baseline_frames: frames before the bolus; found on the artery's curve when None.

    Raises: ``E-PERF-02`` not a series, ``E-PERF-04`` no brain, ``E-PERF-06`` and ``-07`` times and frames.
    """
    if isinstance(series_hu, np.ndarray):
        kind = series_hu.dtype
        # Torch reads neither flipped axes nor another byte order, and hardly computes in unsigned numbers.
        if not kind.isnative or kind.kind == "u" or min(series_hu.strides, default=0) < 0:
            series_hu = np.array(series_hu, dtype=np.float32, order="C")
    series = torch.as_tensor(series_hu)
    if series.ndim != 4:
        found, fix = f"shape {tuple(series.shape)}", "pass the series as (T, H, W, D)"
        raise refused("E-PERF-02", where="perfusion series", found=found, fault="not a series of volumes", fix=fix)
    if mask is not None and tuple(mask.shape) != tuple(series.shape[1:]):
        found = f"series {tuple(series.shape)}, mask {tuple(mask.shape)}"
        fix = "pass the series as (T, H, W, D), the mask as (H, W, D)"
        raise refused("E-PERF-02", where="perfusion series", found=found, fault="series and mask do not fit", fix=fix)
    if not all(math.isfinite(end) for end in series.aminmax()):
        found, fix = "NaN or infinite voxels", "replace them, outside the head by -1024 HU (air)"
        raise refused("E-PERF-02", where="perfusion series", found=found, fault="voxels without a number", fix=fix)
    # Frames first: a torn or mirrored one would pass for movement.
    given = frame_times(len(series), dt_s, times_s)
    series, times, lost = repair_frames(series, given)
    skipped, times = int(np.searchsorted(given, times[0])), times - times[0]
    # Movement before the even steps: interpolation between two places of the head would blur its edges.
    moved = head_motion(series, spacing_mm, baseline_frames=_FIRST_FRAMES) if motion else None
    flags = [*lost, *([] if moved is None else motion_flags(moved.largest_mm, applied=moved.helps))]
    if moved is not None and moved.helps:
        series = correct_motion(series, moved, spacing_mm)
    if moved is not None:  # its path is drawn over the frames of the maps, its differences are named by those given
        after_hu = np.pad(moved.after_hu, (skipped, 0), "edge")
        moved = replace(moved, path=even_frames(torch.from_numpy(moved.path), times)[0].numpy(), after_hu=after_hu)
    series, step_s, uneven = even_frames(series, times)
    flags += frame_flags(times, step_s, uneven=uneven)
    tissue, cranial, cut = _masks(series[:_FIRST_FRAMES].float().mean(0).numpy(), spacing_mm, mask)
    flags += cut
    flags += coverage_flags(tissue.shape[2], spacing_mm[2])
    # The baseline comes last: it is of the frames that are left, moved back, at even steps.
    before = baseline_frames or _frames_before_bolus(series, tissue, step_s)
    baseline = series[:before].float().mean(0)
    return PreparedSeries(
        rise_hu=series - baseline,
        baseline_hu=baseline.numpy(),
        dt_s=step_s,
        spacing_mm=spacing_mm,
        tissue=tissue,
        cranial=cranial,
        baseline_frames=before,
        motion=moved,
        moved_back=moved is not None and moved.helps,
        flags=tuple(flags),
    )


def _masks(
    first: np.ndarray, spacing_mm: tuple[float, float, float], mask: np.ndarray | Tensor | None
) -> tuple[np.ndarray, np.ndarray, list[Flag]]:
    """Return tissue, all inside the skull, and what is missing of either."""
    if mask is not None:
        given = np.ascontiguousarray(mask, bool)
        if not given.any():
            raise refused("E-PERF-04", where="mask", found="0 voxels of brain")
        return given, given | intracranial_mask(first, spacing_mm), []
    interior, spanned = skull_interior(first, spacing_mm)
    tissue = tissue_mask(first, spacing_mm, interior=interior)
    if not tissue.any():
        found = "no brain inside a skull in the first frames"
        fix = "check that the series is an axial head CT in HU with its skull"
        raise refused("E-PERF-04", where="prepare_series", found=found, fix=fix)
    flags = [*gap_flags(spanned), *slice_flags(interior.sum((0, 1)))]
    return tissue, intracranial_mask(first, spacing_mm, interior=interior), flags


def _frames_before_bolus(series: Tensor, tissue: np.ndarray, dt_s: float) -> int:
    """Return the number of frames before the bolus reaches the arteries; before it reaches the tissue without one."""
    # The arteries fill some seconds before the mean tissue curve rises. A baseline that holds their first contrast
    # makes their area too small and their peak, for that area, too high, so that flow is too low.
    places = torch.from_numpy(tissue).flatten().nonzero().flatten()
    curves = torch.stack([frame.flatten()[places].float() for frame in series])
    before = bolus_arrival(curves.mean(1))
    curves -= curves[:before].mean(0)
    # The arteries are among the tallest curves; a part of the others stands for the tissue.
    tallest = curves.amax(0).topk(math.ceil(len(places) * _TALLEST)).indices
    some = curves[:, torch.cat([tallest, torch.arange(0, len(places), _EVERY)]).unique()].T.numpy()
    return min(before, bolus_arrival(torch.from_numpy(arterial_curve(some, dt_s)))) if has_bolus(some) else before


def bolus_arrival(curve: Tensor) -> int:
    """Return the number of frames before the bolus on a curve (T,), tissue or artery: up to a tenth of the rise.

    >>> bolus_arrival(torch.tensor([0.0, 0.0, 0.0, 0.0, 5.0, 20.0, 40.0, 20.0, 5.0, 0.0]))
    3
    """
    rise = curve - curve[:2].mean()
    above = rise > 0.1 * rise.max()
    return max(2, int(above.float().argmax()) - 1)
