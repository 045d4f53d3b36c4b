"""Where perfusion can be measured: brain tissue, found in the images themselves."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

_FWHM_TO_SIGMA = 1.0 / np.sqrt(8.0 * np.log(2.0))


def smoothing_matrix(size: int, fwhm_mm: float, spacing_mm: float) -> Tensor:
    """Return the matrix (size, size) that smooths a line with a Gaussian of ``fwhm_mm``; zero outside the line."""
    sigma_vox = max(fwhm_mm * _FWHM_TO_SIGMA / spacing_mm, 1e-3)
    distance = torch.arange(size, dtype=torch.float64)
    kernel = torch.exp(-0.5 * ((distance[:, None] - distance[None, :]) / sigma_vox) ** 2)
    return (kernel / kernel[size // 2].sum()).float()


def smooth_in_plane(images: Tensor, mask: Tensor, *, fwhm_mm: float, spacing_mm: tuple[float, float]) -> Tensor:
    """Smooth each slice inside ``mask`` only, so that bone and air never reach the brain.

    Shapes: ``images`` (T, H, W, D), ``mask`` (H, W, D); out (T, H, W, D), zero outside the mask.
    Units: mm, full width at half maximum.
    Source: normalised convolution; ``tests/perfusion/test_smoothing.py``.
    """
    mask = mask.to(images.dtype)
    if fwhm_mm <= 0:
        return images * mask
    rows = smoothing_matrix(images.shape[1], fwhm_mm, spacing_mm[0]).to(images)
    columns = smoothing_matrix(images.shape[2], fwhm_mm, spacing_mm[1]).to(images)
    blurred = _both_axes(images * mask, rows, columns)
    weight = _both_axes(mask[None], rows, columns).clamp_min(1e-3)
    return blurred / weight * mask


def _both_axes(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    t, h, w, d = images.shape
    along_rows = torch.matmul(rows, images.reshape(t, h, w * d)).reshape(t, h, w, d)
    return torch.matmul(columns, along_rows)


def smooth_slices(images: Tensor, mask: Tensor, *, fwhm_mm: float, spacing_mm: tuple[float, float]) -> Tensor:
    """Smooth slices inside ``mask`` as ``smooth_in_plane`` does, several times faster: slices first, kernels cut short.

    Shapes: ``images`` (T, D, H, W), ``mask`` (D, H, W); out (T, D, H, W).  Units: mm, full width at half maximum.
    Source: equal to ``smooth_in_plane`` to 1e-4 in ``tests/perfusion/test_smoothing.py``.
    """
    mask = mask.to(images.dtype)
    if fwhm_mm <= 0:
        return images * mask
    kernels = [smoothing_matrix(n, fwhm_mm, s).to(images) for n, s in zip(mask.shape[1:], spacing_mm, strict=True)]
    reach = [int(np.ceil(4.5 * fwhm_mm * _FWHM_TO_SIGMA / s)) for s in spacing_mm]
    weight = _banded(mask[None], kernels, reach).clamp_min_(1e-3)
    return _banded(images * mask, kernels, reach).div_(weight).mul_(mask)


def _banded(images: Tensor, kernels: list[Tensor], reach: list[int]) -> Tensor:
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


def tissue_mask(
    baseline_hu: np.ndarray,
    spacing_mm: tuple[float, float, float],
    *,
    lowest_hu: float = 17.0,
    highest_hu: float = 75.0,
) -> np.ndarray:
    """Find brain tissue on the images before contrast: inside the skull, neither bone nor fluid.

    Shapes: (H, W, D) in, bool out.
    Units: HU, mm.

    Args:
        baseline_hu: mean of the frames before the bolus.
        lowest_hu: darker than this, after 4 mm of smoothing, is fluid.
        highest_hu: brighter than this is bone or calcification.

    Source: ours, the steps of the usual vendor mask; ``tests/perfusion/test_masks.py``.
    """
    brain = np.zeros(baseline_hu.shape, bool)
    for level in range(baseline_hu.shape[2]):
        brain[:, :, level] = _slice_mask(baseline_hu[:, :, level], spacing_mm, lowest_hu, highest_hu)
    return brain


def _slice_mask(
    image: np.ndarray, spacing_mm: tuple[float, float, float], lowest_hu: float, highest_hu: float
) -> np.ndarray:
    sigma = 1.7 / spacing_mm[0]
    skull = ndimage.gaussian_filter(image, 0.5) > 150
    inside = ndimage.binary_fill_holes(ndimage.binary_closing(skull, iterations=3)) & ~skull
    inside = ndimage.binary_erosion(inside, iterations=max(1, round(1.5 / spacing_mm[0])))
    labels, count = ndimage.label(inside)
    if count == 0:
        return inside
    sizes = np.bincount(labels.ravel())[1:]
    inside = labels == 1 + int(sizes.argmax())
    weight = np.maximum(ndimage.gaussian_filter(inside.astype(np.float32), sigma), 1e-3)
    smooth = ndimage.gaussian_filter(np.where(inside, image, 0).astype(np.float32), sigma) / weight
    tissue = inside & (smooth > lowest_hu) & (smooth < highest_hu)
    return ndimage.binary_opening(tissue, iterations=1)


def intracranial_mask(baseline_hu: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Find all that lies inside the skull and is no bone: brain, fluid, vessels up to the bone itself.

    Shapes: (H, W, D) in, bool out.  Units: HU, mm.
    Source: ours; ``tests/perfusion/test_masks.py``.
    """
    inside = np.zeros(baseline_hu.shape, bool)
    for level in range(baseline_hu.shape[2]):
        image = baseline_hu[:, :, level]
        skull = ndimage.gaussian_filter(image, 0.5) > 150
        filled = ndimage.binary_fill_holes(ndimage.binary_closing(skull, iterations=3)) & ~skull & (image < 110)
        labels, count = ndimage.label(ndimage.binary_opening(filled, iterations=max(1, round(1.5 / spacing_mm[0]))))
        if count:
            core = labels == 1 + int(np.bincount(labels.ravel())[1:].argmax())
            inside[:, :, level] = ndimage.binary_dilation(core, iterations=3) & filled
    return inside
