"""Arterial and venous curves, chosen from the series itself."""

from __future__ import annotations

import numpy as np

from monai_isles.errors import IslesError


def arterial_curve(curves_hu: np.ndarray, dt_s: float, *, voxels: int = 12) -> np.ndarray:
    """Choose an arterial input function: tall, early and narrow.

    Shapes: ``curves_hu`` (V, T) over baseline; out (T,) float32, the mean of the chosen voxels.
    Units: HU, s.

    Raises:
        IslesError: ``E-PERF-03`` when no bolus stands out.

    Source: ours, after Mouridsen et al., Magn Reson Med 2006, doi:10.1002/mrm.20759; ``tests/perfusion/test_aif.py``.
    """
    tall = _tallest(curves_hu, max(8 * voxels, 1 + len(curves_hu) // 200))
    candidates = curves_hu[tall]
    rise = np.maximum(candidates, 0)
    half = (rise >= 0.5 * rise.max(1, keepdims=True)).argmax(1) * dt_s
    width = rise.sum(1) / np.maximum(rise.max(1), 1e-6) * dt_s
    height = rise.max(1)
    score = height / height.max() - 0.13 * (half - half.min()) - 0.02 * (width - width.min())
    chosen = candidates[np.argsort(score, kind="stable")[-voxels:]]
    return chosen.mean(0).astype(np.float32)


def venous_curve(curves_hu: np.ndarray, *, voxels: int = 12) -> np.ndarray:
    """Choose a venous output function: the mean of the curves with the largest area.

    Shapes: ``curves_hu`` (V, T) over baseline; out (T,) float32.  Units: HU.
    Source: ours; ``tests/perfusion/test_aif.py``.
    """
    area = curves_hu.sum(1)
    return curves_hu[np.argsort(area, kind="stable")[-voxels:]].mean(0).astype(np.float32)


def _tallest(curves_hu: np.ndarray, count: int) -> np.ndarray:
    peak = curves_hu.max(1) if curves_hu.size else np.zeros(0)
    if not len(peak) or float(peak.max()) <= 10.0 or float(peak.max()) < 2.5 * float(np.median(peak)):
        found = f"largest rise {float(peak.max()):.1f} HU" if len(peak) else "no voxel"
        raise IslesError(
            "E-PERF-03",
            "no artery stands out",
            where="arterial_curve",
            found=f"{found} in {len(peak)} curves",
            fix="check that the series is perfusion and time-first, or pass aif= measured by hand",
        )
    return np.argsort(peak, kind="stable")[-count:]
