"""Registration of a volume to its own mirror image in three dimensions, and a check of the result."""

from __future__ import annotations

import logging

import numpy as np

from monai_isles.errors import refused
from monai_isles.transforms.alignment import TISSUE
from monai_isles.transforms.alignment_volume import VolumeLevel, coarse_planes, refine_plane
from monai_isles.transforms.alignment_volume_itk import itk_volume_mirror
from monai_isles.transforms.mirror import Grid, VolumeMirror, sample_volume, volume_reflection
from monai_isles.transforms.registration import Registration, scaled

_log = logging.getLogger(__name__)

VOLUME_METHODS = ("volume", "volume-itk")
OUTLINE = 0.5
SCAN_MM, WORKING_MM, FINE_MM = 8.0, 4.0, 2.0
COARSE_REACH_MM, REACH_MM, FINE_REACH_MM = 8.0, 3.0, 1.5
LEAST_VOLUME_CONTRAST = 0.008
LEAST_VOLUME_OVERLAP, LEAST_VOLUME_SIMILARITY = 0.85, 0.45
LEAST_EXTENT_MM = 60.0
LARGEST_DEPARTURE_MM = 3.0


def register_volume_mirror(
    head: np.ndarray,
    spacing_mm: tuple[float, float, float],
    *,
    method: str = "volume",
    window: tuple[float, float] | None = None,
    where: str = "head",
) -> Registration:
    """Find the map that takes a head onto its own mirror image in three dimensions.

    The outline of the tissue weighs as much as its intensities, which lesions and bias fields disturb.

    Shapes: ``head (H, W, D)``, RAS+, with or without skull. Units: ``spacing_mm`` of the axes; ``window`` in the head's
    units.

    Args:
        method: ``"volume"``, the reflection across the plane of least robust residual; ``"volume-itk"``, ITK's rigid
            registration of the flipped volume from that start, kept where it stays near and fits no worse.
        window: intensities below and above are clipped; None takes the 1st and 99th percentile of what is not zero.
        where: name of the case, for messages.

    Raises:
        IslesError: ``E-REG-01`` no head, ``E-REG-05`` not a volume, ``E-REG-06`` not finite, ``E-REG-20`` no plane to
            find, ``E-REG-21`` result fails its check, ``E-REG-22`` a slab too thin.

    Source: Clèrigues 2020, doi:10.1016/j.cmpb.2020.105521, section 3.1; start, plane and check ours,
        ``tests/transforms/test_registration_volume.py``.
    """
    tissue = scaled(head, window, where=where)
    _require_extent(tissue, spacing_mm, where)
    tissue = OUTLINE * (tissue > TISSUE) + (1 - OUTLINE) * tissue
    whole = Grid.centred(tissue.shape, spacing_mm)
    starts, contrast = coarse_planes(*_pooled(tissue, whole, SCAN_MM))
    if contrast < LEAST_VOLUME_CONTRAST:
        raise refused(
            "E-REG-20",
            where=where,
            found=f"similarity changes by {contrast:.4f} over all tilts, {LEAST_VOLUME_CONTRAST} wanted",
        )
    volume, grid = _pooled(tissue, whole, WORKING_MM)
    fine = VolumeLevel.of(*_pooled(tissue, whole, FINE_MM), sigma_mm=2.5)
    mirror, made_by = _plane(volume, grid, fine, starts), "volume"
    if method == "volume-itk":
        candidate = itk_volume_mirror(volume, grid, mirror)
        if _plausible(candidate, mirror, fine, where):
            mirror, made_by = candidate, method
    flip = volume_reflection(0.0, 0.0, 0.0)
    if fine.residual_mm(flip) <= fine.residual_mm(mirror):
        mirror, made_by = flip, "flip"
    return _accepted(mirror, made_by, fine, where)


def _plane(volume: np.ndarray, grid: Grid, fine: VolumeLevel, starts: list[VolumeMirror]) -> VolumeMirror:
    coarse, middle = (VolumeLevel.of(volume, grid, sigma_mm=sigma) for sigma in (6.0, 2.5))
    rough = min((refine_plane(coarse, s, reach_mm=COARSE_REACH_MM) for s in starts), key=coarse.residual_mm)
    return refine_plane(fine, refine_plane(middle, rough, reach_mm=REACH_MM), reach_mm=FINE_REACH_MM)


def _require_extent(tissue: np.ndarray, spacing_mm: tuple[float, float, float], where: str) -> None:
    low, high = (np.argwhere(tissue > TISSUE).min(axis=0), np.argwhere(tissue > TISSUE).max(axis=0) + 1)
    extent_mm = (high - low) * np.array(spacing_mm)
    if extent_mm.min() < LEAST_EXTENT_MM:
        raise refused(
            "E-REG-22",
            where=where,
            found=f"tissue over {' x '.join(f'{mm:.0f}' for mm in extent_mm)} mm, {LEAST_EXTENT_MM:.0f} mm wanted",
        )


def _pooled(volume: np.ndarray, grid: Grid, working_mm: float) -> tuple[np.ndarray, Grid]:
    """Return block means of about ``working_mm``, and the grid they lie on."""
    block = [max(1, round(working_mm / s)) for s in grid.spacing_mm]
    cells = [n // b for n, b in zip(grid.shape, block, strict=True)]
    cut = volume[tuple(slice(c * b) for c, b in zip(cells, block, strict=True))]
    parts = [size for pair in zip(cells, block, strict=True) for size in pair]
    means = cut.reshape(parts).mean(axis=(1, 3, 5))
    spacing = tuple(s * b for s, b in zip(grid.spacing_mm, block, strict=True))
    origin = tuple(o + (b - 1) / 2 * s for o, b, s in zip(grid.origin_mm, block, grid.spacing_mm, strict=True))
    return means, Grid(means.shape, spacing, origin)


def _plausible(candidate: VolumeMirror, start: VolumeMirror, level: VolumeLevel, where: str) -> bool:
    """Return whether the candidate stays near the robust plane and fits no worse."""
    departure_mm = float(np.linalg.norm(candidate(level.points) - start(level.points), axis=1).mean())
    residual_mm, before_mm = level.residual_mm(candidate), level.residual_mm(start)
    if departure_mm <= LARGEST_DEPARTURE_MM and residual_mm <= before_mm:
        return True
    _log.info(
        "%s: ITK moved %.1f mm to residual %.2f mm; kept the robust plane at %.2f mm",
        where,
        departure_mm,
        residual_mm,
        before_mm,
    )
    return False


def _accepted(mirror: VolumeMirror, method: str, level: VolumeLevel, where: str) -> Registration:
    here = level.channels[0].ravel()
    (there,) = sample_volume(level.channels[:1], level.grid.voxels(mirror(level.grid.points())))
    inside, other = here > TISSUE, there > TISSUE
    overlap = 2 * float((inside & other).sum()) / float(inside.sum() + other.sum())
    similarity = float(np.corrcoef(here[inside | other], there[inside | other])[0, 1])
    residual_mm = level.residual_mm(mirror)
    if overlap < LEAST_VOLUME_OVERLAP or similarity < LEAST_VOLUME_SIMILARITY:
        raise refused(
            "E-REG-21",
            where=where,
            found=f"overlap {overlap:.2f} (at least {LEAST_VOLUME_OVERLAP}), similarity {similarity:.2f} "
            f"(at least {LEAST_VOLUME_SIMILARITY}), residual {residual_mm:.2f} mm at tilts of {mirror.angle_deg:.1f} "
            f"and {mirror.roll_deg:.1f} degrees",
        )
    flip_mm = level.residual_mm(volume_reflection(0.0, 0.0, 0.0))
    return Registration(mirror, method, residual_mm, flip_mm, overlap, similarity)
