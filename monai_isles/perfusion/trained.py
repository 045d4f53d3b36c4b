"""Maps made the way a network's training maps were made: its weights know their intensities, no others."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from monai_isles.errors import refused
from monai_isles.perfusion.frames import repair_frames
from monai_isles.perfusion.maps import PerfusionMaps, perfusion_maps
from monai_isles.perfusion.masks import tissue_mask
from monai_isles.perfusion.timing import even_frames, frame_times

TRAINING_MAPS = "training_maps"
_NUMBERS = {"smoothing_mm": (0.0, 30.0), "truncation": (0.0, 1.0)}
_FIRST_FRAMES = 3


def maps_as_trained(
    series_hu: np.ndarray,
    *,
    spacing_mm: tuple[float, float, float],
    times_s: np.ndarray,
    settings: Mapping[str, object],
) -> PerfusionMaps:
    """Compute the maps of a series by the settings that a bundle's metadata gives as ``training_maps``.

    Frames are taken as they lie, no movement is undone: so the simulated training maps were made. Uneven frames are
    interpolated to even ones.

    Shapes: ``series_hu`` (T, H, W, D), ``times_s`` (T,).  Units: HU, mm, s.
    Args:
        settings: ``function`` (``perfusion_maps``), ``smoothing_mm``, ``truncation``, ``venous_scaling``, all of them.
    Raises:
        IslesError: ``E-PERF-30`` settings that are not these, and those of ``perfusion_maps``.
    Source: ``phantom.scan.scan_slab``; equal to its maps in ``tests/perfusion/test_trained.py``.
    """
    require_settings(settings)
    times = frame_times(len(series_hu), None, times_s)
    whole, times, _ = repair_frames(torch.as_tensor(series_hu), times)
    series, step_s, _ = even_frames(whole, times)
    first = series[:_FIRST_FRAMES].numpy().mean(0, dtype=np.float32)
    return perfusion_maps(
        series,
        step_s,
        mask=tissue_mask(first, spacing_mm),
        spacing_mm=spacing_mm,
        smoothing_mm=float(settings["smoothing_mm"]),
        truncation=float(settings["truncation"]),
        venous_scaling=bool(settings["venous_scaling"]),
    )


def require_settings(settings: object) -> None:
    """Refuse settings of training maps that ``maps_as_trained`` does not know: other maps would be fed unnoticed.

    Raises:
        IslesError: ``E-PERF-30``.
    """
    known = {"function", "venous_scaling", *_NUMBERS}
    whole = isinstance(settings, Mapping) and set(settings) == known and settings["function"] == "perfusion_maps"
    if whole and isinstance(settings["venous_scaling"], bool) and all(map(_between, settings.items())):
        return
    raise refused(
        "E-PERF-30",
        where=f"metadata.json: {TRAINING_MAPS}",
        found=repr(settings)[:160],
        known=", ".join(sorted(known)),
        training_maps=TRAINING_MAPS,
    )


def _between(item: tuple[str, object]) -> bool:
    name, value = item
    if name not in _NUMBERS:
        return True
    low, high = _NUMBERS[name]
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
