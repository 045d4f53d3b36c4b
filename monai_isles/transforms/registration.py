"""Registration of a head to its own mirror image: coarse start, refinement, and a check of the result."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from monai_isles.errors import IslesError, refused
from monai_isles.perfusion.thresholds import upright_hemispheres
from monai_isles.transforms.alignment import TISSUE, Level, coarse_mirrors, refine
from monai_isles.transforms.alignment_itk import itk_mirror
from monai_isles.transforms.mirror import Mirror, Plane, VolumeMirror, reflection, sample

_log = logging.getLogger(__name__)

METHODS = ("projection", "affine", "itk")
CT_WINDOW = (0.0, 60.0)
WORKING_MM = 2.0
COARSE_REACH_MM, REACH_MM = 8.0, 3.0
LEAST_CONTRAST = 0.008
LEAST_OVERLAP = 0.8
LEAST_SIMILARITY = 0.3
LARGEST_DEPARTURE_MM = 4.0
CHANCE_GAIN = 0.01


@dataclass(frozen=True)
class Registration:
    """Hold a head's mirror and how well it fits.

    ``method`` names what made the mirror, or is ``flip`` where registering gains no more than two fitted numbers gain
    by chance on an upright head (1 % of the residual on one slice, half of it on two, and so on).
    Units: ``residual_mm`` and ``flip_residual_mm`` (of the array's plain flip) are robust root mean square distances
    between the head and its mirror image; ``overlap`` is the Dice of the two, ``similarity`` their correlation.
    """

    mirror: Mirror | VolumeMirror
    method: str
    residual_mm: float
    flip_residual_mm: float
    overlap: float
    similarity: float


def register_mirror(
    head: np.ndarray,
    spacing_mm: tuple[float, float],
    *,
    method: str = "projection",
    window: tuple[float, float] | None = CT_WINDOW,
    where: str = "head",
) -> Registration:
    """Find the in-plane map that takes a head onto its own mirror image; one map for all slices.

    Shapes: ``head (H, W, D)``, RAS+, any ``D >= 1``. Units: ``spacing_mm`` of H and W; ``window`` in the head's units.

    Args:
        method: ``"projection"``, a rigid mirror by robust least squares, on the mean projection, then on all slices;
            ``"affine"``, the same with a mirror that may lean; ``"itk"``, ITK's affine registration from that start,
            kept where it fits no worse. The paper registers affinely; on heads of known pose the extra freedom follows
            the lesion and the outline (an ellipse has a leaning mirror for every angle), so the rigid mirror is the
            default: ``benchmarks/registration.py``.
        window: intensities below and above are clipped; None takes the 1st and 99th percentile of what is not zero.
        where: name of the case, for messages.

    Raises:
        IslesError: ``E-REG-01`` no head, ``E-REG-02`` no axis to find, ``E-REG-03`` result fails its check,
            ``E-REG-04`` setting not known, ``E-REG-05`` not a volume, ``E-REG-06`` not finite.

    Source: Clèrigues 2019, doi:10.1016/j.compbiomed.2019.103487; start and check ours,
        ``tests/transforms/test_registration.py``.
    """
    if method not in METHODS:
        raise refused("E-REG-04", where=where, found=repr(method), methods=", ".join(METHODS))
    tissue = scaled(head, window, where=where)
    volume, plane = _pooled(tissue, Plane.centred(tissue.shape[:2], spacing_mm))
    projection = volume.mean(axis=2)
    starts, contrast = coarse_mirrors(projection, plane)
    if contrast < LEAST_CONTRAST:
        raise refused(
            "E-REG-02",
            where=where,
            found=f"similarity changes by {contrast:.4f} over all angles, {LEAST_CONTRAST} wanted",
        )
    coarse, fine = Level.of(projection[..., None], plane, sigma_mm=3.0), Level.of(volume, plane, sigma_mm=1.5)
    rough = min(
        (refine(coarse, start, degrees="rigid", reach_mm=COARSE_REACH_MM) for start in starts), key=coarse.residual_mm
    )
    rigid = refine(fine, rough, degrees="rigid", reach_mm=REACH_MM)
    candidate, made_by = rigid, method
    if method == "itk":
        candidate = itk_mirror(projection, plane, rigid)
    elif method == "affine":
        candidate = refine(fine, rigid, degrees="affine", reach_mm=REACH_MM)
    if not _plausible(candidate, rigid, fine, where):
        candidate, made_by = rigid, "projection"
    flip, chance = reflection(0.0, 0.0), CHANCE_GAIN / head.shape[2]
    if fine.residual_mm(flip) <= (1 + chance) * fine.residual_mm(candidate):
        candidate, made_by = flip, "flip"
    return _accepted(candidate, made_by, fine, where)


def scaled(head: np.ndarray, window: tuple[float, float] | None, *, where: str) -> np.ndarray:
    """Return the head clipped to its window and brought to 0..1.

    Raises:
        IslesError: ``E-REG-01`` no head against air, ``E-REG-05`` not a volume, ``E-REG-06`` not finite.
    """
    if head.ndim != 3 or min(head.shape[:2]) < 16 or head.shape[2] < 1:
        raise refused("E-REG-05", where=where, found=f"shape {head.shape}")
    if not np.isfinite(head).all():
        raise refused("E-REG-06", where=where, found=f"{np.count_nonzero(~np.isfinite(head))} of {head.size} voxels")
    low, high = window or (np.percentile(head[head != 0], (1, 99)) if head.any() else (0.0, 1.0))
    tissue = np.clip((np.asarray(head, np.float32) - np.float32(low)) / np.float32(max(high - low, 1e-6)), 0, 1)
    share = float((tissue > TISSUE).mean())
    if not 0.01 < share < 0.99:
        raise refused(
            "E-REG-01", where=where, found=f"{share:.1%} of the voxels lie above {low + TISSUE * (high - low):.4g}"
        )
    return tissue


def _pooled(volume: np.ndarray, plane: Plane) -> tuple[np.ndarray, Plane]:
    """Return block means of about ``WORKING_MM`` in plane, and the plane they lie on."""
    block = [max(1, round(WORKING_MM / s)) for s in plane.spacing_mm]
    height, width = (n // b for n, b in zip(plane.shape, block, strict=True))
    cut = volume[: height * block[0], : width * block[1]]
    means = cut.reshape(height, block[0], width, block[1], -1).mean(axis=(1, 3))
    spacing = tuple(s * b for s, b in zip(plane.spacing_mm, block, strict=True))
    origin = tuple(o + (b - 1) / 2 * s for o, b, s in zip(plane.origin_mm, block, plane.spacing_mm, strict=True))
    return means, Plane((height, width), spacing, origin)


def _plausible(candidate: Mirror, start: Mirror, level: Level, where: str) -> bool:
    """Return whether the candidate stays near the robust rigid mirror and fits no worse."""
    departure_mm = float(np.linalg.norm(candidate(level.points) - start(level.points), axis=1).mean())
    residual_mm, before_mm = level.residual_mm(candidate), level.residual_mm(start)
    if departure_mm <= LARGEST_DEPARTURE_MM and residual_mm <= before_mm:
        return True
    _log.info(
        "%s: refinement moved %.1f mm to residual %.2f mm; kept the robust rigid mirror at %.2f mm",
        where,
        departure_mm,
        residual_mm,
        before_mm,
    )
    return False


def _accepted(mirror: Mirror, method: str, level: Level, where: str) -> Registration:
    """Return the registration when the head and its mirror image agree.

    Raises:
        IslesError: ``E-REG-03``.
    """
    smooth = np.split(level.channels, 3, axis=2)[0]
    here = smooth.reshape(-1, smooth.shape[2])
    there = sample(smooth, level.plane.pixels(mirror(level.plane.points())))
    inside, other = here > TISSUE, there > TISSUE
    overlap = 2 * float((inside & other).sum()) / float(inside.sum() + other.sum())
    similarity = float(np.corrcoef(here[inside | other], there[inside | other])[0, 1])
    residual_mm = level.residual_mm(mirror)
    if overlap < LEAST_OVERLAP or similarity < LEAST_SIMILARITY:
        raise refused(
            "E-REG-03",
            where=where,
            found=f"overlap {overlap:.2f} (at least {LEAST_OVERLAP}), similarity {similarity:.2f} "
            f"(at least {LEAST_SIMILARITY}), residual {residual_mm:.2f} mm "
            f"at a tilt of {mirror.angle_deg:.1f} degrees",
        )
    return Registration(mirror, method, residual_mm, level.residual_mm(reflection(0.0, 0.0)), overlap, similarity)


def hemispheres(head: np.ndarray, spacing_mm: Sequence[float], *, where: str = "head") -> np.ndarray:
    """Return the patient's left half of the volume, split at the registered mid-sagittal line.

    A voxel is left when its mirror partner lies further to the right; the right half is the negation.

    Shapes: unstripped CT ``(H, W, D)``, RAS+, in; boolean ``(H, W, D)`` out. Units: HU; mm.

    Args:
        head: CT with its skull.
        spacing_mm: voxel size.
        where: name of the case, for messages.

    Raises:
        IslesError: ``E-REG-01`` to ``E-REG-06``, as ``monai_isles.transforms.register_mirror``.

    Source: the mirror of Clerigues 2019, doi:10.1016/j.compbiomed.2019.103487;
    ``tests/evaluation/test_sides.py``.
    """
    in_plane = (float(spacing_mm[0]), float(spacing_mm[1]))
    mirror = register_mirror(head, in_plane, where=where).mirror
    points = Plane.centred(head.shape[:2], in_plane).points()
    left = (points[:, 0] < mirror(points)[:, 0]).reshape(head.shape[:2])
    return np.repeat(left[:, :, None], head.shape[2], axis=2)


def split_head(
    ct: np.ndarray | None, brain: np.ndarray, spacing_mm: Sequence[float], *, where: str = "head"
) -> tuple[np.ndarray, str]:
    """Return the left half and how it was found: ``mirror``, or ``centroid`` without a CT that can be registered.

    Shapes: ``(H, W, D)``; boolean out. Source: ``hemispheres``, ``monai_isles.perfusion.upright_hemispheres``.
    """
    if ct is None:
        return upright_hemispheres(brain), "centroid"
    try:
        return hemispheres(ct, spacing_mm, where=where), "mirror"
    except IslesError:
        return upright_hemispheres(brain), "centroid"
