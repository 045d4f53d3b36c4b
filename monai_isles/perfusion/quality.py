"""Judge the quality of a series and return remarks for the reader of its maps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from monai_isles.perfusion.timing import arrival_s

WEAK_AIF_HU, LEAST_CNR = 60.0, 15.0
MOTION_MM = 2.0
FEW_SLICES, LEAST_COVERAGE_MM = 4, 40.0
LEAST_DURATION_S, RETURNED, VENOUS_WIDTHS = 45.0, 0.5, 1.6
LEAST_VEIN, LEAST_DELAY_S = 0.65, 1.0
LATE_ARTERY, NO_ARTERY = "late-artery", "no artery leads the tissue: volumes would be of another vessel's maps"
LEAST_LEAD_S, LEAST_FULLNESS, LEAST_TISSUE_CNR, LOST_BRAIN = 1.5, 0.6, 3.0, 0.05
MOST_CBV = 4.0


@dataclass(frozen=True)
class Flag:
    """One remark about a measurement: a stable ``code``, ``info`` or ``warning``, and a sentence with numbers."""

    code: str
    severity: str
    text: str


def vessel_flags(
    aif_hu: np.ndarray,
    vof_hu: np.ndarray,
    dt_s: float,
    *,
    baseline_frames: int,
    scale: float = 1.0,
    fullness: float = 1.0,
) -> Iterator[Flag]:
    """Judge the measured arterial and venous curves: weak, cut short, no vein, no better vessel to scale by.

    Shapes: (T,), both as measured, before scaling.  Units: HU over baseline, s.
    Args:
        scale: by which the artery was then multiplied to the area of the widest vessel.
        fullness: area under the curves beside the widest vessel, as part of its own; 1 in the middle of a wide one.
    """
    peak, noise = float(aif_hu.max()), float(noise_of(aif_hu))
    if peak < WEAK_AIF_HU or peak < LEAST_CNR * noise:
        yield Flag("weak-aif", "warning", f"arterial peak {peak:.0f} HU over a noise of {noise:.1f} HU")
    last_s = (len(vof_hu) - 1) * dt_s
    for name, curve in (("arterial", aif_hu), ("venous", vof_hu)):
        # Three frames, because a single last one may be noise.
        end = float(curve[-3:].mean()) / max(float(curve.max()), 1e-6)
        if end > RETURNED or curve.argmax() >= len(curve) - 3:
            text = f"the {name} curve ends at {100 * end:.0f} % of its peak after {last_s:.0f} s"
            yield Flag("truncated-bolus", "warning", text + ": volume and transit time are too low")
            break  # the vein ends later than the artery: one remark says both
    if last_s < LEAST_DURATION_S:
        text = f"the series lasts {last_s:.0f} s, less than {LEAST_DURATION_S:.0f} s: late tissue may be cut"
        yield Flag("short-series", "warning", text)
    if baseline_frames < 3:
        yield Flag("short-baseline", "warning", f"{baseline_frames} frames before the bolus")
    yield from _vein_flags(scale * aif_hu, vof_hu, dt_s)
    # Scaling by the widest vessel corrects the artery's partial volume only if that vessel fills its voxels.
    if scale < 1.1:
        text = f"no vessel is wider than the artery (areas {scale:.2f} : 1): flow and volume may be too high throughout"
        yield Flag("partial-volume", "info", text)
    elif fullness < LEAST_FULLNESS:
        text = f"the widest vessel is thin (beside it {100 * fullness:.0f} % of its contrast): flow and volume may be "
        yield Flag("partial-volume", "warning", text + "a fifth or more too high throughout")


def volume_flags(median_cbv: float) -> Iterator[Flag]:
    """Judge the median blood volume of the brain, large vessels left out.  Units: ml/100 g.

    Simulated scans above the limit are at least 1.5 times too high.
    """
    if median_cbv > MOST_CBV:
        text = f"the brain holds {median_cbv:.1f} ml/100 g of blood in the median, more than {MOST_CBV:g}: perhaps no "
        text += "vessel fills a voxel, so that flow and volume are too high by one factor"
        yield Flag("high-volume", "warning", text)


def artery_flags(lead_s: float, saturated: float) -> Iterator[Flag]:
    """Judge whether the artery comes before the tissue, and whether its voxels are cut off at the scanner's limit.

    Units: ``lead_s`` s from the artery's peak to the tissue's; ``saturated`` is a part of the arterial voxels.
    """
    if lead_s < LEAST_LEAD_S:
        late = f"{lead_s:.1f} s before" if lead_s >= 0 else f"{-lead_s:.1f} s after"
        text = f"the arterial curve peaks {late} the tissue: no artery was found, it may be a vein; no volume is given"
        yield Flag(LATE_ARTERY, "warning", text)
    if saturated > 0.5:
        text = f"{100 * saturated:.0f} % of the arterial voxels are cut off at their peak: flow and volume are too high"
        yield Flag("saturated-artery", "warning", text)


def noise_flags(noise_hu: float, peak_hu: float, width_mm: float) -> Iterator[Flag]:
    """Judge the noise of a curve smoothed over ``width_mm`` against the peak of the mean tissue curve.

    Units: HU, mm.  Below the limit the core of simulated scans is off by more than a third.
    """
    ratio = peak_hu / max(noise_hu, 1e-6)
    if ratio < LEAST_TISSUE_CNR:
        text = f"tissue rises by {peak_hu:.1f} HU over a noise of {noise_hu:.1f} HU ({ratio:.1f} : 1) after "
        yield Flag("noise", "warning", text + f"{width_mm:.1f} mm of smoothing: core and Tmax may be off by a third")


def slice_flags(interior_vox: np.ndarray) -> Iterator[Flag]:
    """Judge whether slices lack brain: more than 5 % less inside of the skull (D,) than slices above and below have."""
    lost = missing_share(interior_vox)
    if (lost > LOST_BRAIN).any():
        listed = ", ".join(f"{n + 1} ({100 * lost[n]:.0f} %)" for n in np.flatnonzero(lost > LOST_BRAIN)[:8])
        text = f"brain is missing in slice {listed} against its neighbours: volumes are too small"
        yield Flag("slices-cut", "warning", text)


def gap_flags(spanned: np.ndarray) -> Iterator[Flag]:
    """Remark the slices (D,) in which the outline of the skull was continued across a wide gap."""
    if spanned.any():
        listed = ", ".join(str(n + 1) for n in np.flatnonzero(spanned)[:8])
        text = f"the skull is open in slice {listed} (craniectomy, or a cut field of view): "
        yield Flag("skull-gap", "info", text + "its outline was continued there")


def missing_share(interior_vox: np.ndarray) -> np.ndarray:
    """Return the part (D,) that each slice lacks of the smaller of the largest slices on either side."""
    # The inside of a skull grows and then shrinks along the head, so a slice between two larger ones has lost
    # something.
    counts = np.asarray(interior_vox, float)
    below, above = np.maximum.accumulate(counts), np.maximum.accumulate(counts[::-1])[::-1]
    wanted = np.minimum(below, above)
    return np.where(wanted > 0, 1.0 - counts / np.maximum(wanted, 1.0), 0.0)


def _vein_flags(aif_hu: np.ndarray, vof_hu: np.ndarray, dt_s: float) -> Iterator[Flag]:
    """Judge whether the venous curve can be a vein's: nearly as tall as the artery after scaling, and later."""
    part = float(vof_hu.max()) / max(float(aif_hu.max()), 1e-6)
    # The rise is steep where the top is flat: the time of half the peak is sharper than that of the peak.
    late_s = arrival_s(vof_hu, dt_s, 0.5) - arrival_s(aif_hu, dt_s, 0.5)
    if part < LEAST_VEIN or late_s < LEAST_DELAY_S:
        text = f"the venous curve peaks at {100 * part:.0f} % of the arterial one and comes {late_s:.1f} s after it"
        yield Flag("weak-vof", "warning", text + ": no whole vein was found, flow and volume may be off by one factor")


def frame_flags(times_s: np.ndarray, dt_s: float, *, uneven: bool) -> Iterator[Flag]:
    """Judge the frame times (T,)."""
    if uneven:
        steps = np.diff(times_s)
        text = f"frames {steps.min():.2f} to {steps.max():.2f} s apart, interpolated to {dt_s:.2f} s"
        yield Flag("uneven-frames", "warning" if steps.max() > 4.0 else "info", text)


def coverage_flags(slices: int, slice_mm: float) -> Iterator[Flag]:
    """Judge how much of the head was scanned.  Units: mm."""
    height_mm = slices * slice_mm
    if slices < FEW_SLICES or height_mm < LEAST_COVERAGE_MM:
        text = f"{slices} slices, {height_mm:.0f} mm of the head: volumes are of this slab"
        yield Flag("few-slices" if slices < FEW_SLICES else "low-coverage", "warning", text)


def motion_flags(largest_mm: float, *, applied: bool) -> Iterator[Flag]:
    """Judge the movement of the head.  Units: mm."""
    if largest_mm > MOTION_MM:
        done = "moved back" if applied else "left as it was"
        yield Flag("motion", "warning", f"the head moved up to {largest_mm:.1f} mm in plane; {done}")


def half_width_s(curve: np.ndarray, dt_s: float) -> float:
    """Return the full width at half height of a curve (T,), between its first and its last crossing."""
    half = 0.5 * float(curve.max())
    above = np.flatnonzero(curve >= half)
    first, last = int(above[0]), int(above[-1])
    before = (curve[first] - half) / max(curve[first] - curve[first - 1], 1e-6) if first else 0.0
    after = (curve[last] - half) / max(curve[last] - curve[last + 1], 1e-6) if last + 1 < len(curve) else 0.0
    return float(last - first + before + after) * dt_s


def wanted_scan_s(vof_hu: np.ndarray, dt_s: float, baseline_frames: int) -> float:
    """Return how long a scan should last for reliable volumes: arrival of contrast plus 1.6 widths of the venous curve.

    Shapes: (T,).  Units: HU over baseline, s.

    Source: Kasasbeh et al., Stroke 2016, doi:10.1161/STROKEAHA.116.014177; the width is that at half height, the
    arrival the end of the baseline; ``tests/perfusion/test_quality.py``.
    """
    return baseline_frames * dt_s + VENOUS_WIDTHS * half_width_s(vof_hu, dt_s)


def noise_of(curves: np.ndarray) -> np.ndarray:
    """Return the noise of curves (..., T) by the median of second differences, which a short bolus hardly changes."""
    return np.median(np.abs(np.diff(curves, n=2)), axis=-1) / (0.6745 * np.sqrt(6.0))
