"""Metrics of lesion masks, each with a unit and a written rule for empty masks."""

from __future__ import annotations

import importlib

_ROOM = {
    "agreement": ("bland_altman",),
    "calibration": ("Reliability", "brier_score", "reliability", "uncertainty_auroc", "uncertainty_errors"),
    "coats": ("LesionDice", "LesionHausdorff"),
    "early_stop": ("L1ErrorRate", "VoxelAccuracy"),
    "image": ("image_quality", "lesion_region", "psnr_db", "ssim_map"),
    "lesionwise": ("count_lesions", "lesion_f1", "matched_lesion_f1"),
    "overlap": ("dsc", "ppv", "sensitivity"),
    "rules": ("RULES", "diagonal", "emptiness", "paired_masks"),
    "strata": ("STRATA", "size_stratum"),
    "surface": (
        "SurfaceDistances",
        "assd_half_sum_mm", "assd_mm", "hd95_mm", "hd_mm", "hd_vox", "surface_distances",
    ),
    "volume": ("avd_ml", "r2_identity", "r2_pearson", "rve", "volume_ml"),
}  # fmt: skip
_HOMES = {name: home for home, names in _ROOM.items() for name in names}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
