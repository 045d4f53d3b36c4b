"""The large vessels of a series: arterial input, venous output, and what the artery lost to partial volume."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monai_isles.perfusion.aif import arterial_curve

VENOUS_VOXELS = 4
LATEST_S, LEAST_LIKENESS = 12.0, 0.93
_CANDIDATES = 512


@dataclass(frozen=True)
class Vessels:
    """Hold the curves of the vessels.

    Shapes: (T,) float32.  Units: HU over baseline; ``aif`` is ``scale`` times ``measured_aif``.
    """

    aif: np.ndarray
    vof: np.ndarray
    measured_aif: np.ndarray
    scale: float


def find_vessels(tissue_hu: np.ndarray, cranial_hu: np.ndarray, dt_s: float, *, venous_scaling: bool = True) -> Vessels:
    """Choose the artery in the brain, the vein up to the skull, and scale the artery to the vein's area.

    Both carry all the contrast that passes, so equal areas, each over the time the other one is seen too, make an
    artery as wide as the vein. Where every vessel is thinner than a voxel the result is still too low, and flagged.

    Shapes: ``tissue_hu`` (V, T) candidates of the artery, ``cranial_hu`` (U, T) of the vein.  Units: HU over baseline.

    Raises:
        IslesError: ``E-PERF-03`` when no artery stands out.

    Source: area scaling, Lin et al., J Magn Reson Imaging 2001 (venous output); choice of voxels ours;
    ``tests/perfusion/test_vessels.py``.
    """
    aif = arterial_curve(tissue_hu, dt_s)
    vof = _venous(cranial_hu, aif, dt_s)
    scale = max(1.0, _area_ratio(vof, aif, dt_s)) if venous_scaling else 1.0
    return Vessels((aif * scale).astype(np.float32), vof, aif, float(scale))


def _venous(curves: np.ndarray, aif: np.ndarray, dt_s: float) -> np.ndarray:
    """Return the mean of the largest-area curves that look like the artery up to 12 s later; else the artery."""
    wide = curves[np.argsort(curves.sum(1), kind="stable")[-_CANDIDATES:]]
    good = wide[_likeness(wide, aif, dt_s) >= LEAST_LIKENESS]
    if len(good) < VENOUS_VOXELS:
        return aif.copy()
    return good[np.argsort(good.sum(1), kind="stable")[-VENOUS_VOXELS:]].mean(0).astype(np.float32)


def _likeness(curves: np.ndarray, aif: np.ndarray, dt_s: float) -> np.ndarray:
    """Return the largest correlation (V,) of each curve with the artery shifted by 0 to ``LATEST_S``."""
    lags = range(min(len(aif) - 3, round(LATEST_S / dt_s)) + 1)
    late = np.stack([np.concatenate([np.zeros(lag), aif[: len(aif) - lag]]) for lag in lags])
    late = late - late.mean(1, keepdims=True)
    plain = curves - curves.mean(1, keepdims=True)
    lengths = np.linalg.norm(plain, axis=1)[:, None] * np.linalg.norm(late, axis=1)[None, :]
    return (plain @ late.T / np.maximum(lengths, 1e-6)).max(1)


def _area_ratio(vof: np.ndarray, aif: np.ndarray, dt_s: float) -> float:
    late = int(np.clip(int(vof.argmax()) - int(aif.argmax()), 0, round(LATEST_S / dt_s)))
    seen = aif[: len(aif) - late]
    return float(vof.sum()) / max(float(seen.sum()), 1e-6)
