"""Find the brain tissue in which perfusion can be measured."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from monai_isles.perfusion.quality import missing_share
from monai_isles.perfusion.thresholds import connected_parts

_FWHM_TO_SIGMA = 1.0 / np.sqrt(8.0 * np.log(2.0))


def smoothing_matrix(size: int, fwhm_mm: float, spacing_mm: float) -> Tensor:
    """Return the matrix (size, size) that smooths a line with a Gaussian of ``fwhm_mm``; zero outside the line."""
    sigma_vox = max(fwhm_mm * _FWHM_TO_SIGMA / spacing_mm, 1e-3)
    distance = torch.arange(size, dtype=torch.float64)
    kernel = torch.exp(-0.5 * ((distance[:, None] - distance[None, :]) / sigma_vox) ** 2)
    kernel[kernel < 1e-30] = 0.0  # adds nothing; below 1e-38 a product takes several times as long
    return (kernel / kernel[size // 2].sum()).float()


def smooth_in_plane(images: Tensor, mask: Tensor, *, fwhm_mm: float, spacing_mm: tuple[float, float]) -> Tensor:
    """Smooth each slice inside ``mask`` only, so that bone and air never reach the brain.

    Shapes: ``images`` (T, H, W, D), ``mask`` (H, W, D); out (T, H, W, D), zero outside the mask.
    Units: mm, full width at half maximum.
    Source: normalised convolution; ``tests/perfusion/test_smoothing.py``.

    >>> mask = torch.ones(8, 8, 1, dtype=torch.bool)
    >>> smooth_in_plane(torch.ones(1, 8, 8, 1), mask, fwhm_mm=5.0, spacing_mm=(1.0, 1.0)).mean()
    tensor(1.)
    """
    mask = mask.to(images.dtype)
    if fwhm_mm <= 0:
        return images * mask
    rows = smoothing_matrix(images.shape[1], fwhm_mm, spacing_mm[0]).to(images)
    columns = smoothing_matrix(images.shape[2], fwhm_mm, spacing_mm[1]).to(images)

    def blur(images: Tensor) -> Tensor:
        return columns @ (rows @ images.flatten(2)).reshape(images.shape)

    return blur(images * mask) / blur(mask[None]).clamp_min(1e-3) * mask


def smooth_slices(images: Tensor, mask: Tensor, *, fwhm_mm: float, spacing_mm: tuple[float, float]) -> Tensor:
    """Smooth slices as ``smooth_in_plane`` does, to 1e-4 and several times faster: slices first, kernels cut short.

    Shapes: ``images`` (T, D, H, W), ``mask`` (D, H, W); out (T, D, H, W).  Units: mm, full width at half maximum.
    """
    mask = mask.to(images.dtype)
    if fwhm_mm <= 0:
        return images * mask
    kernels = [smoothing_matrix(n, fwhm_mm, s).to(images) for n, s in zip(mask.shape[1:], spacing_mm, strict=True)]
    reach = [int(np.ceil(4.5 * fwhm_mm * _FWHM_TO_SIGMA / s)) for s in spacing_mm]
    share = mask / _multiply_banded(mask[None], kernels, reach)[0].clamp_min_(1e-3)
    out = torch.empty_like(images)
    # Frame by frame: one frame stays in the cache from step to step, which halves the time.
    for frame, image in enumerate(images.split(1)):
        torch.mul(_multiply_banded(image * mask, kernels, reach)[0], share, out=out[frame])
    return out


def _multiply_banded(images: Tensor, kernels: list[Tensor], reach: list[int]) -> Tensor:
    """Multiply by both kernels, block by block, with the columns within ``reach`` only."""
    size, half = images.shape[2:], torch.empty_like(images)
    for start, stop, low, high in _blocks(size[0], reach[0]):
        half[:, :, start:stop] = kernels[0][start:stop, low:high] @ images[:, :, low:high]
    out = torch.empty_like(images)
    for start, stop, low, high in _blocks(size[1], reach[1]):
        out[..., start:stop] = half[..., low:high] @ kernels[1][start:stop, low:high].T
    return out


def _blocks(size: int, reach: int) -> list[tuple[int, int, int, int]]:
    stops = [(start, min(start + 48, size)) for start in range(0, size, 48)]
    return [(start, stop, max(0, start - reach), min(size, stop + reach)) for start, stop in stops]


BONE_HU, TISSUE_HU, CLOSINGS_MM = 150.0, (17.0, 75.0), (3.0, 10.0, 30.0)
LEAST_INTERIOR, BORROW_BELOW, DIRECTIONS = 0.45, 0.6, 180


def skull_interior(baseline_hu: np.ndarray, spacing_mm: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Find what bone encloses, slice by slice, gaps in the bone closed, and in which slices a gap was too wide for it.

    Gaps of up to 60 mm are closed while the space is small for the head (below 45 %); across a wider one, of a
    craniectomy or a cut field of view, the skull is taken to curve from edge to edge. A slice with less than 60 % of
    the space that slices above and below have takes the outline of the nearest.

    Shapes: (H, W, D) in, bool (H, W, D) and (D,) out.  Units: HU, mm.
    """
    filled = [_fill_skull(baseline_hu[:, :, k], spacing_mm) for k in range(baseline_hu.shape[2])]
    inside, spanned = np.stack([mask for mask, _ in filled], axis=2), np.array([gap for _, gap in filled])
    counts = inside.sum((0, 1))
    # A slice that lost its skull, by a cut field of view or artefacts, lies between slices of nearly the same outline.
    good = np.flatnonzero(missing_share(counts) <= 1.0 - BORROW_BELOW)
    for level in np.flatnonzero(missing_share(counts) > 1.0 - BORROW_BELOW):
        nearest = good[np.abs(good - level).argmin()]
        image = baseline_hu[:, :, level]
        inside[:, :, level] = inside[:, :, nearest] & ~_bone(image) & (image > -200.0)
    return inside, spanned


def _bone(image: np.ndarray) -> np.ndarray:
    return ndimage.gaussian_filter(image, 0.5) > BONE_HU


def _fill_skull(image: np.ndarray, spacing_mm: tuple[float, float, float]) -> tuple[np.ndarray, bool]:
    """Return what is inside the skull of a slice (H, W), and whether a wide gap was spanned."""
    bone = _bone(image)
    head = largest_part(ndimage.binary_fill_holes(image > -300.0))
    result = np.zeros_like(bone)
    # The least closing that encloses enough: wide ones bridge true bays of the skull base.
    for gap_mm in CLOSINGS_MM:
        result = ndimage.binary_fill_holes(_close(bone, gap_mm, spacing_mm[:2])) & ~bone
        if result.sum() >= LEAST_INTERIOR * head.sum() or not bone.any():
            return result, False
    spanned = _span_gap(bone, head, spacing_mm[:2])
    return (spanned, True) if spanned.sum() >= LEAST_INTERIOR * head.sum() else (result, False)


def _span_gap(bone: np.ndarray, head: np.ndarray, spacing_mm: tuple[float, float]) -> np.ndarray:
    """Return the inside of a skull, its outline interpolated across a wide gap; empty if half of it is missing."""
    centre = ndimage.center_of_mass(head)
    place = [(np.arange(n) - middle) * mm for n, middle, mm in zip(head.shape, centre, spacing_mm, strict=True)]
    x, y = np.meshgrid(*place, indexing="ij")
    away_mm, way = np.hypot(x, y), (np.arctan2(y, x) * DIRECTIONS / (2 * np.pi)).astype(int) % DIRECTIONS
    inner_mm = np.full(DIRECTIONS, np.inf)
    np.minimum.at(inner_mm, way[bone], away_mm[bone])
    met = np.flatnonzero(np.isfinite(inner_mm))
    if 2 * len(met) < DIRECTIONS:
        return np.zeros_like(bone)
    inner_mm = np.interp(np.arange(DIRECTIONS), met, inner_mm[met], period=DIRECTIONS)
    # A median over 10 degrees: neither a calcification nor the edge of the gap is the skull.
    return head & ~bone & (away_mm < ndimage.median_filter(inner_mm, 5, mode="wrap")[way])


def _close(bone: np.ndarray, by_mm: float, spacing_mm: tuple[float, float]) -> np.ndarray:
    """Return the mask closed by a disc of radius ``by_mm``."""
    from skimage.morphology import isotropic_closing

    steps = max(1, round(by_mm / min(spacing_mm)))
    if by_mm <= CLOSINGS_MM[0]:
        return ndimage.binary_closing(bone, iterations=steps)
    # Wide discs by distance maps: their cost does not grow with the radius.
    closed = isotropic_closing(np.pad(bone, steps + 1), by_mm, spacing=spacing_mm)
    return closed[steps + 1 : -steps - 1, steps + 1 : -steps - 1] | bone


def largest_part(mask: np.ndarray) -> np.ndarray:
    """Return the largest connected part of a mask."""
    labels, sizes = connected_parts(mask)
    return labels == sizes.argmax() if sizes.any() else mask


def tissue_mask(
    baseline_hu: np.ndarray, spacing_mm: tuple[float, float, float], *, interior: np.ndarray | None = None
) -> np.ndarray:
    """Find brain tissue on the images before contrast: inside the skull, neither bone nor fluid.

    After 4 mm of smoothing, below 17 HU is fluid, above 75 HU bone or calcification.

    Shapes: (H, W, D) in, bool out.
    Units: HU, mm.
    Args:
        interior: what ``skull_interior`` finds, where it is known already.

    Source: ours, the steps of the usual vendor mask; ``tests/perfusion/test_masks.py``.

    >>> mask = tissue_mask(head, (3.0, 3.0, 5.0))
    >>> bool(mask[32, 32, 0]), bool(mask[32, 57, 0])  # brain, bone
    (True, False)
    """
    interior = skull_interior(baseline_hu, spacing_mm)[0] if interior is None else interior
    sigma, steps = 1.7 / spacing_mm[0], max(1, round(1.5 / spacing_mm[0]))
    brain = np.zeros(baseline_hu.shape, bool)
    for level in range(baseline_hu.shape[2]):
        inside = largest_part(ndimage.binary_erosion(interior[:, :, level], iterations=steps))
        # Normalised convolution: neither bone nor air leaks into the smoothed brain.
        weight = np.maximum(ndimage.gaussian_filter(inside.astype(np.float32), sigma), 1e-3)
        known = np.where(inside, baseline_hu[:, :, level], 0).astype(np.float32)
        smooth = ndimage.gaussian_filter(known, sigma) / weight
        tissue = inside & (smooth > TISSUE_HU[0]) & (smooth < TISSUE_HU[1])
        brain[:, :, level] = ndimage.binary_opening(tissue)
    return brain


def intracranial_mask(
    baseline_hu: np.ndarray, spacing_mm: tuple[float, float, float], *, interior: np.ndarray | None = None
) -> np.ndarray:
    """Find all that lies inside the skull and is no bone: brain, fluid, vessels up to the bone itself.

    Shapes: (H, W, D) in, bool out.  Units: HU, mm.

    >>> mask = intracranial_mask(head, (3.0, 3.0, 5.0))
    >>> bool(mask[32, 32, 0]), bool(mask[32, 57, 0])  # brain, bone
    (True, False)
    """
    interior = skull_interior(baseline_hu, spacing_mm)[0] if interior is None else interior
    steps = max(1, round(1.5 / spacing_mm[0]))
    inside = np.zeros(baseline_hu.shape, bool)
    for level in range(baseline_hu.shape[2]):
        filled = interior[:, :, level] & (baseline_hu[:, :, level] < 110)
        core = largest_part(ndimage.binary_opening(filled, iterations=steps))
        inside[:, :, level] = ndimage.binary_dilation(core, iterations=3) & filled
    return inside
