"""Maps of a prepared series by a chosen deconvolution, with the artery corrected and vessels left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor

from monai_isles.errors import refused
from monai_isles.perfusion.deconvolution import (
    Solver,
    circulant_solver,
    oscillation_solver,
    require_fit,
    tikhonov_solver,
)
from monai_isles.perfusion.maps import (
    DENSITY_G_ML,
    HEMATOCRIT_FACTOR,
    LONGEST_MTT_S,
    PerfusionMaps,
    box_of,
    curve_peaks,
    residue_peaks,
)
from monai_isles.perfusion.masks import smooth_slices
from monai_isles.perfusion.motion import displacement_mm
from monai_isles.perfusion.prepared import PreparedSeries
from monai_isles.perfusion.quality import vessel_flags
from monai_isles.perfusion.vessels import find_vessels

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


METHODS = {"bcsvd": 0.10, "osvd": 0.065, "tikhonov": 0.10}
VESSEL_CBV = 9.0
_CHUNK = 8192


def measured_maps(
    prepared: PreparedSeries,
    *,
    method: str = "bcsvd",
    truncation: float | str | None = None,
    smoothing_mm: float = 5.0,
    aif: np.ndarray | None = None,
    venous_scaling: bool = True,
    device: str | torch.device = "cpu",
) -> PerfusionMaps:
    """Compute the maps of one prepared series, all voxels at once.

    Voxels with more than 9 ml/100 g of blood are vessels: they neither enter the smoothing nor the maps.

    Args:
        method: ``bcsvd`` (fixed truncation), ``osvd`` (oscillation index), ``tikhonov``.
        truncation: part of the largest singular value dropped (``bcsvd``) or damped (``tikhonov``, or ``gcv``), or the
            largest oscillation index (``osvd``); that of ``METHODS`` when None.
        smoothing_mm: full width at half maximum, in plane.
        aif: arterial curve (T,) over baseline, HU; chosen and scaled to the vein when None.
        device: where the arithmetic runs.

    Raises:
        IslesError: ``E-PERF-08`` unknown method or setting; those of ``find_vessels`` and of the deconvolutions.

    Source: Fieselmann et al., Int J Biomed Imaging 2011, doi:10.1155/2011/467563; ``tests/perfusion/test_measured.py``.
    """
    level = _level(method, truncation)
    inside = torch.from_numpy(prepared.tissue)
    box = box_of(inside)
    place = inside[box].permute(2, 0, 1).to(device)
    rise = prepared.rise_hu[(slice(None), *box)].to(device).permute(0, 3, 1, 2).contiguous()
    spacing = prepared.spacing_mm[:2]
    artery, vof, flags = _artery(prepared, aif, venous_scaling)
    blood = 100.0 * HEMATOCRIT_FACTOR / DENSITY_G_ML * rise.sum(0) / float(artery.sum())
    calm = smooth_slices(blood[None], place, fwhm_mm=min(2.5, smoothing_mm), spacing_mm=spacing)[0]
    place = place & (calm <= VESSEL_CBV)
    smooth = smooth_slices(rise, place, fwhm_mm=smoothing_mm, spacing_mm=spacing)
    curves = smooth.flatten(1)[:, place.flatten()].T.contiguous()
    values = voxel_maps(curves, torch.as_tensor(artery), prepared.dt_s, method=method, level=level)
    full = torch.zeros(inside.shape, dtype=torch.bool)
    full[box] = place.cpu().permute(1, 2, 0)
    volumes = [_painted(value, place, full, box) for value in values]
    return PerfusionMaps(
        *volumes[:4], aif=artery, ttp=volumes[4], vof=vof, brain=full.numpy(), quality=(*prepared.flags, *flags)
    )


def _artery(
    prepared: PreparedSeries, aif: np.ndarray | None, venous_scaling: bool
) -> tuple[np.ndarray, np.ndarray | None, list]:
    if aif is not None:
        return np.asarray(aif, np.float32), None, []
    candidates = [_candidates(prepared.rise_hu, mask) for mask in (prepared.tissue, prepared.cranial)]
    found = find_vessels(*candidates, prepared.dt_s, venous_scaling=venous_scaling)
    before = prepared.baseline_frames
    how = {"baseline_frames": before, "scale": found.scale}
    return found.aif, found.vof, vessel_flags(found.measured_aif, found.vof, prepared.dt_s, **how)


def _candidates(rise: Tensor, mask: np.ndarray) -> np.ndarray:
    return rise.flatten(1)[:, torch.from_numpy(mask).flatten()].T.numpy()


def _level(method: str, truncation: float | str | None) -> float | str:
    level = METHODS.get(method) if truncation is None else truncation
    number = isinstance(level, int | float) and not isinstance(level, bool) and 0 < level < 1
    if method not in METHODS or not (number or (method == "tikhonov" and level == "gcv")):
        raise refused(
            "E-PERF-08", where="method and truncation", found=f"{method!r}, {truncation!r}", methods=", ".join(METHODS)
        )
    return level


def deconvolved(curves: Tensor, aif: Tensor, dt_s: float, *, method: str, level: float | str) -> Tensor:
    """Return the residue functions times flow (V, 2 T) by one of ``METHODS``.  Units: 1/s."""
    solve = _solver(curves, aif, dt_s, method, level)
    return torch.cat([solve(part, part.new_empty(len(part), 2 * len(aif))) for part in curves.split(_CHUNK)])


def _solver(like: Tensor, aif: Tensor, dt_s: float, method: str, level: float | str) -> Solver:
    require_fit(like, aif, method)
    if method == "bcsvd":
        return circulant_solver(like, aif, dt_s, truncation=level)
    if method == "osvd":
        return oscillation_solver(like, aif, dt_s, limit=level)
    return tikhonov_solver(like, aif, dt_s, strength=level)


def voxel_maps(curves: Tensor, aif: Tensor, dt_s: float, *, method: str, level: float | str) -> list[Tensor]:
    """Return cbf, cbv, mtt, tmax, ttp (V,) of curves (V, T), a chunk at a time: residues stay in the cache."""
    scale = HEMATOCRIT_FACTOR / DENSITY_G_ML
    solve = _solver(curves, aif, dt_s, method, level)
    peak, place, top = (curves.new_empty(len(curves)) for _ in range(3))
    residue = curves.new_empty(min(_CHUNK, len(curves)), 2 * len(aif))
    for start in range(0, len(curves), _CHUNK):
        part, here = curves[start : start + _CHUNK], slice(start, start + _CHUNK)
        peak[here], place[here] = residue_peaks(solve(part, residue[: len(part)]))
        top[here] = curve_peaks(part)
    cbf = (6000.0 * scale * peak).clamp_min(0)
    cbv = (100.0 * scale * curves.sum(1) / float(aif.sum())).clamp_min(0)
    mtt = torch.where(cbf > 0, 60.0 * cbv / cbf.clamp_min(1e-3), torch.zeros_like(cbf)).clamp_max(LONGEST_MTT_S)
    tmax = (place * dt_s).clamp(0.0, len(aif) * dt_s)
    return [cbf, cbv, mtt, tmax, top * dt_s]


def _painted(values: Tensor, place: Tensor, mask: Tensor, box: tuple[slice, slice, slice]) -> np.ndarray:
    volume, part = torch.zeros(mask.shape, dtype=torch.float32), torch.zeros(place.shape, dtype=torch.float32)
    part[place.cpu()] = values.cpu()
    volume[box] = part.permute(1, 2, 0)
    return volume.numpy()
