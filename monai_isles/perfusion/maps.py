"""Compute maps of flow, volume, transit time and delay from a CT perfusion series, in one pipeline."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from monai_isles.errors import refused
from monai_isles.io.findings import say_once
from monai_isles.perfusion.deconvolution import chosen_method, curve_peaks, residue_peaks, residue_solver
from monai_isles.perfusion.masks import smooth_slices
from monai_isles.perfusion.prepared import PreparedSeries, prepare_series
from monai_isles.perfusion.quality import (
    LATE_ARTERY,
    Flag,
    artery_flags,
    half_width_s,
    noise_flags,
    vessel_flags,
    volume_flags,
    wanted_scan_s,
)
from monai_isles.perfusion.transit import SHAPE, likeliest_shape, transit_solver
from monai_isles.perfusion.vessels import Vessels, find_vessels

MAP_UNITS = {"cbf": "ml/100 g/min", "cbv": "ml/100 g", "mtt": "s", "tmax": "s", "ttp": "s"}
DENSITY_G_ML = 1.04
HEMATOCRIT_FACTOR = 0.73
LONGEST_MTT_S, LONGEST_TMAX_S = 60.0, 25.0
VESSEL_CBV, SMOOTHING_MM, WIDEST_MM, CALM_RISE, UNSTEADY = 9.0, 5.0, 10.0, 5.0, 4.0
_CHUNK, _SAMPLE = 8192, 4000
_SCALE = HEMATOCRIT_FACTOR / DENSITY_G_ML


@dataclass(frozen=True)
class PerfusionMaps:
    """Hold the maps of one scan, zero outside ``brain``.

    Shapes: maps (H, W, D) float32, ``brain`` (H, W, D) bool, ``aif`` and ``vof`` (T,) float32; ``aif_vox`` and
    ``vof_vox`` (n, 3) places in the grid, empty for an artery that was given.
    Units: ``cbf`` ml/100 g/min, ``cbv`` ml/100 g, ``mtt`` and ``tmax`` s, ``ttp`` s after the first frame, ``aif`` and
    ``vof`` HU over baseline; ``scale`` is what the measured artery was multiplied by, ``smoothing_mm`` the width of the
    smoothing, ``noise_hu`` the noise of one smoothed curve, ``shape`` that of the transit times of ``bayes`` and
    ``learned``.

    >>> image = np.full((4, 4, 1), 40.0)
    >>> maps = PerfusionMaps(image, image, image, image, aif=np.zeros(40), ttp=image, brain=image > 0)
    >>> float(maps.cbf[maps.brain].mean())
    40.0
    """

    cbf: np.ndarray
    cbv: np.ndarray
    mtt: np.ndarray
    tmax: np.ndarray
    aif: np.ndarray
    ttp: np.ndarray
    brain: np.ndarray
    vof: np.ndarray | None = None
    scale: float = 1.0
    smoothing_mm: float = SMOOTHING_MM
    noise_hu: float = 0.0
    shape: float | None = None
    aif_vox: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), int))
    vof_vox: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), int))
    quality: tuple[Flag, ...] = ()

    @property
    def artery_leads(self) -> bool:
        """Return whether the artery comes before the tissue; if not, no volume of the maps can be trusted."""
        return all(flag.code != LATE_ARTERY for flag in self.quality)


def perfusion_maps(
    series_hu: np.ndarray | Tensor,
    dt_s: float,
    *,
    spacing_mm: tuple[float, float, float],
    mask: np.ndarray | Tensor | None = None,
    motion: bool = True,
    baseline_frames: int | None = None,
    **options: Any,
) -> PerfusionMaps:
    """Compute the maps of one scan: ``prepare_series``, then ``measured_maps``, which takes the ``options``.

    Shapes: ``series_hu`` (T, H, W, D), ``mask`` (H, W, D) bool.  Units: HU, s, mm.
    Raises: those of ``prepare_series`` and ``measured_maps``.

    >>> maps = perfusion_maps(series, 1.0, spacing_mm=(3.0, 3.0, 5.0))
    >>> round(float(np.median(maps.tmax[maps.brain])))  # seconds after the artery
    4
    """
    place: dict[str, Any] = {"spacing_mm": spacing_mm, "motion": motion, "baseline_frames": baseline_frames}
    return measured_maps(prepare_series(series_hu, dt_s=dt_s, mask=mask, **place), **options)


def measured_maps(
    prepared: PreparedSeries,
    *,
    method: str | None = None,
    truncation: float | str | None = None,
    smoothing_mm: float | None = None,
    aif: np.ndarray | None = None,
    venous_scaling: bool = True,
    device: str | torch.device = "cpu",
) -> PerfusionMaps:
    """Compute the maps of one prepared series, all voxels at once.

    Voxels with more than 9 ml/100 g of blood are vessels, which are left out of smoothing and maps. So are, in a head
    that was moved back, voxels whose second differences have more than 4 times the usual variance: bone passed there.

    Args:
        method: ``learned`` (model of transit, its shape and the prior of transit, delay and volume learned from the
            scan), ``bayes`` (the same model, shape and prior fixed), ``bcsvd`` (fixed truncation, the conventional
            one), ``osvd`` (oscillation index), ``tikhonov``; ``ssvd`` and ``stikhonov``, truncated and damped
            decomposition as older software has it, wrong where tissue comes before the artery; when None ``learned``,
            or ``bcsvd`` where a truncation is given.
        truncation: part of the largest singular value dropped (``bcsvd``, ``ssvd``) or damped (``tikhonov``, or
            ``gcv``; ``stikhonov``), largest oscillation index (``osvd``), spread of the prior of transit times
            (``bayes``, ``learned``); of ``METHODS`` when None.
        smoothing_mm: full width at half maximum, in plane; when None 5, and up to 10 where the mean tissue curve rises
            by less than 5 times the noise.
        aif: arterial curve (T,) over baseline, HU; chosen in the series when None.
        venous_scaling: scale the chosen artery to the vein.
        device: where the arithmetic runs.

    Raises: ``E-PERF-08`` unknown method or setting; those of ``find_vessels`` and of the deconvolutions.

    Source: Fieselmann et al., Int J Biomed Imaging 2011, doi:10.1155/2011/467563; ``tests/perfusion/test_measured.py``.

    >>> maps = measured_maps(prepare_series(series, spacing_mm=(3.0, 3.0, 5.0), dt_s=1.0), method="bcsvd")
    >>> round(float(np.median(maps.tmax[maps.brain])))  # seconds after the artery
    4
    """
    method, level = chosen_method(method, truncation)
    inside = torch.from_numpy(prepared.tissue)
    box = ndimage.find_objects(prepared.tissue.view(np.int8))[0]
    place = inside[box].permute(2, 0, 1).to(device)
    rise = prepared.rise_hu[(slice(None), *box)].to(device).permute(0, 3, 1, 2).contiguous()
    spacing = prepared.spacing_mm[:2]
    result = None if aif is not None else _vessels_of(prepared, venous_scaling=venous_scaling)
    artery = np.asarray(aif if result is None else result.aif, np.float32)
    # Blood volume needs no deconvolution: area of the curve over area of the artery.
    blood = 100.0 * _SCALE * rise.sum(0) / float(artery.sum())
    width = SMOOTHING_MM if smoothing_mm is None else smoothing_mm
    calm = smooth_slices(blood[None], place, fwhm_mm=min(2.5, width), spacing_mm=spacing)[0]
    # Vessels out before the smoothing, else they leak into the tissue beside them.
    place = place & (calm <= VESSEL_CBV)
    if not place.any():
        found = f"by it all {int(inside.sum())} voxels of brain have more than {VESSEL_CBV:g} ml/100 g of blood"
        raise refused("E-PERF-03", where="arterial curve", found=found)
    if prepared.moved_back:
        place = place & _steady(rise, place)
    curves = _smooth_curves(rise, place, width, spacing)
    # Noise is known only once the usual width was tried.
    wider = _calming_width(curves) if smoothing_mm is None else width
    if wider > width:
        width, curves = wider, _smooth_curves(rise, place, wider, spacing)
    # Noise of the smoothed curves: what the maps are made of.
    noise = curve_noise(curves)
    arterial = torch.as_tensor(artery)
    shape = transit_shape(curves, arterial, prepared.dt_s, method=method, level=level)
    values = voxel_maps(curves, arterial, prepared.dt_s, method=method, level=level, shape=shape)
    mask = np.zeros(inside.shape, bool)
    mask[box] = place.cpu().permute(1, 2, 0).numpy()
    painted: dict[str, Any] = {name: _paint(value, mask) for name, value in zip(MAP_UNITS, values, strict=True)}
    if result is not None:
        painted["aif_vox"] = np.argwhere(prepared.tissue)[result.aif_index]
        painted |= {"vof": result.vof, "vof_vox": np.argwhere(prepared.cranial)[result.vof_index]}
        painted["scale"] = result.scale
    return PerfusionMaps(
        **painted,
        aif=artery,
        brain=mask,
        smoothing_mm=round(width, 2),
        noise_hu=noise,
        shape=shape,
        quality=(
            *prepared.flags,
            *_remarks(prepared, result, curves, noise, width),
            *volume_flags(float(values[1].median())),
        ),
    )


def _smooth_curves(rise: Tensor, place: Tensor, width_mm: float, spacing_mm: tuple[float, float]) -> Tensor:
    """Return the curves (V, T) of ``place`` (D, H, W), smoothed in plane; ``rise`` is (T, D, H, W)."""
    smooth = smooth_slices(rise, place, fwhm_mm=width_mm, spacing_mm=spacing_mm)
    return smooth.flatten(1)[:, place.flatten()].T.contiguous()


def _calming_width(curves: Tensor) -> float:
    """Return the width at which the mean of curves, smoothed over 5 mm, rises by ``CALM_RISE`` times the noise."""
    rise = float(curves.mean(0).max()) / max(curve_noise(curves), 1e-6)
    return SMOOTHING_MM * min(max(CALM_RISE / max(rise, 1e-6), 1.0), WIDEST_MM / SMOOTHING_MM)


def _steady(rise: Tensor, place: Tensor) -> Tensor:
    """Return where (D, H, W) the bends of curves (T, D, H, W) have at most ``UNSTEADY`` times their usual variance."""
    # Contrast bends a curve slowly from frame to frame; bone that passes a voxel changes it within one.
    bends = torch.zeros_like(rise[0])
    for before, now, after in zip(rise, rise[1:], rise[2:], strict=False):
        bends.add_(torch.add(before, after).sub_(now, alpha=2.0).square_())
    return bends <= UNSTEADY * bends[place].median()


def _vessels_of(prepared: PreparedSeries, *, venous_scaling: bool) -> Vessels:
    rise, masks = prepared.rise_hu.flatten(1), (prepared.tissue, prepared.cranial)
    tissue, cranial = (rise[:, torch.from_numpy(mask).flatten()].T.numpy() for mask in masks)
    return find_vessels(tissue, cranial, prepared.dt_s, venous_scaling=venous_scaling)


def _remarks(
    prepared: PreparedSeries, vessels: Vessels | None, curves: Tensor, noise_hu: float, width_mm: float
) -> Iterator[Flag]:
    yield from noise_flags(noise_hu, float(curves.mean(0).max()), width_mm)
    if vessels is not None:
        yield from artery_flags(vessels.lead_s, vessels.saturated)
        seen: dict[str, Any] = {"baseline_frames": prepared.baseline_frames, "scale": vessels.scale}
        seen["fullness"] = _fullness(prepared, vessels)
        yield from vessel_flags(vessels.measured_aif, vessels.vof, prepared.dt_s, **seen)


def _fullness(prepared: PreparedSeries, vessels: Vessels) -> float:
    """Return the area under the curves beside the widest vessel, in plane, as part of the vessel's own."""
    index = vessels.widest_index if len(vessels.widest_index) else vessels.vof_index
    if not len(index):
        return 0.0
    area = prepared.rise_hu.sum(0).numpy()
    x, y, z = np.argwhere(prepared.cranial)[index].T
    # Beside the middle of a wide vessel lies vessel; beside a thin one tissue, which its own voxels hold too.
    high = np.array(area.shape[:2]) - 1
    beside = [
        area[np.clip(x + i, 0, high[0]), np.clip(y + j, 0, high[1]), z] for i, j in ((-1, 0), (1, 0), (0, -1), (0, 1))
    ]
    return float(np.mean(beside) / max(float(area[x, y, z].mean()), 1e-6))


def curve_noise(curves: Tensor) -> float:
    """Return the noise of smoothed curves (V, T) from their bends, which a bolus of several frames hardly moves.

    Units: those of the curves.
    """
    # Second differences of white noise have 6 times its variance; the median of |x| is 0.6745 of its spread.
    bends = curves[:: max(1, len(curves) // _SAMPLE)].diff(n=2, dim=1).abs().median(1).values
    return float(bends.median()) / (0.6745 * 6.0**0.5)


def _deconvolver(
    like: Tensor, aif: Tensor, dt_s: float, method: str, level: float | str
) -> Callable[[Tensor], list[Tensor]]:
    """Return what turns curves (V, T) into flow in 1/s, volume (flow x s) and Tmax in s, (V,) each."""
    solve, latest, area = residue_solver(like, aif, dt_s, method, level), round(LONGEST_TMAX_S / dt_s), float(aif.sum())
    residue = like.new_empty(min(_CHUNK, len(like)), 2 * len(aif))

    def measure(curves: Tensor) -> list[Tensor]:
        # Flow is the top of the residue; its place is Tmax.
        peak, place = residue_peaks(solve(curves, residue[: len(curves)]), latest)
        return [peak, curves.sum(1) / area, place * dt_s]

    return measure


def transit_shape(curves: Tensor, aif: Tensor, dt_s: float, *, method: str, level: Any) -> float | None:
    """Return the shape of the gamma-distributed transit times that a method takes; None for a deconvolution."""
    if method == "learned":
        return likeliest_shape(curves, aif, dt_s, spread=level)
    return SHAPE if method == "bayes" else None


def voxel_maps(
    curves: Tensor, aif: Tensor, dt_s: float, *, method: str, level: Any, shape: float | None = None
) -> list[Tensor]:
    """Return cbf, cbv, mtt, tmax, ttp (V,) of curves (V, T), a chunk at a time: residues stay in the cache."""
    # Tmax lies between 0 and 25 s. A curve of noise alone gets what the prior of ``bayes`` or ``learned`` expects.
    shape = transit_shape(curves, aif, dt_s, method=method, level=level) if shape is None else shape
    if shape is None:
        measure = _deconvolver(curves, aif, dt_s, method, level)
    else:
        measure = transit_solver(curves, aif, dt_s, spread=level, shape=shape, learned=method == "learned")
    flow, volume, tmax, top = (curves.new_empty(len(curves)) for _ in range(4))
    for start in range(0, len(curves), _CHUNK):
        part, here = curves[start : start + _CHUNK], slice(start, start + _CHUNK)
        flow[here], volume[here], tmax[here] = measure(part)
        top[here] = curve_peaks(part)
    cbf, cbv = (6000.0 * _SCALE * flow).clamp_min(0), (100.0 * _SCALE * volume).clamp_min(0)
    # Central volume theorem: transit time is volume over flow.
    mtt = torch.where(cbf > 0, 60.0 * cbv / cbf.clamp_min(1e-3), torch.zeros_like(cbf)).clamp_max(LONGEST_MTT_S)
    return [cbf, cbv, mtt, tmax.clamp(0.0, min(LONGEST_TMAX_S, len(aif) * dt_s)), top * dt_s]


def _paint(values: Tensor, mask: np.ndarray) -> np.ndarray:
    """Return the map (H, W, D) of values (V,) in the order of slices, then rows."""
    volume = np.zeros(mask.shape, np.float32)
    volume.transpose(2, 0, 1)[mask.transpose(2, 0, 1)] = values.cpu().numpy()
    return volume


# full width at half height of an arterial bolus and median transit time of healthy brain, in s, as measured here
USUAL_WIDTH_S, USUAL_MTT_S, USUAL_FACTOR = 7.0, 3.9, (0.62, 1.5)
WIDTH_S, MTT_S, CBF = (3.5, 18.0), (1.8, 12.0), (8.0, 180.0)  # a missed vein alone makes a right flow of 150
LEAST_CBV = 0.5  # ml/100 g; less holds no bolus, whatever the clock


def clock_flags(maps: PerfusionMaps, dt_s: float, *, where: str) -> list[Flag]:
    """Judge by physiology whether the frame times can be right: a wrong clock stretches all of these by one factor.

    Looked at: the width of the arterial bolus, and the median transit time and flow of the half of the brain that
    contrast reaches first, which stands for the healthy side. Volume does not depend on the clock:
    where it is next to nothing no factor is stated. It is logged too.

    Source: limits ours, from simulated scans at 1/3 to 3 times their true step; ``tests/perfusion/test_timing.py``.
    """
    inside = maps.brain
    healthy = inside & (maps.tmax <= np.median(maps.tmax[inside]))
    width, mtt, cbf = half_width_s(maps.aif, dt_s), *(float(np.median(m[healthy])) for m in (maps.mtt, maps.cbf))
    factor = float(np.sqrt(width / USUAL_WIDTH_S * mtt / USUAL_MTT_S))
    bounds = ((width, WIDTH_S), (mtt, MTT_S), (cbf, CBF), (factor, USUAL_FACTOR))
    if all(low <= value <= high for value, (low, high) in bounds):
        return []
    text = f"the arterial bolus is {width:.1f} s wide at half its height, and the half of the brain that contrast "
    text += f"reaches first has a median MTT of {mtt:.1f} s and CBF of {cbf:.0f} ml/100 g/min"
    if width > 0 and cbf * mtt / 60.0 >= LEAST_CBV:
        text = f"the frame times may be wrong: {text}; times {'short' if factor < 1 else 'long'} by about "
        text += f"{max(factor, 1 / factor):.1f} would explain it (check the protocol; --dt or --times state them)"
    else:
        text = f"the frame times cannot be judged: {text}; no bolus seems to reach the brain"
    say_once(f"{where}: {text}")
    return [Flag("implausible-times", "warning", text)]


def perfusion_record(
    prepared: PreparedSeries, maps: PerfusionMaps, settings: Mapping[str, object], *, where: str
) -> dict[str, Any]:
    """Return what ``perfusion.json`` holds: plain numbers, lists and text.

    Units: in the names of the keys; medians are those of ``brain``; voxels count from 0 in RAS+, not as a file runs.
    """
    brain, voxel_ml = maps.brain, float(np.prod(prepared.spacing_mm)) / 1000.0
    motion = prepared.motion
    moved = {
        "applied": prepared.moved_back,
        "largest_mm": None if motion is None else round(motion.largest_mm, 3),
        "path_right_mm_front_mm_turn_deg": None if motion is None else np.round(motion.path, 4).tolist(),
    }
    wanted = None if maps.vof is None else round(wanted_scan_s(maps.vof, prepared.dt_s, prepared.baseline_frames), 1)
    return {
        "settings": {**settings, "smoothing_mm": maps.smoothing_mm},
        "dt_s": round(prepared.dt_s, 6),
        "frames": len(maps.aif),
        "baseline_frames": prepared.baseline_frames,
        "aif_hu": _to_list(maps.aif),
        "vof_hu": _to_list(maps.vof),
        "aif_scale": round(maps.scale, 4),
        "aif_vox": maps.aif_vox.tolist(),
        "vof_vox": maps.vof_vox.tolist(),
        "noise_hu": round(maps.noise_hu, 4),
        "transit_shape": None if maps.shape is None else round(maps.shape, 2),
        "brain_ml": round(float(brain.sum()) * voxel_ml, 3),
        "scan": {"seconds": round((len(maps.aif) - 1) * prepared.dt_s, 2), "wanted_s": wanted},
        "coverage": {"slices": int(brain.any((0, 1)).sum()), "mm": round(brain.shape[2] * prepared.spacing_mm[2], 2)},
        "medians": {name: round(float(np.median(getattr(maps, name)[brain])), 3) for name in MAP_UNITS},
        "units": dict(MAP_UNITS),
        "flags": [asdict(flag) for flag in (*clock_flags(maps, prepared.dt_s, where=where), *maps.quality)],
        "motion": moved,
    }


def map_settings(
    method: str | None = None, truncation: float | str | None = None, smoothing_mm: float | None = None
) -> dict[str, object]:
    """Return the settings of ``measured_maps`` that decide its maps; ``perfusion.json`` states the width in use too."""
    method, level = chosen_method(method, truncation)
    return {
        "method": method,
        "truncation": level,
        "smoothing_mm": smoothing_mm,
        "vessel_cbv_ml_100g": VESSEL_CBV,
        "longest_tmax_s": LONGEST_TMAX_S,
        "longest_mtt_s": LONGEST_MTT_S,
        "density_g_ml": DENSITY_G_ML,
        "hematocrit_factor": HEMATOCRIT_FACTOR,
    }


def _to_list(curve: np.ndarray | None) -> list[float] | None:
    return None if curve is None else np.round(curve.astype(float), 3).tolist()
