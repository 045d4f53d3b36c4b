"""Find the large vessels of a series: arterial input, venous output, and their partial volume."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from monai_isles.errors import refused
from monai_isles.perfusion.deconvolution import curve_peaks
from monai_isles.perfusion.quality import LEAST_LEAD_S, noise_of

ARTERIAL_VOXELS = 12
SATURATED_FRAMES, SATURATED_PART = 3, 0.003
QUIET_FRAMES, BOLUS_CNR = 3, 5.0
_TALLEST_SHARE, _WIDER, _LEAST_ARTERIES, _SAMPLE = 20, 4, 4, 8000


def arterial_curve(curves_hu: np.ndarray, dt_s: float) -> np.ndarray:
    """Choose an arterial input function: ahead of the tissue, tall, early and narrow.

    Shapes: ``curves_hu`` (V, T) over baseline; out (T,) float32, the mean of the chosen voxels.
    Units: HU, s.

    Raises: ``E-PERF-03`` when no bolus stands out.

    Source: ours, after Mouridsen et al., Magn Reson Med 2006, doi:10.1002/mrm.20759; ``tests/perfusion/test_aif.py``.

    >>> curve = lambda peak_s, height: height * np.exp(-0.5 * ((np.arange(40.0) - peak_s) / 3) ** 2)
    >>> curves = np.stack([curve(15, 20)] * 200 + [curve(11, 400)] * 20)  # tissue, artery
    >>> int(arterial_curve(curves, 1.0).argmax())
    11
    """
    return _mean(curves_hu[arterial_voxels(curves_hu, dt_s)])


def arterial_voxels(curves_hu: np.ndarray, dt_s: float) -> np.ndarray:
    """Return the indices (n,) of the curves that ``arterial_curve`` averages."""
    # Curves that reach their peak at least ``LEAST_LEAD_S`` before the median curve come first; where fewer than four
    # do, no curve is left out for its time. Saturated curves, and those that are no bolus, as at the edge of bone in a
    # head that moved, are left out where others remain.
    tall = _tallest(curves_hu, max(8 * ARTERIAL_VOXELS, len(curves_hu) // _TALLEST_SHARE))
    # Arteries fill before the tissue they feed; a vein that is taller comes after it.
    early = tall[lead_s(curves_hu[tall], tissue_curve(curves_hu), dt_s) >= LEAST_LEAD_S]
    early = early if len(early) >= _LEAST_ARTERIES else tall
    early = _without(saturated_curves, curves_hu, early)
    early = early[-max(8 * ARTERIAL_VOXELS, 1 + len(curves_hu) // 200) :]
    rise = np.maximum(curves_hu[early], 0)
    half = (rise >= 0.5 * rise.max(1, keepdims=True)).argmax(1) * dt_s
    width = rise.sum(1) / np.maximum(rise.max(1), 1e-6) * dt_s
    height = rise.max(1)
    # Tall, early and narrow at once: weights in HU share, s and s, after Mouridsen.
    score = height / height.max() - 0.13 * (half - half.min()) - 0.02 * (width - width.min())
    return early[np.argsort(score, kind="stable")[-ARTERIAL_VOXELS:]]


def tissue_curve(curves_hu: np.ndarray) -> np.ndarray:
    """Return the median (T,) of curves (V, T): that of tissue, since few voxels hold vessels."""
    return np.median(curves_hu[:: max(1, len(curves_hu) // _SAMPLE)], axis=0).astype(np.float32)


def lead_s(curves_hu: np.ndarray, tissue_hu: np.ndarray, dt_s: float) -> np.ndarray:
    """Return by how many seconds (V,) each curve (V, T) reaches its peak before the tissue curve (T,)."""
    peaks = curve_peaks(torch.from_numpy(np.vstack([tissue_hu[None], curves_hu])).float()).numpy()
    return (peaks[0] - peaks[1:]) * dt_s


def saturated_curves(curves_hu: np.ndarray) -> np.ndarray:
    """Return which curves (V, T) are cut off: three or more frames within 0.3 % of the largest value."""
    top = curves_hu.max(1, keepdims=True)
    return (curves_hu >= top - SATURATED_PART * np.abs(top)).sum(1) >= SATURATED_FRAMES


def _no_bolus(curves_hu: np.ndarray) -> np.ndarray:
    """Return which curves (V, T) are high before any bolus, or rise below ``BOLUS_CNR`` times their noise."""
    top = np.maximum(curves_hu.max(1), 1e-6)
    return (np.abs(curves_hu[:, :QUIET_FRAMES]).max(1) > 0.5 * top) | (top < BOLUS_CNR * noise_of(curves_hu))


def has_bolus(curves_hu: np.ndarray) -> bool:
    """Return whether one of the curves (V, T) rises as an artery's does: by 10 HU and 2.5 times the median rise."""
    peak = curves_hu.max(1) if curves_hu.size else np.zeros(0)
    return bool(len(peak)) and float(peak.max()) > _least_rise(peak)


def _least_rise(peak_hu: np.ndarray) -> float:
    return max(10.0, 2.5 * float(np.median(peak_hu)))


def _tallest(curves_hu: np.ndarray, count: int) -> np.ndarray:
    peak = curves_hu.max(1) if curves_hu.size else np.zeros(0)
    if not has_bolus(curves_hu):
        result = f"largest rise {float(peak.max()):.1f} HU" if len(peak) else "no voxel"
        raise refused("E-PERF-03", where="arterial_curve", found=f"{result} in {len(peak)} curves")
    # The edges of bone may hold more tall curves than the arteries do, so that they are left out before the count.
    order = np.argsort(peak, kind="stable")[-_WIDER * count :]
    return _without(_no_bolus, curves_hu, order[peak[order] >= _least_rise(peak)])[-count:]


def _without(unfit: Callable[[np.ndarray], np.ndarray], curves_hu: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Return the indices without those of unfit curves, unless too few would remain."""
    fit = among[~unfit(curves_hu[among])]
    return fit if len(fit) >= _LEAST_ARTERIES else among


VENOUS_VOXELS = 4
LATEST_S, LEAST_LIKENESS = 12.0, 0.93
EARLIEST_VEIN_S, TOGETHER_S = 2.0, 1.0
_CANDIDATES, _SHARE = 512, 50


@dataclass(frozen=True)
class Vessels:
    """Hold the curves of the vessels, and where they were measured.

    Shapes: (T,) float32; ``aif_index`` (n,) into the candidates of the artery, ``vof_index`` and ``widest_index`` into
    those of the vein.
    Units: HU over baseline; ``aif`` is ``scale`` times ``measured_aif``; ``lead_s`` is the time from the artery's peak
    to the tissue's. ``vof`` is a vein's where one is seen, else that of the widest vessel, else the artery's own.
    ``saturated`` is the part of the arterial voxels that are cut off.
    """

    aif: np.ndarray
    vof: np.ndarray
    measured_aif: np.ndarray
    scale: float
    lead_s: float
    saturated: float
    aif_index: np.ndarray
    vof_index: np.ndarray
    widest_index: np.ndarray


def find_vessels(tissue_hu: np.ndarray, cranial_hu: np.ndarray, dt_s: float, *, venous_scaling: bool = True) -> Vessels:
    """Choose the artery in the brain, the vein up to the skull, and scale the artery to the area of the widest vessel.

    The same amount of contrast passes every vessel, so equal areas, each over the time covered by both, correct the
    artery to the widest vessel, vein or artery. If every vessel is thinner than a voxel, the result is still too low
    and flagged.

    Shapes: ``tissue_hu`` (V, T) candidates of the artery, ``cranial_hu`` (U, T) of the vein.  Units: HU over baseline.

    Raises: ``E-PERF-03`` when no artery stands out.

    Source: area scaling, Lin et al., J Magn Reson Imaging 2001 (venous output); choice of voxels ours.

    >>> curve = lambda peak_s, height: height * np.exp(-0.5 * ((np.arange(40.0) - peak_s) / 3) ** 2)
    >>> tissue = np.stack([curve(15, 20)] * 200 + [curve(11, 400)] * 20)
    >>> vessels = find_vessels(tissue, np.concatenate([tissue, np.stack([curve(20, 500)] * 20)]), 1.0)
    >>> round(vessels.scale, 2)  # the artery is scaled to the area of the vein, 500 / 400
    1.25
    """
    chosen = arterial_voxels(tissue_hu, dt_s)
    aif, none = _mean(tissue_hu[chosen]), np.zeros(0, int)
    order = np.argsort(cranial_hu.sum(1), kind="stable")
    good, late_s = _vessel_like(cranial_hu, order[-_CANDIDATES:], aif, dt_s)
    widest = good[np.argsort(cranial_hu[good].sum(1), kind="stable")[-VENOUS_VOXELS:]]
    widest = widest if len(good) >= VENOUS_VOXELS else none
    wide = _mean(cranial_hu[widest]) if len(widest) else aif
    # Thin arteries share their voxel with tissue; the widest vessel shows the area they should have.
    scale = max(1.0, _area_ratio(wide, aif, dt_s)) if venous_scaling else 1.0
    vein = _venous(cranial_hu, good, late_s)
    if not len(vein):  # edges of moving bone have large areas too: look among smaller ones
        more = order[-max(_CANDIDATES, len(order) // _SHARE) :]
        vein = _venous(cranial_hu, *_vessel_like(cranial_hu, more, aif, dt_s))
    vein = vein if len(vein) else widest
    return Vessels(
        aif=(aif * scale).astype(np.float32),
        vof=_mean(cranial_hu[vein]) if len(vein) else aif,
        measured_aif=aif,
        scale=float(scale),
        lead_s=float(lead_s(aif[None], tissue_curve(tissue_hu), dt_s)[0]),
        saturated=float(saturated_curves(tissue_hu[chosen]).mean()),
        aif_index=chosen,
        vof_index=vein,
        widest_index=widest,
    )


def _mean(curves: np.ndarray) -> np.ndarray:
    return curves.mean(0).astype(np.float32)


def _vessel_like(
    cranial_hu: np.ndarray, among: np.ndarray, aif: np.ndarray, dt_s: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the curves that look like the artery up to 12 s later, none saturated, and how late (n,) each is, s."""
    curves, lags = cranial_hu[among], range(min(len(aif) - 3, round(LATEST_S / dt_s)) + 1)
    # The artery shifted by every lag, correlated with all curves in one product.
    late = np.stack([np.concatenate([np.zeros(lag), aif[: len(aif) - lag]]) for lag in lags])
    late = late - late.mean(1, keepdims=True)
    plain = curves - curves.mean(1, keepdims=True)
    lengths = np.linalg.norm(plain, axis=1)[:, None] * np.linalg.norm(late, axis=1)[None, :]
    likeness = plain @ late.T / np.maximum(lengths, 1e-6)
    good = (likeness.max(1) >= LEAST_LIKENESS) & ~saturated_curves(curves)
    return among[good], likeness[good].argmax(1) * dt_s


def _venous(cranial_hu: np.ndarray, good: np.ndarray, late_s: np.ndarray) -> np.ndarray:
    """Return the fullest vein: the four tallest curves, 2 s late or more, within 1 s of one another; empty without."""
    groups = [good[np.abs(late_s - s) <= TOGETHER_S] for s in np.unique(late_s[late_s >= EARLIEST_VEIN_S])]
    tall = [group[np.argsort(cranial_hu[group].max(1), kind="stable")[-VENOUS_VOXELS:]] for group in groups]
    veins = [group for group in tall if len(group) == VENOUS_VOXELS]
    return max(veins, key=lambda group: float(_mean(cranial_hu[group]).max()), default=np.zeros(0, int))


def _area_ratio(vof: np.ndarray, aif: np.ndarray, dt_s: float) -> float:
    late = int(np.clip(int(vof.argmax()) - int(aif.argmax()), 0, round(LATEST_S / dt_s)))
    # Compare areas over the part of the bolus that both have shown before the scan ends.
    seen = aif[: len(aif) - late]
    return float(vof.sum()) / max(float(seen.sum()), 1e-6)
