"""What the scanner adds: noise with a CT texture, movement between frames, streaks from dense bone."""

from __future__ import annotations

import numpy as np
from scipy import fft


def noise_filter(size: int, spacing_mm: float, cutoff_per_mm: float = 0.32) -> np.ndarray:
    """Return the square root of a noise power spectrum (size, size // 2 + 1): a softened ramp, unit variance.

    Source: filtered back-projection noise, Riederer et al., Phys Med Biol 1978, doi:10.1088/0031-9155/23/3/008.
    """
    fy = np.fft.fftfreq(size, spacing_mm)[:, None]
    fx = np.fft.rfftfreq(size, spacing_mm)[None, :]
    frequency = np.hypot(fy, fx)
    power = (frequency + 0.01) * np.exp(-((frequency / cutoff_per_mm) ** 2))
    weight = np.full(fx.shape[1], 2.0)
    weight[[0, -1]] = 1.0
    return np.sqrt(power / (power * weight).sum()).astype(np.float32)


def scanner_noise(rng: np.random.Generator, shape: tuple[int, int, int], sd_hu: float, spacing_mm: float) -> np.ndarray:
    """Return noise images (n, size, size) float32 with standard deviation ``sd_hu`` and a CT texture."""
    count, size, _ = shape
    half = noise_filter(size, spacing_mm) * np.float32(sd_hu * size * size / np.sqrt(2.0))
    out = np.empty(shape, np.float32)
    for i in range(count):
        spectrum = rng.standard_normal((*half.shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
        out[i] = fft.irfft2(spectrum * half, s=(size, size))
    return out


def drift(rng: np.random.Generator, frames: int, amplitude_px: float) -> np.ndarray:
    """Return the movement (frames, 2) in voxels: a slow drift and now and then a jerk."""
    steps = rng.normal(0, 0.15, (frames, 2)) + (rng.random((frames, 1)) < 0.04) * rng.normal(0, 1.0, (frames, 2))
    path = np.cumsum(steps, axis=0)
    path -= path[0]
    largest = max(float(np.abs(path).max()), 1e-6)
    return (path * min(1.0, amplitude_px / largest)).astype(np.float32)


def moved(image: np.ndarray, by_px: np.ndarray) -> np.ndarray:
    """Return ``image`` (H, W, ...) moved by a small part of a voxel along its first two axes."""
    for axis, step in enumerate(by_px):
        if abs(step) > 0.02:
            image = (1 - abs(step)) * image + abs(step) * np.roll(image, int(np.sign(step)), axis=axis)
    return image


def streak(rng: np.random.Generator, head_mm: np.ndarray, side: float) -> np.ndarray:
    """Return the one-sided band (n,) of wrong HU that dense bone throws over points (n, 3).  Units: mm, HU."""
    angle = rng.uniform(-0.5, 0.5)
    across = (head_mm[:, 1] - rng.uniform(-60, 30)) * np.cos(angle) - head_mm[:, 0] * np.sin(angle)
    band = np.exp(-((across / rng.uniform(5, 10)) ** 2)) - 0.5 * np.exp(-(((across - 14) / 7) ** 2))
    fade = np.clip(side * head_mm[:, 0] / 60, 0, 1)
    return (-rng.uniform(3, 7) * band * fade).astype(np.float32)
