"""The large vessels of a series: arterial input, venous output, and what the artery lost to partial volume."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monai_isles.errors import refused


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
        raise refused("E-PERF-03", where="arterial_curve", found=f"{found} in {len(peak)} curves")
    return np.argsort(peak, kind="stable")[-count:]


VENOUS_VOXELS = 4
LATEST_S, LEAST_LIKENESS = 12.0, 0.93
EARLIEST_VEIN_S, TOGETHER_S = 2.0, 1.0
_CANDIDATES, _SHARE = 512, 50


@dataclass(frozen=True)
class Vessels:
    """Hold the curves of the vessels.

    Shapes: (T,) float32.  Units: HU over baseline; ``aif`` is ``scale`` times ``measured_aif``.
    ``vof`` is a vein's where one is seen, else that of the widest vessel, else the artery's own.
    """

    aif: np.ndarray
    vof: np.ndarray
    measured_aif: np.ndarray
    scale: float


def find_vessels(tissue_hu: np.ndarray, cranial_hu: np.ndarray, dt_s: float, *, venous_scaling: bool = True) -> Vessels:
    """Choose the artery in the brain, the vein up to the skull, and scale the artery to the area of the widest vessel.

    Every vessel carries all the contrast that passes, so equal areas, each over the time the other one is seen too,
    make an artery as wide as the widest vessel, be it vein or artery. Where every vessel is thinner than a voxel the
    result is still too low, and flagged.

    Shapes: ``tissue_hu`` (V, T) candidates of the artery, ``cranial_hu`` (U, T) of the vein.  Units: HU over baseline.

    Raises:
        IslesError: ``E-PERF-03`` when no artery stands out.

    Source: area scaling, Lin et al., J Magn Reson Imaging 2001 (venous output); choice of voxels ours;
    ``tests/perfusion/test_vessels.py``.
    """
    aif = arterial_curve(tissue_hu, dt_s)
    order = np.argsort(cranial_hu.sum(1), kind="stable")
    good, late_s = _vessel_like(cranial_hu[order[-_CANDIDATES:]], aif, dt_s)
    widest = _mean_widest(good) if len(good) >= VENOUS_VOXELS else aif.copy()
    scale = max(1.0, _area_ratio(widest, aif, dt_s)) if venous_scaling else 1.0
    vof = _venous(good, late_s)
    if vof is None:  # edges of moving bone have large areas too: look among smaller ones
        vof = _venous(*_vessel_like(cranial_hu[order[-max(_CANDIDATES, len(order) // _SHARE) :]], aif, dt_s))
    return Vessels((aif * scale).astype(np.float32), widest if vof is None else vof, aif, float(scale))


def _vessel_like(curves: np.ndarray, aif: np.ndarray, dt_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the curves (V, T) that look like the artery up to 12 s later, and how late (n,) each one is, s."""
    likeness, late_s = _likeness(curves, aif, dt_s)
    return curves[likeness >= LEAST_LIKENESS], late_s[likeness >= LEAST_LIKENESS]


def _venous(good: np.ndarray, late_s: np.ndarray) -> np.ndarray | None:
    """Return the fullest vein: the four tallest curves, 2 s late or more, within 1 s of one another; None without."""
    groups = [good[np.abs(late_s - s) <= TOGETHER_S] for s in np.unique(late_s[late_s >= EARLIEST_VEIN_S])]
    tall = [group[np.argsort(group.max(1), kind="stable")[-VENOUS_VOXELS:]] for group in groups]
    veins = [group.mean(0).astype(np.float32) for group in tall if len(group) == VENOUS_VOXELS]
    return max(veins, key=lambda curve: float(curve.max()), default=None)


def _mean_widest(curves: np.ndarray) -> np.ndarray:
    return curves[np.argsort(curves.sum(1), kind="stable")[-VENOUS_VOXELS:]].mean(0).astype(np.float32)


def _likeness(curves: np.ndarray, aif: np.ndarray, dt_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest correlation (V,) of each curve with the artery 0 to ``LATEST_S`` later, and that delay, s."""
    lags = range(min(len(aif) - 3, round(LATEST_S / dt_s)) + 1)
    late = np.stack([np.concatenate([np.zeros(lag), aif[: len(aif) - lag]]) for lag in lags])
    late = late - late.mean(1, keepdims=True)
    plain = curves - curves.mean(1, keepdims=True)
    lengths = np.linalg.norm(plain, axis=1)[:, None] * np.linalg.norm(late, axis=1)[None, :]
    found = plain @ late.T / np.maximum(lengths, 1e-6)
    return found.max(1), found.argmax(1) * dt_s


def _area_ratio(vof: np.ndarray, aif: np.ndarray, dt_s: float) -> float:
    late = int(np.clip(int(vof.argmax()) - int(aif.argmax()), 0, round(LATEST_S / dt_s)))
    seen = aif[: len(aif) - late]
    return float(vof.sum()) / max(float(seen.sum()), 1e-6)
