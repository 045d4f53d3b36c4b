"""Smooth random fields over the head, from which warps, lesions and textures are made."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

_LOW_MM = np.array([-110.0, -140.0, -95.0], dtype=np.float32)
_SIZE_MM = np.array([220.0, 250.0, 215.0], dtype=np.float32)


class SmoothField:
    """Draw one Gaussian field with zero mean and unit spread, to be sampled at points of the head.

    Shapes: points (n, 3) in, (n,) float32 out.
    Units: points and ``scale_mm`` (standard deviation of the smoothing) in mm.

    Args:
        rng: the only source of randomness.
        scale_mm: smoothness.
        symmetry: +1 for a field that is even across x = 0, -1 for an odd one, 0 for neither.
    """

    def __init__(self, rng: np.random.Generator, scale_mm: float, *, symmetry: int = 0) -> None:
        self.step_mm = max(scale_mm / 1.5, 2.0)
        shape = tuple(int(n) for n in np.ceil(_SIZE_MM / self.step_mm) + 1)
        noise = rng.standard_normal(shape, dtype=np.float32)
        noise = ndimage.gaussian_filter(noise, scale_mm / self.step_mm, mode="wrap", output=np.float32)
        if symmetry:
            noise = noise + symmetry * noise[::-1]
        self.values = (noise - noise.mean()) / max(float(noise.std()), 1e-6)
        self.low_mm = _LOW_MM.copy()
        self.low_mm[0] = -self.step_mm * (shape[0] - 1) / 2

    def at(self, points_mm: np.ndarray) -> np.ndarray:
        """Return the field at ``points_mm``."""
        index = ((points_mm - self.low_mm) / self.step_mm).T
        return ndimage.map_coordinates(self.values, index, order=1, mode="nearest", output=np.float32)
