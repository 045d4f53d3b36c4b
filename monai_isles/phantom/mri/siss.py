"""Simulate sub-acute stroke on T1, T2, FLAIR and DWI in the first week (SISS), and the artefacts of MRI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import ndimage

from monai_isles.phantom.atlas import TABLES, SmoothField
from monai_isles.phantom.mri.brain import Brain
from monai_isles.phantom.mri.stroke import Drawn, MriSigns, draw_region


def bias_of(rng: np.random.Generator, brain: Brain, spread: float) -> np.ndarray:
    """Return the sensitivity (n,) of the coil: a smooth positive field around 1, brighter towards one side."""
    smooth = SmoothField(rng, 38.0).at(brain.head_mm)
    # A linear part: the coil is nearer to one side.
    tilt = brain.head_mm @ rng.normal(0, 1 / 60.0, 3).astype(np.float32)
    return np.exp(spread * np.clip(0.7 * smooth + 0.6 * tilt, -2.5, 2.5)).astype(np.float32)


def susceptibility(rng: np.random.Generator, brain: Brain) -> tuple[np.ndarray, np.ndarray]:
    """Return brightening (n,), as a factor above 1, and shift along y (n,) in mm near the air-filled bones."""
    bright, shift = np.zeros_like(brain.gm), np.zeros_like(brain.gm)
    surface = np.clip(1.2 - brain.depth / 14, 0, 1)
    for place, reach, gain in TABLES["air"]["places"]:
        distance = np.linalg.norm(brain.atlas_mm - np.array(place, np.float32), axis=1)
        # The field error falls off from the air-filled bone.
        near = np.exp(-0.5 * (distance / (reach * rng.uniform(0.7, 1.2))) ** 2)
        bright += rng.uniform(0.3, 1.0) * gain * near * surface
        shift += rng.uniform(1.0, 4.0) * near
    return (1 + bright).astype(np.float32), shift


def record(rng: np.random.Generator, brain: Brain, signal: np.ndarray, sequence: Mapping[str, Any]) -> np.ndarray:
    """Return the grey values (n,) float32 that ``sequence`` records of the true ``signal`` (n,), white matter near 1.

    A sequence without ``bias`` is that of a coil equally sensitive everywhere.

    Source: Rician noise, Gudbjartsson and Patz, Magn Reson Med 1995, doi:10.1002/mrm.1910340618.
    """
    bias = bias_of(rng, brain, sequence["bias"]) if "bias" in sequence else 1.0
    shift_y = None
    if sequence.get("echo_planar"):
        bright, shift_y = susceptibility(rng, brain)
        signal = signal * bright
    spacing = brain.grid.spacing_mm[0]
    sharp = brain.fill((signal * bias).astype(np.float32))
    volume = ndimage.gaussian_filter(sharp, [b / spacing for b in sequence["blur_mm"]])
    # Registration leaves a small error; echo-planar images are shifted too.
    moved = _resample(rng, brain, volume, sequence["misplaced_mm"] / spacing, shift_y)
    noise = rng.standard_normal((2, len(signal)), dtype=np.float32) / np.float32(sequence["snr"])
    return np.float32(sequence["gain"]) * np.hypot(moved + noise[0], noise[1])


def _resample(
    rng: np.random.Generator, brain: Brain, volume: np.ndarray, misplaced_vox: float, shift_y: np.ndarray | None
) -> np.ndarray:
    places: np.ndarray = np.stack(np.unravel_index(brain.index, brain.box_shape)).astype(np.float32)
    middle = (np.array(brain.box_shape, np.float32)[:, None] - 1) / 2
    turn = np.deg2rad(rng.normal(0, 0.4, 3)) * min(misplaced_vox * 2, 1.0)
    skew = np.array([[1, -turn[2], turn[1]], [turn[2], 1, -turn[0]], [-turn[1], turn[0], 1]], np.float32)
    by = rng.normal(0, misplaced_vox, 3).astype(np.float32)[:, None]
    places = skew @ (places - middle) + middle + by
    if shift_y is not None:
        places[1] += shift_y / np.float32(brain.grid.spacing_mm[1])
    return ndimage.map_coordinates(volume, places, order=1, mode="nearest", output=np.float32)


def draw_sub_acute(rng: np.random.Generator) -> dict[str, float]:
    """Draw the lesion's age and contrasts: FLAIR and T2 grow over the week, DWI fades after the fourth.

    Units: ``day`` since onset; the sequences: factors of the signal minus one; ``dwi_share`` part of the lesion that is
    bright on DWI; ``faded`` 0..1 how patchily.
    """
    day = float(rng.uniform(1, 7))
    ripe = np.clip(day / 4, 0.35, 1)  # vasogenic oedema grows up to the fourth day
    fresh = 1 / (1 + np.exp((day - 4.6) / 0.6))  # DWI fades as the diffusion pseudo-normalises
    return {
        "day": day,
        "t1": float(-rng.uniform(0.1, 0.28) * (0.5 + 0.5 * ripe)),
        "t2": float(rng.uniform(0.35, 0.7) * (0.4 + 0.6 * ripe)),
        "flair": float(rng.uniform(0.5, 0.95) * (0.45 + 0.55 * ripe)),
        "dwi": float(rng.uniform(0.7, 1.5) * fresh + rng.uniform(0.1, 0.5) * (1 - fresh)),
        "dwi_share": float(rng.uniform(0.65, 1.0) * fresh + rng.uniform(0.4, 0.85) * (1 - fresh)),
        "faded": float(rng.uniform(0.15, 0.5) + 0.4 * (1 - fresh)),
        "bleeding": float(rng.uniform(0.4, 1.0) if rng.random() < 0.15 else 0.0),
    }


def siss_images(
    rng: np.random.Generator, brain: Brain, signs: MriSigns, lesion: Drawn, state: Mapping[str, float]
) -> tuple[dict[str, np.ndarray], Drawn]:
    """Return the grey values (n,) of the four sequences, and the part of the ``lesion`` on FLAIR that DWI shows.

    Source: ours, contrasts after Allen et al., RadioGraphics 2012, doi:10.1148/rg.325115760.
    """
    texture, patches, edge = (SmoothField(rng, scale).at(brain.head_mm) for scale in (3.5, 8.0, 7.0))
    inner = np.where(lesion.region, lesion.field + 0.22 * edge, -20).astype(np.float32)
    dwi = draw_region(brain, inner, max(state["dwi_share"] * lesion.ml(brain), 3 * brain.grid.voxel_ml))
    soft = lesion.soft(0.07)
    blood = state["bleeding"] * np.clip(texture + 0.5 * patches - 0.9, 0, 1) * (lesion.field > lesion.level + 0.15)
    uneven = np.clip(1 - state["faded"] * (0.6 + 0.5 * patches + 0.3 * texture), 0.0, 1.4)
    shown = {
        "t1": state["t1"] * soft * (0.9 + 0.25 * texture) + 0.35 * blood,
        "t2": state["t2"] * soft * (0.9 + 0.25 * texture) - 0.5 * blood,
        "flair": state["flair"] * soft * (0.92 + 0.2 * texture + 0.1 * patches) - 0.45 * blood,
        "dwi": state["dwi"] * dwi.soft(0.07) * uneven + 0.12 * soft - 0.4 * blood,
    }
    # Swelling is largest after three to four days.
    swollen = soft * np.clip(0.55 - 0.08 * abs(state["day"] - 3.5), 0, 1)
    images = {}
    for (name, facts), own in zip(TABLES["siss"].items(), rng.spawn(len(TABLES["siss"])), strict=True):
        grain = 1 + 0.035 * SmoothField(own, 5.0).at(brain.head_mm)
        signal = tissue_signal(brain, signs, facts["tissue"], facts["old"], swollen) * grain
        signal = signal * (1 + np.clip(shown[name], -0.7, 2.5) * brain_share(brain, swollen) * (1 - signs.old))
        apart_mm = None if name == "flair" else (0.2, 0.5)  # the others are registered to FLAIR
        sequence = draw_sequence(own, name, facts, bias=(0.06, 0.13), misplaced_mm=apart_mm)
        images[name] = record(own, brain, signal, sequence)
    return images, dwi


def brain_share(brain: Brain, swollen: np.ndarray | float = 0.0) -> np.ndarray:
    """Return the share (n,) of solid tissue, sulci narrowed where the brain is ``swollen`` (n,) 0..1."""
    return np.clip(brain.matter + swollen * brain.csf * (brain.depth < 22), 0, 1)


def tissue_signal(
    brain: Brain, signs: MriSigns, tissue: list[float], old: list[float], swollen: np.ndarray | float = 0.0
) -> np.ndarray:
    """Return the signal (n,) of a brain without fresh stroke."""
    solid = brain_share(brain, swollen)
    ratio = solid / np.maximum(brain.matter, 1e-3)
    matter = (tissue[0] * brain.gm + tissue[1] * brain.wm) * np.where(brain.matter > 0.02, ratio, 0)
    matter = matter * (1 + (old[0] - 1) * signs.rim) * (1 + (old[1] - 1) * signs.hyper)
    signal = (matter + tissue[2] * (1 - solid)) * (1 - signs.cavity) + tissue[2] * signs.cavity
    vessels = np.clip(brain.artery + brain.vein, 0, 1)
    return (signal * (1 - vessels) + tissue[3] * vessels).astype(np.float32)


def draw_sequence(
    rng: np.random.Generator, name: str, facts: Mapping[str, Any], *, bias: tuple[float, float],
    misplaced_mm: tuple[float, float] | None,
) -> dict[str, Any]:  # fmt: skip
    """Draw the parameters of a sequence of the tables; an image without ``misplaced_mm`` is the reference.

    Units: ``blur_mm`` standard deviations along x, y, z; ``misplaced_mm`` spread of the registration error; ``snr``
    of white matter; ``bias`` spread of the logarithm of the coil's sensitivity; ``gain`` grey value of white matter.
    """
    return {
        "blur_mm": facts["blur_mm"],
        "snr": float(rng.uniform(*facts["snr"])),
        "bias": float(rng.uniform(*bias)),
        "misplaced_mm": 0.0 if misplaced_mm is None else float(rng.uniform(*misplaced_mm)),
        "gain": float(rng.uniform(180, 420)),
        "echo_planar": name == "dwi",
    }
