"""What the MRI scanner adds: coil bias, slice blur, misplacement between sequences, susceptibility, Rician noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from monai_isles.phantom.atlas import SmoothField
from monai_isles.phantom.mri.brain import Brain

# (MNI mm of the air-filled bone, reach in mm, brightening): frontal sinus, sphenoid, both petrous bones
_AIR = (
    ((0.0, 58.0, -16.0), 15.0, 0.9),
    ((0.0, 20.0, -26.0), 12.0, 0.7),
    ((-46.0, -26.0, -28.0), 12.0, 0.6),
    ((46.0, -26.0, -28.0), 12.0, 0.6),
)


@dataclass(frozen=True)
class Sequence:
    """Say how one sequence records the brain.

    Units: ``blur_mm`` standard deviations along x, y, z; ``misplaced_mm`` spread of the registration error; ``snr``
    of white matter; ``bias`` spread of the logarithm of the coil's sensitivity; ``gain`` grey value of white matter.
    """

    blur_mm: tuple[float, float, float]
    snr: float
    bias: float
    misplaced_mm: float
    gain: float
    echo_planar: bool = False


def bias_of(rng: np.random.Generator, brain: Brain, spread: float) -> np.ndarray:
    """Return the sensitivity (n,) of the coil: a smooth positive field around 1, brighter towards one side."""
    smooth = SmoothField(rng, 38.0).at(brain.head_mm)
    tilt = brain.head_mm @ rng.normal(0, 1 / 60.0, 3).astype(np.float32)
    return np.exp(spread * np.clip(0.7 * smooth + 0.6 * tilt, -2.5, 2.5)).astype(np.float32)


def susceptibility(rng: np.random.Generator, brain: Brain) -> tuple[np.ndarray, np.ndarray]:
    """Return brightening (n,), as a factor above 1, and shift along y (n,) in mm near the air-filled bones."""
    bright, shift = np.zeros_like(brain.gm), np.zeros_like(brain.gm)
    surface = np.clip(1.2 - brain.depth / 14, 0, 1)
    for place, reach, gain in _AIR:
        distance = np.linalg.norm(brain.atlas_mm - np.array(place, np.float32), axis=1)
        near = np.exp(-0.5 * (distance / (reach * rng.uniform(0.7, 1.2))) ** 2)
        bright += rng.uniform(0.3, 1.0) * gain * near * surface
        shift += rng.uniform(1.0, 4.0) * near
    return (1 + bright).astype(np.float32), shift


def record(
    rng: np.random.Generator, brain: Brain, signal: np.ndarray, sequence: Sequence, *, bias: np.ndarray | None = None
) -> np.ndarray:
    """Return what ``sequence`` makes of the true ``signal`` (n,), white matter near 1: grey values (n,) float32.

    Args:
        bias: coil sensitivity (n,), drawn when left out.

    Source: Rician noise, Gudbjartsson and Patz, Magn Reson Med 1995, doi:10.1002/mrm.1910340618;
    ``tests/phantom/mri/test_scanner.py``.
    """
    bias = bias_of(rng, brain, sequence.bias) if bias is None else bias
    shift_y = None
    if sequence.echo_planar:
        bright, shift_y = susceptibility(rng, brain)
        signal = signal * bright
    spacing = brain.grid.spacing_mm[0]
    volume = ndimage.gaussian_filter(
        brain.spread((signal * bias).astype(np.float32)), [b / spacing for b in sequence.blur_mm]
    )
    moved = _resampled(rng, brain, volume, sequence.misplaced_mm / spacing, shift_y)
    noise = rng.standard_normal((2, len(signal)), dtype=np.float32) / np.float32(sequence.snr)
    return np.float32(sequence.gain) * np.hypot(moved + noise[0], noise[1])


def _resampled(
    rng: np.random.Generator, brain: Brain, volume: np.ndarray, misplaced_vox: float, shift_y: np.ndarray | None
) -> np.ndarray:
    places: np.ndarray = np.stack(np.unravel_index(brain.index, brain.box_shape)).astype(np.float32)
    middle = (np.array(brain.box_shape, np.float32)[:, None] - 1) / 2
    turn = np.deg2rad(rng.normal(0, 0.4, 3)) * min(misplaced_vox * 2, 1.0)
    skew = np.array([[1, -turn[2], turn[1]], [turn[2], 1, -turn[0]], [-turn[1], turn[0], 1]], np.float32)
    by = rng.normal(0, misplaced_vox, 3).astype(np.float32)[:, None]
    if misplaced_vox:
        places = skew @ (places - middle) + middle + by
    if shift_y is not None:
        places[1] += shift_y / np.float32(brain.grid.spacing_mm[1])
    if not misplaced_vox and shift_y is None:
        return volume.ravel()[brain.index]
    return ndimage.map_coordinates(volume, places, order=1, mode="nearest", output=np.float32)
