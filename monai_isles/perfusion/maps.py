"""Maps of flow, volume, transit time and delay from a CT perfusion series."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from monai_isles.errors import refused
from monai_isles.perfusion.deconvolution import block_circulant_svd
from monai_isles.perfusion.masks import smooth_in_plane
from monai_isles.perfusion.quality import Flag
from monai_isles.perfusion.vessels import arterial_curve, venous_curve

_LANES = 64


def residue_peaks(residue: Tensor) -> tuple[Tensor, Tensor]:
    """Return height (V,) and position (V,) in frames of the largest value of circular residues (V, L).

    The position is that of the parabola through the largest value and its neighbours; the last quarter of the circle
    is time before zero, and counts as negative.

    Source: parabolic peak interpolation; ``tests/perfusion/test_peaks.py``.
    """
    length = residue.shape[1]
    index = _largest(residue)
    before, height, after = _around(residue, index)
    bend = (before - 2 * height + after).clamp_max(-1e-12)
    position = index + (0.5 * (before - after) / bend).clamp(-0.5, 0.5)
    return height, torch.where(position >= 0.75 * length, position - length, position)


def curve_peaks(curves: Tensor) -> Tensor:
    """Return the position (V,) in frames of the largest value of curves (V, T), smoothed over three frames."""
    frames = curves.shape[1]
    wide = curves.new_full((len(curves), -(-frames // _LANES) * _LANES), -torch.inf)
    calm = wide[:, :frames]
    torch.add(curves[:, :-2], curves[:, 2:], out=calm[:, 1:-1])
    calm[:, 1:-1] += curves[:, 1:-1]
    torch.add(curves[:, 0], curves[:, 1], out=calm[:, 0]).mul_(1.5)
    torch.add(curves[:, -2], curves[:, -1], out=calm[:, -1]).mul_(1.5)
    index = _largest(wide).clamp_(1, frames - 2)
    before, top, after = _around(wide, index)
    bend = (before - 2 * top + after).clamp_max(-1e-12)
    return index + (0.5 * (before - after) / bend).clamp(-0.5, 0.5)


def _largest(rows: Tensor) -> Tensor:
    """Return the index (V,) of the largest value of each row; numpy's search is faster than torch's, most in rows of
    64, 128 and so on."""
    return torch.from_numpy(rows.numpy().argmax(1)) if rows.device.type == "cpu" else rows.argmax(1)


def _around(rows: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the values before, at and after ``index`` on circular rows."""
    length = rows.shape[1]
    flat, start = rows.flatten(), torch.arange(len(rows), device=rows.device) * length
    before = torch.where(index == 0, length - 1, index - 1)
    after = torch.where(index == length - 1, 0, index + 1)
    return flat[start + before], flat[start + index], flat[start + after]


DENSITY_G_ML = 1.04
HEMATOCRIT_FACTOR = 0.73
LONGEST_MTT_S = 60.0


@dataclass(frozen=True)
class PerfusionMaps:
    """Hold the maps of one scan, zero outside the mask.

    Shapes: maps (H, W, D) float32, ``brain`` (H, W, D) bool, ``aif`` and ``vof`` (T,) float32.
    Units: ``cbf`` ml/100 g/min, ``cbv`` ml/100 g, ``mtt`` and ``tmax`` s, ``ttp`` s after the first frame, ``aif`` and
    ``vof`` HU over baseline. ``measured_maps`` fills all of them, ``perfusion_maps`` the first five.
    """

    cbf: np.ndarray
    cbv: np.ndarray
    mtt: np.ndarray
    tmax: np.ndarray
    aif: np.ndarray
    ttp: np.ndarray | None = None
    vof: np.ndarray | None = None
    brain: np.ndarray | None = None
    quality: tuple[Flag, ...] = ()


def perfusion_maps(
    series_hu: np.ndarray | Tensor,
    dt_s: float,
    *,
    mask: np.ndarray | Tensor,
    spacing_mm: tuple[float, float, float],
    aif: np.ndarray | None = None,
    baseline_frames: int | None = None,
    smoothing_mm: float = 5.0,
    truncation: float = 0.15,
    venous_scaling: bool = True,
) -> PerfusionMaps:
    """Compute the maps of one scan by block-circulant deconvolution.

    Shapes: ``series_hu`` (T, H, W, D), ``mask`` (H, W, D) bool.
    Units: HU, s, mm (``smoothing_mm`` is the full width at half maximum, in plane).

    Args:
        aif: arterial curve over baseline; chosen from the series when None.
        baseline_frames: frames before the bolus; found on the mean curve when None.
        truncation: see ``block_circulant_svd``.
        venous_scaling: scale a chosen ``aif`` to the area of the venous curve, against partial volume of thin arteries.

    Raises:
        IslesError: ``E-PERF-01`` or ``-03`` no bolus, ``E-PERF-02`` shapes that do not fit, ``E-PERF-04`` empty mask.

    Source: Fieselmann et al., Int J Biomed Imaging 2011, doi:10.1155/2011/467563; ``tests/perfusion/test_maps.py``.
    """
    series, inside = torch.as_tensor(series_hu, dtype=torch.float32), torch.as_tensor(mask).bool()
    _require_fit(series, inside)
    box = box_of(inside)
    series, inside = series[(slice(None), *box)], inside[box]
    first = baseline_frames or bolus_arrival(series[:, inside].mean(1))
    rise = series - series[:first].mean(0)
    if aif is None:
        aif = _measured_aif(rise[:, inside].T.numpy(), dt_s, venous_scaling)
    smooth = smooth_in_plane(rise, inside, fwhm_mm=smoothing_mm, spacing_mm=spacing_mm[:2])
    curves = smooth[:, inside].T.contiguous()
    values = _voxel_maps(curves, torch.as_tensor(aif, dtype=torch.float32), dt_s, truncation)
    volumes = [_paint(v, mask=torch.as_tensor(mask).bool()) for v in values]
    return PerfusionMaps(*volumes, aif=np.asarray(aif, np.float32))


def bolus_arrival(curve: Tensor) -> int:
    """Return the number of frames before the bolus on a mean tissue curve (T,): up to a tenth of the rise."""
    rise = curve - curve[:2].mean()
    above = rise > 0.1 * rise.max()
    return max(2, int(above.float().argmax()) - 1)


def _require_fit(series: Tensor, inside: Tensor) -> None:
    if series.ndim != 4 or series.shape[1:] != inside.shape:
        raise refused(
            "E-PERF-02",
            where="perfusion_maps",
            found=f"series {tuple(series.shape)}, mask {tuple(inside.shape)}",
            fault="series and mask do not fit",
            fix="pass the series as (T, H, W, D), the mask as (H, W, D)",
        )
    if not bool(inside.any()):
        raise refused("E-PERF-04", where="perfusion_maps", found="0 voxels of brain")


def box_of(inside: Tensor) -> tuple[slice, slice, slice]:
    """Return the smallest box around a mask (H, W, D) that holds a voxel."""
    spans = []
    for axis in range(3):
        hit = inside.amax(dim=[a for a in range(3) if a != axis]).nonzero().flatten()
        spans.append(slice(int(hit[0]), int(hit[-1]) + 1))
    return spans[0], spans[1], spans[2]


def _measured_aif(curves: np.ndarray, dt_s: float, venous_scaling: bool) -> np.ndarray:
    aif = arterial_curve(curves, dt_s)
    if venous_scaling:
        aif = aif * max(1.0, float(venous_curve(curves).sum()) / max(float(aif.sum()), 1e-6))
    return aif


def _voxel_maps(curves: Tensor, aif: Tensor, dt_s: float, truncation: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    residue = block_circulant_svd(curves, aif, dt_s, truncation=truncation)
    peak, index = residue.max(dim=1)
    scale = HEMATOCRIT_FACTOR / DENSITY_G_ML
    cbf = (6000.0 * scale * peak).clamp_min(0)
    cbv = (100.0 * scale * curves.sum(1) / aif.sum()).clamp_min(0)
    mtt = torch.where(cbf > 0, 60.0 * cbv / cbf.clamp_min(1e-3), torch.zeros_like(cbf)).clamp_max(LONGEST_MTT_S)
    frames = aif.numel()
    tmax = torch.where(index >= frames + frames // 2, 0, index).float() * dt_s
    return cbf, cbv, mtt, tmax.clamp_max(frames * dt_s)


def _paint(values: Tensor, *, mask: Tensor) -> np.ndarray:
    volume = torch.zeros(mask.shape, dtype=torch.float32)
    volume[mask] = values
    return volume.numpy()
