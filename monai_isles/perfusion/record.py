"""What is written beside the maps: curves, remarks, movement, settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

import numpy as np

from monai_isles.perfusion.maps import PerfusionMaps
from monai_isles.perfusion.motion import displacement_mm
from monai_isles.perfusion.prepared import PreparedSeries

MAP_UNITS = {"cbf": "ml/100 g/min", "cbv": "ml/100 g", "mtt": "s", "tmax": "s", "ttp": "s"}


def perfusion_record(
    prepared: PreparedSeries, maps: PerfusionMaps, settings: Mapping[str, object]
) -> dict[str, object]:
    """Return what ``perfusion.json`` holds: plain numbers, lists and text.

    Units: in the names of the keys; medians are those of ``brain``.
    Source: ours; ``tests/cli/test_perfusion.py``.
    """
    brain, voxel_ml = maps.brain, float(np.prod(prepared.spacing_mm)) / 1000.0
    path = None if prepared.motion is None else prepared.motion.path
    moved = {
        "applied": prepared.moved_back,
        "largest_mm": None if path is None else round(float(displacement_mm(path).max()), 3),
        "path_right_mm_front_mm_turn_deg": None if path is None else np.round(path, 4).tolist(),
    }
    return {
        "settings": dict(settings),
        "dt_s": round(prepared.dt_s, 6),
        "frames": len(maps.aif),
        "baseline_frames": prepared.baseline_frames,
        "aif_hu": _listed(maps.aif),
        "vof_hu": _listed(maps.vof),
        "brain_ml": round(float(brain.sum()) * voxel_ml, 3),
        "medians": {name: round(float(np.median(getattr(maps, name)[brain])), 3) for name in MAP_UNITS},
        "units": dict(MAP_UNITS),
        "flags": [asdict(flag) for flag in maps.quality],
        "motion": moved,
    }


def _listed(curve: np.ndarray | None) -> list[float] | None:
    return None if curve is None else np.round(curve.astype(float), 3).tolist()
