"""A coarse midline for a head at any tilt: an upright head is its own convolution."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from monai_isles.transforms.mirror import Mirror, Plane, reflection, sample

CELLS = 64
ANGLES_DEG = np.linspace(-32.0, 32.0, 33)


def coarse_mirrors(image: np.ndarray, plane: Plane, *, count: int = 3) -> tuple[list[Mirror], float]:
    """Return likely reflections of a head, best first, and how much the best angle beats the worst.

    The image is turned to each angle; then for every midline at once the sum of ``f(x) f(mirror x)`` along the
    left-right axis is the convolution of the rows with themselves, one FFT.
    Shapes: ``image (H, W)``, values of the background near 0.
    Units: the contrast is a difference of two cosine similarities, 0 for a disc, 1 at most.
    Source: ours; ``tests/transforms/test_alignment.py``.
    """
    scores, offsets_mm = _scan(image, plane)
    best = scores.max(axis=1)
    ends = np.concatenate([[-np.inf], best, [-np.inf]])
    peaks = np.flatnonzero((best >= ends[:-2]) & (best >= ends[2:]))
    ranked = peaks[np.argsort(-best[peaks])][:count]
    mirrors = [reflection(ANGLES_DEG[k], offsets_mm[scores[k].argmax()]) for k in ranked]
    return mirrors, float(best.max() - best.min())


def _scan(image: np.ndarray, plane: Plane) -> tuple[np.ndarray, np.ndarray]:
    """Return the similarity of the image with its reflection, angles x midline offsets, and the offsets in mm."""
    cell_mm = max(n * s for n, s in zip(plane.shape, plane.spacing_mm, strict=True)) / CELLS
    sigma_vox = [max(0.0, cell_mm / s / 2) for s in plane.spacing_mm]
    smooth = ndimage.gaussian_filter(np.asarray(image, np.float32), sigma_vox)[..., None]
    cells = Plane.centred((CELLS, CELLS), (cell_mm, cell_mm)).points()
    turned = []
    for angle in np.radians(ANGLES_DEG):
        normal, along = (np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))
        points = cells @ np.array([normal, along])
        turned.append(sample(smooth, plane.pixels(points)).reshape(CELLS, CELLS))
    stack = np.stack(turned)
    spectrum = np.fft.rfft(stack, n=2 * CELLS, axis=1)
    folded = np.fft.irfft(spectrum**2, n=2 * CELLS, axis=1).sum(axis=2)[:, : 2 * CELLS - 1]
    energy = np.maximum((stack**2).sum(axis=(1, 2)), np.finfo(np.float32).tiny)
    return folded / energy[:, None], (np.arange(2 * CELLS - 1) - (CELLS - 1)) * cell_mm / 2
