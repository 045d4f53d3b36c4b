"""Register a head to its own mirror image, in plane or in space: start, refinement, check, fallback."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from monai_isles.errors import IslesError, refused
from monai_isles.perfusion.thresholds import upright_hemispheres
from monai_isles.transforms.alignment import SCAN_DEG, TISSUE, Level, coarse_mirrors, itk_mirror, refine
from monai_isles.transforms.mirror import Grid, Mirror, reflection, sample

_log = logging.getLogger(__name__)

METHODS = ("rigid", "affine", "itk")
CT_WINDOW = (0.0, 60.0)
RUNAWAY_DEG, LEAST_CONTRAST = 4.0, 0.008
NO_FIT = ("E-REG-01", "E-REG-02", "E-REG-03", "E-REG-20", "E-REG-21", "E-REG-22")


@dataclass(frozen=True)
class Settings:
    """Hold the numbers of a registration; the defaults are those in plane.

    Units: mm; ``passes`` are size of the cells, smoothing and reach of each refinement, coarse to fine.

    Args:
        outline: weight of the tissue's outline beside its intensities, which bias fields disturb.
        chance: share of the residual that fitting gains by chance on one slice of an upright head.
        no_axis, no_match: codes of the two refusals.
    """

    passes: tuple[tuple[float, float, float], ...] = ((2.0, 3.0, 8.0), (2.0, 1.5, 3.0))
    outline: float = 0.0
    least_overlap: float = 0.8
    least_similarity: float = 0.3
    least_extent_mm: float = 0.0
    largest_departure_mm: float = 4.0
    chance: float = 0.01
    no_axis: str = "E-REG-02"
    no_match: str = "E-REG-03"


SETTINGS = {
    2: Settings(),
    3: Settings(
        passes=((4.0, 6.0, 8.0), (4.0, 2.5, 3.0), (2.0, 2.5, 1.5)),
        outline=0.5,
        least_overlap=0.85,
        least_similarity=0.1,
        least_extent_mm=60.0,
        largest_departure_mm=3.0,
        chance=0.0,
        no_axis="E-REG-20",
        no_match="E-REG-21",
    ),
}


@dataclass(frozen=True)
class Registration:
    """Hold a head's mirror and how well it fits.

    ``method`` is one of ``METHODS``; or ``flip``, the array's plain flip, if registration gains no more than fitting
    gains by chance on an upright head (in plane 1 % of the residual on one slice, half of that on two, and so on); or
    ``midline``, the upright reflection across the middle of the head, if the head does not match its mirror image
    (``remark`` gives the reason).
    Units: ``residual_mm`` and ``flip_residual_mm`` (of the array's plain flip) are robust root mean square distances
    between the head and its mirror image; ``overlap`` is the Dice of the two, ``similarity`` their correlation.
    """

    mirror: Mirror
    method: str
    residual_mm: float
    flip_residual_mm: float
    overlap: float
    similarity: float
    remark: str = ""


def register_mirror(
    head: np.ndarray,
    spacing_mm: Sequence[float],
    *,
    method: str = "rigid",
    window: tuple[float, float] | None = CT_WINDOW,
    where: str = "head",
) -> Registration:
    """Find the map from a head onto its own mirror image.

    Shapes: ``head (H, W, D)``, RAS+, any ``D >= 1``. Units: ``spacing_mm`` of H and W for a mirror in plane, the same
    for all slices, or of all three axes for a mirror in space; ``window`` in the head's units.

    Args:
        method: ``"rigid"``, a reflection by robust least squares; ``"affine"``, the same with all 6 (12) numbers of an
            affine map free; ``"itk"``, ITK's registration from the rigid start. The last two are used if they stay
            near the reflection and fit no worse. The papers register affinely; on heads of known pose the extra
            parameters follow the lesion and gain nothing, so the reflection is the default
            (``benchmarks/registration.py``).
        window: intensities below and above are clipped; None takes the 1st and 99th percentile of the non-zero values.
        where: name of the case, for messages.

    Raises: the codes of ``NO_FIT`` where the head shows no mirror, ``E-REG-04`` method not known, ``E-REG-05`` and
    ``E-REG-06`` not a volume of numbers.

    Source: Clèrigues 2019, doi:10.1016/j.compbiomed.2019.103487; in space Clèrigues 2020,
        doi:10.1016/j.cmpb.2020.105521, section 3.1; start and check ours, ``tests/transforms/test_registration.py``.

    >>> round(register_mirror(tilted, (0.9, 0.9)).mirror.angle_deg)
    6
    """
    if method not in METHODS:
        raise refused("E-REG-04", where=where, found=repr(method), methods=", ".join(METHODS))
    axes = len(spacing_mm)
    settings, tissue = SETTINGS[axes], scale_head(head, window, where=where)
    _require_extent(tissue, spacing_mm, settings, where)
    # The outline steadies MR, whose bias fields differ between the sides; CT needs none (outline 0).
    image = (settings.outline * (tissue > TISSUE) + (1 - settings.outline) * tissue).astype(np.float32)
    grid = Grid.centred(image.shape[:axes], spacing_mm)
    image = image.reshape(*grid.shape, -1)
    rigid, fine = _reflection(image, grid, settings, where)
    mirror, made_by = _choose(rigid, fine, method, settings, where)
    # An upright head: the plain flip interpolates nothing, so it stays unless registering gains more than chance.
    flip = reflection([0.0] * (axes - 1), 0.0)
    flip_mm, residual_mm = fine.residual_mm(flip), fine.residual_mm(mirror)
    if flip_mm <= (1 + settings.chance / image.shape[-1]) * residual_mm:
        mirror, made_by, residual_mm = flip, "flip", flip_mm
    overlap, similarity = _agreement(mirror, fine)
    result = Registration(mirror, made_by, residual_mm, flip_mm, overlap, similarity)
    _require_match(result, settings, where)
    return result


def scale_head(head: np.ndarray, window: tuple[float, float] | None, *, where: str) -> np.ndarray:
    """Return the head clipped to its window and brought to 0..1."""
    if head.ndim != 3 or min(head.shape[:2]) < 16 or head.shape[2] < 1:
        raise refused("E-REG-05", where=where, found=f"shape {head.shape}")
    if not np.isfinite(head).all():
        raise refused("E-REG-06", where=where, found=f"{np.count_nonzero(~np.isfinite(head))} of {head.size} voxels")
    low, high = window or (np.percentile(head[head != 0], (1, 99)) if head.any() else (0.0, 1.0))
    tissue = np.clip((np.asarray(head, np.float32) - np.float32(low)) / np.float32(max(high - low, 1e-6)), 0, 1)
    share = float((tissue > TISSUE).mean())
    if not 0.01 < share < 0.99:
        result = f"{share:.1%} of the voxels lie above {low + TISSUE * (high - low):.4g}"
        raise refused("E-REG-01", where=where, found=result)
    return tissue


def _require_extent(tissue: np.ndarray, spacing_mm: Sequence[float], settings: Settings, where: str) -> None:
    if not settings.least_extent_mm:
        return
    places = np.argwhere(tissue > TISSUE)
    extent_mm = (places.max(axis=0) + 1 - places.min(axis=0)) * np.array(spacing_mm)
    if extent_mm.min() < settings.least_extent_mm:
        sizes = " x ".join(f"{mm:.0f}" for mm in extent_mm)
        result = f"tissue over {sizes} mm, {settings.least_extent_mm:.0f} mm wanted"
        raise refused("E-REG-22", where=where, found=result)


def _reflection(image: np.ndarray, grid: Grid, settings: Settings, where: str) -> tuple[Mirror, Level]:
    """Return the reflection with the least robust residual and the last level of its refinement."""
    first, *later = settings.passes
    pooled, cells = grid.pool(image, first[0])
    # A disc has no axis: where all tilts fit alike, any mirror would be as good as another.
    starts, contrast = coarse_mirrors(pooled.mean(axis=-1), cells)
    if contrast < LEAST_CONTRAST:
        text = f"similarity changes by {contrast:.4f} over all tilts, {LEAST_CONTRAST} wanted"
        raise refused(settings.no_axis, where=where, found=text)
    level = Level.of(pooled.mean(axis=-1, keepdims=True), cells, sigma_mm=first[1])
    results = [refine(level, start, reach_mm=first[2]) for start in starts]
    # A fit may run away along a slope of the outline; those beyond the scanned tilts count only if none is left.
    mirror = min([result for result in results if _within_scan(result)] or results, key=level.residual_mm)
    # Finer cells and a shorter reach: far points, the lesion among them, lose their pull.
    for cell_mm, sigma_mm, reach_mm in later:
        level = Level.of(*grid.pool(image, cell_mm), sigma_mm=sigma_mm)
        mirror = refine(level, mirror, reach_mm=reach_mm)
    return mirror, level


def _within_scan(mirror: Mirror) -> bool:
    """Return whether the mirror's tilts are within the scanned range; a fit outside it has diverged."""
    largest_deg = SCAN_DEG[len(mirror.shift_mm)][0][-1] + RUNAWAY_DEG
    return max(abs(mirror.angle_deg), abs(mirror.roll_deg)) <= largest_deg


def _choose(rigid: Mirror, fine: Level, method: str, settings: Settings, where: str) -> tuple[Mirror, str]:
    """Return the mirror of the method if it stays near the reflection and fits no worse, else the reflection."""
    if method == "rigid":
        return rigid, method
    if method == "itk":
        candidate = itk_mirror(fine.smooth.mean(axis=-1), fine.grid, rigid)
    else:
        candidate = refine(fine, rigid, degrees=method, reach_mm=settings.passes[-1][2])
    departure_mm = float(np.linalg.norm(candidate(fine.points) - rigid(fine.points), axis=1).mean())
    residual_mm, before_mm = fine.residual_mm(candidate), fine.residual_mm(rigid)
    # More freedom may follow the lesion: keep it only near the reflection and no worse.
    if departure_mm <= settings.largest_departure_mm and residual_mm <= before_mm:
        return candidate, method
    text = "%s: %s moved %.1f mm to residual %.2f mm; kept the reflection at %.2f mm"
    _log.info(text, where, method, departure_mm, residual_mm, before_mm)
    return rigid, "rigid"


def _agreement(mirror: Mirror, level: Level) -> tuple[float, float]:
    """Return the Dice of the head with its mirror image, and their correlation in either of them."""
    # Voxels whose counterpart lies outside the array are left out, so that a truncated head is judged by the rest.
    voxels = level.grid.voxels(mirror(level.grid.points()))
    seen = np.all((voxels >= 0) & (voxels <= np.array(level.grid.shape) - 1), axis=1)
    here, there = level.smooth.reshape(len(seen), -1)[seen], sample(level.smooth, voxels[seen])
    inside, other = here > TISSUE, there > TISSUE
    either = inside | other
    if np.count_nonzero(either) < 2:
        return 0.0, 0.0
    overlap = 2 * float((inside & other).sum()) / float(inside.sum() + other.sum())
    return overlap, float(np.corrcoef(here[either], there[either])[0, 1])


def _require_match(registration: Registration, settings: Settings, where: str) -> None:
    # Limits calibrated in docs/mirror.md on heads with strokes, cavities and cut fields of view.
    alike = registration.overlap >= settings.least_overlap and registration.similarity >= settings.least_similarity
    if alike and _within_scan(registration.mirror):
        return
    result = (
        f"overlap {registration.overlap:.2f} (at least {settings.least_overlap}), similarity "
        f"{registration.similarity:.2f} (at least {settings.least_similarity}), "
        f"residual {registration.residual_mm:.2f} mm at a tilt of {registration.mirror.angle_deg:.1f} degrees"
    )
    if len(registration.mirror.shift_mm) == 3:
        result += f" and a roll of {registration.mirror.roll_deg:.1f}"
    raise refused(settings.no_match, where=where, found=result)


def mirror_or_midline(
    head: np.ndarray, spacing_mm: Sequence[float], *, where: str = "head", **settings: Any
) -> Registration:
    """Find a head's mirror; if there is none, reflect across its midline and say so in ``remark``.

    A slab too thin for a mirror in space is registered in plane. A head that does not match its mirror image is
    reflected, upright, across the middle of its tissue; an image without a head across the middle of its array.

    Shapes, units, args: as ``register_mirror``.
    """
    axes = len(spacing_mm)
    try:
        return register_mirror(head, spacing_mm, where=where, **settings)
    except IslesError as error:
        if error.code not in NO_FIT:
            raise
        refusal = error
    if refusal.code == "E-REG-22":
        flat = mirror_or_midline(head, spacing_mm[:2], where=where, **settings)
        remarks = f"{_reason(refusal)}: registered in plane"
        matrix = np.eye(3)
        matrix[:2, :2] = flat.mirror.matrix
        mirror = Mirror(matrix, np.append(flat.mirror.shift_mm, 0.0))  # the same in space, at every height
        return replace(flat, mirror=mirror, remark="; ".join(filter(None, (remarks, flat.remark))))
    flip = reflection([0.0] * (axes - 1), 0.0)
    if refusal.code == "E-REG-01":
        remarks = "mirrored across the middle of the array"
        return Registration(flip, "flip", np.nan, np.nan, np.nan, np.nan, f"{_reason(refusal)}: {remarks}")
    tissue = scale_head(head, settings.get("window", CT_WINDOW), where=where)
    offset_mm = middle_mm(tissue, spacing_mm)
    mirror, grid = reflection([0.0] * (axes - 1), offset_mm), Grid.centred(tissue.shape[:axes], spacing_mm)
    cell_mm, sigma_mm, _ = SETTINGS[axes].passes[-1]
    level = Level.of(*grid.pool(tissue.reshape(*grid.shape, -1), cell_mm), sigma_mm=sigma_mm)
    remarks = f"mirrored across the middle of the head, upright, {offset_mm:.1f} mm from the middle of the array"
    fit = (level.residual_mm(mirror), level.residual_mm(flip), *_agreement(mirror, level))
    return Registration(mirror, "midline", *fit, f"{_reason(refusal)}: {remarks}")


def _reason(refusal: IslesError) -> str:
    return f"{refusal.code}: {refusal.fault} ({refusal.found})"


def middle_mm(tissue: np.ndarray, spacing_mm: Sequence[float]) -> float:
    """Return where the middle of a head lies along the first axis: the median over its rows of their middles.

    Shapes: ``tissue (H, W, D)``, 0 to 1. Units: mm from the middle of the array.
    """
    rows = (tissue > TISSUE).transpose(1, 2, 0).reshape(-1, len(tissue))
    rows = rows[rows.any(axis=1)]
    # The median over rows ignores ears, headrests and the cut of a lesion.
    ends = rows.argmax(axis=1) + len(tissue) - 1 - rows[:, ::-1].argmax(axis=1)
    return float(np.median(ends) / 2 - (len(tissue) - 1) / 2) * float(spacing_mm[0])


def split_head(
    ct: np.ndarray | None, brain: np.ndarray, spacing_mm: Sequence[float], *, where: str = "head"
) -> tuple[np.ndarray, str]:
    """Return the patient's left half and the method: ``mirror``, or ``centroid`` without a CT that can be registered.

    The other half is the negation; without a mirror the halves are those of ``upright_hemispheres``.

    Shapes: unstripped ``ct`` and ``brain (H, W, D)``, RAS+, in; boolean ``(H, W, D)`` out. Units: HU; mm.
    Source: the mirror of Clerigues 2019, doi:10.1016/j.compbiomed.2019.103487.
    """
    if ct is None:
        return upright_hemispheres(brain), "centroid"
    try:
        mirror = register_mirror(ct, spacing_mm[:2], where=where).mirror
    except IslesError:
        return upright_hemispheres(brain), "centroid"
    points = Grid.centred(ct.shape[:2], spacing_mm[:2]).points()
    # A point left of its own mirror image lies left of the midline, whatever the tilt.
    left = (points[:, 0] < mirror(points)[:, 0]).reshape(ct.shape[:2])
    return np.repeat(left[:, :, None], ct.shape[2], axis=2), "mirror"
