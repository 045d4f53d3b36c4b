"""Where perfusion can be measured: brain tissue, found in the images themselves."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


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
