"""Simulate CT perfusion maps with a second generator that shares no code with the package.

``python docs/make/second_phantom.py OUT --cases 48 --seed 8``, then ``monai-isles predict OUT`` and ``evaluate``.

Heads are ellipsoids with folded bands of grey matter. An occlusion lowers the flow of a wedge of one hemisphere; the
lesion is an uneven core of it. Curves are convolutions of a gamma-variate bolus with residues between an exponential
and a box; their maps come from a block-circulant decomposition, truncated or Tikhonov. Scanner, noise, smoothing,
regularisation, units' scale, rounding and old infarcts vary. Nothing was trained or tuned on it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage
from scipy.special import expit

SIZE = 256
BRAIN_DENSITY = 1.04
FINE_S = 0.25
KINDS = {"lesion": np.uint8, "ct": np.int16}


def field(rng: np.random.Generator, shape: tuple[int, ...], sigma: tuple[float, ...] | float) -> np.ndarray:
    """Return smooth noise of unit variance."""
    noise = ndimage.gaussian_filter(rng.standard_normal(shape), sigma, mode="wrap")
    return noise / noise.std()


def slice_of_head(rng: np.random.Generator, u: np.ndarray, v: np.ndarray, z: float, axes: np.ndarray, waves):
    """Return masks of one slice by tissue. Units: mm; ``u`` to the left, ``v`` to the back, ``axes`` of the brain."""
    width, length = axes[:2] * np.sqrt(max(1 - (z / axes[2]) ** 2, 0.05))
    angle = np.arctan2(v, u)
    radius = np.hypot(u / width, v / length) * (1 + 0.015 * np.cos(3 * angle + z / 20) + 0.008 * waves[0])
    brain, depth = radius < 1, (1 - radius) * width
    fold = np.abs(np.sin(rng.integers(16, 24) * angle / 2 + 2.2 * waves[1] + z / 9))
    sulcus = (depth < rng.uniform(8, 13)) & (fold < 0.10 + 0.03 * waves[0])
    sulcus |= (np.abs(u) < 1.1) & (np.abs(v) > length * 0.35)
    grey, ventricle = (depth < 4.2) | ((depth < 14) & (fold < 0.42)), np.zeros_like(brain)
    for side in (-1, 1):
        if abs(z - 5) < 26:
            grey |= ((u - side * 24) / 9) ** 2 + ((v + 4) / 17) ** 2 < 1
            grey |= ((u - side * 11) / 7) ** 2 + ((v - 14) / 10) ** 2 < 1
        if -10 < z < 36:
            ventricle |= ((u - side * (8 + 0.004 * v**2)) / 4.5) ** 2 + ((v + 2) / 26) ** 2 < 1
    fluid = (sulcus | ventricle) & brain
    skull, scalp = 1.03 + 7 / width, 1.03 + 13 / width
    return {
        "grey": grey & brain & ~fluid,
        "white": brain & ~grey & ~fluid,
        "fluid": fluid,
        "brain": brain,
        "skull": (radius >= 1.03) & (radius < skull),
        "scalp": (radius >= skull) & (radius < scalp),
    }


def head(rng: np.random.Generator, slices: int, spacing: float, thickness: float):
    """Return masks by tissue and the coordinates of the head. Shapes: (H, W, D). Units: mm."""
    y, x = (np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2 - rng.uniform(-8, 8, (2, 1, 1))) * spacing
    turn = np.deg2rad(rng.uniform(-12, 12))
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    axes = rng.uniform((62, 78, 58), (70, 88, 68))
    heights = (np.arange(slices) - (slices - 1) / 2) * thickness + rng.uniform(5, 25)
    waves = [field(rng, (SIZE, SIZE), 6) for _ in range(2)]
    parts = [slice_of_head(rng, u, v, z, axes, waves) for z in heights]
    tissue = {name: np.stack([part[name] for part in parts], -1) for name in parts[0]}
    return tissue, u[..., None], v[..., None], heights[None, None]


def perfusion(rng: np.random.Generator, tissue, u, v, z, spacing: float, thickness: float):
    """Return CBF (ml/100 g/min), CBV (ml/100 g), delay (s), core, share of dead tissue, old infarct, vessels."""
    grey, white, shape = tissue["grey"], tissue["white"], tissue["brain"].shape

    def uneven(mm: float) -> np.ndarray:
        return field(rng, shape, (mm / spacing, mm / spacing, max(mm / thickness, 0.5)))

    side = rng.choice((-1, 1))
    off_axis = np.abs(np.arctan2(v, side * u) - rng.uniform(-0.35, 0.55)) / rng.uniform(0.35, 0.95)
    off_height = np.abs(z - rng.uniform(z.min(), z.max())) / rng.uniform(12, 35)
    depth = np.where(side * u > 2, 1 - np.maximum(off_axis, off_height) + 0.28 * uneven(9), -1)
    collaterals = rng.uniform(0.1, 0.9)
    core = (1.6 * (depth - 0.25 - 0.5 * collaterals) + 0.18 * uneven(5) > 0) & (depth > 0.05) & (grey | white)
    core = ndimage.binary_opening(core, np.ones((3, 3, 1))) & (rng.random() > 0.05)
    blur = np.array((1, 1, 0)) / spacing
    low = ndimage.gaussian_filter(expit(depth / 0.1), 2.5 * blur) * core.any()
    dead = ndimage.gaussian_filter(core.astype(float), 1.8 * blur)
    texture = np.clip(1 + 0.12 * uneven(4), 0.6, 1.5)
    flow = texture * (rng.uniform(55, 75) * grey + rng.uniform(20, 28) * white)
    volume = texture * (rng.uniform(3.4, 4.6) * grey + rng.uniform(1.8, 2.5) * white)
    delay = 0.6 + 0.4 * np.abs(uneven(8)) + low * rng.uniform(4.5, 9) + dead * rng.uniform(0, 4)
    flow *= (1 - rng.uniform(0.4, 0.65) * low) * (1 - dead) + rng.uniform(0.08, 0.25) * dead
    volume *= (1 + 0.25 * low) * (1 - dead) + rng.uniform(0.25, 0.6) * dead
    old = np.zeros(shape, bool)
    if rng.random() < 0.15:
        centre = -side * rng.uniform(15, 45), rng.uniform(-40, 40), rng.uniform(z.min(), z.max())
        old = (u - centre[0]) ** 2 + (v - centre[1]) ** 2 + (z - centre[2]) ** 2 < rng.uniform(6, 16) ** 2
        old &= tissue["brain"]
    vessel = tissue["brain"] & ((np.abs(u) < 1.2) & (v > 0) | (np.abs(np.abs(u) - 32) < 2) & (np.abs(v + 6) < 2))
    flow = np.where(vessel, 200, flow * np.where(old, 0.1, 1))
    volume = np.where(vessel, rng.uniform(15, 40), volume * np.where(old, 0.15, 1))
    return flow, volume, delay, core, dead, old, vessel


def curves(rng: np.random.Generator, flow, volume, delay, times: np.ndarray):
    """Return the arterial curve (T,) and those of voxels (N, T), in HU, by convolution on a fine time axis."""
    fine = np.arange(0, times[-1] + FINE_S, FINE_S)
    since = np.maximum(fine - rng.uniform(5, 10), 0)
    bolus = since ** rng.uniform(2.5, 3.5) * np.exp(-since / rng.uniform(1.2, 1.9))
    bolus /= bolus.max()
    bolus += 0.12 * np.interp(fine - 12, fine, np.cumsum(bolus) / bolus.sum())
    artery = bolus * rng.uniform(200, 350)
    rate, box = flow / 6000 * BRAIN_DENSITY, rng.uniform(0, 0.6)
    transit = np.clip(volume / np.maximum(flow, 0.1) * 60, 0.5, 40)[:, None]
    spectrum = np.fft.rfft(artery, 2 * len(fine))
    tissue = np.empty((len(flow), len(times)), np.float32)
    for rows in np.array_split(np.arange(len(flow)), max(len(flow) // 4000, 1)):
        after, mean = fine - delay[rows, None], transit[rows]
        residue = (1 - box) * np.exp(-np.maximum(after, 0) / mean) + box * expit((mean - after) / (0.15 * mean))
        full = np.fft.irfft(np.fft.rfft(residue * (after >= 0), 2 * len(fine)) * spectrum, 2 * len(fine))
        full *= rate[rows, None] * FINE_S
        tissue[rows] = [np.interp(times, fine, curve[: len(fine)]) for curve in full]
    return np.interp(times, fine, artery), tissue


def decomposed(rng: np.random.Generator, artery: np.ndarray, tissue: np.ndarray, step: float):
    """Return CBF, CBV, MTT and Tmax of curves (N, T) by block-circulant decomposition, truncated or Tikhonov."""
    count = len(artery)
    padded = np.r_[artery, np.zeros(count)]
    left, values, right = np.linalg.svd(np.stack([np.roll(padded, shift) for shift in range(2 * count)], 1) * step)
    least = rng.uniform(0.06, 0.2) * values[0]
    inverse = np.where(values > least, 1 / values, 0) if rng.random() < 0.5 else values / (values**2 + least**2)
    residue = np.pad(tissue, ((0, 0), (0, count))) @ ((right.T * inverse) @ left.T).T
    rate, peak = np.maximum(residue.max(1), 0), residue.argmax(1)
    area = np.maximum(np.trapezoid(tissue, axis=1) / np.trapezoid(artery), 0)
    return {
        "cbf": rate * 6000 / BRAIN_DENSITY,
        "cbv": area * 100 / BRAIN_DENSITY,
        "mtt": np.clip(area / np.maximum(rate, 1e-4), 0, 30),
        "tmax": np.where(peak < count, peak, 0) * step,
    }


def measured_maps(rng: np.random.Generator, brain: np.ndarray, truth: tuple[np.ndarray, ...]) -> dict[str, np.ndarray]:
    """Return the maps of a noisy, smoothed series of flow, volume and delay. The series has half the resolution."""
    slices = brain.shape[-1]

    def halved(values: np.ndarray) -> np.ndarray:
        return values.reshape(SIZE // 2, 2, SIZE // 2, 2, slices).mean((1, 3))

    share = halved(brain.astype(float))
    inside = share > 0.3
    step = float(rng.choice((1, 1.5, 2)))
    times = np.arange(0, rng.uniform(46, 62), step)
    artery, clean = curves(rng, *(halved(part)[inside] for part in truth), times)
    in_plane = np.array((1, 1, 0))
    noise, blur = rng.uniform(1.5, 5), in_plane * rng.uniform(1.2, 2.8)
    series = noise * rng.standard_normal((*inside.shape, len(times)), np.float32)
    series[inside] += clean
    series = ndimage.gaussian_filter(series * share[..., None], (*blur, 0))
    series /= ndimage.gaussian_filter(share, blur)[..., None] + 1e-3
    found = decomposed(rng, artery + 0.3 * noise * rng.standard_normal(len(times)), series[inside], step)
    after, whole = rng.uniform(0, 1.2), rng.random() < 0.5
    scale = {"cbf": rng.uniform(0.7, 1.3), "cbv": rng.uniform(0.6, 1.5)}
    shown = ndimage.binary_erosion(brain, np.ones((3, 3, 1)))
    maps = {}
    for name, values in found.items():
        small = np.zeros(inside.shape)
        small[inside] = values
        large = ndimage.gaussian_filter(small.repeat(2, 0).repeat(2, 1), np.hypot(after, 0.7) * in_plane)
        large *= shown * scale.get(name, 1)
        maps[name] = np.round(large, 0 if name == "cbf" else 1) if whole else large
    return maps


def plain_ct(rng: np.random.Generator, tissue, dead: np.ndarray, old: np.ndarray, vessel: np.ndarray) -> np.ndarray:
    """Return HU of the head with grain; dead tissue is up to 5 HU darker."""
    layers = [(tissue["scalp"], 40), (tissue["skull"], rng.uniform(700, 1200)), (tissue["fluid"], 6)]
    layers += [(tissue["grey"], 37), (tissue["white"], 29), (old, 12), (vessel, 45)]
    density = np.where(ndimage.binary_dilation(tissue["brain"], np.ones((3, 3, 1)), 3), 8.0, -1000.0)
    for mask, hu in layers:
        density[mask] = hu
    density -= rng.uniform(0, 5) * dead * tissue["brain"]
    kernel = (0.6, 0.6, 0)
    grain = rng.uniform(5, 16) * ndimage.gaussian_filter(rng.standard_normal(density.shape), kernel)
    return np.round(ndimage.gaussian_filter(density, kernel) + grain)


def scan(rng: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return plain CT, maps and lesion of one scan, and the spacing in mm. Shapes: (H, W, D)."""
    slices, thickness = int(rng.choice((2, 4, 6, 8, 12))), float(rng.choice((5, 6, 8, 10)))
    spacing = rng.uniform(0.75, 1)
    tissue, u, v, z = head(rng, slices, spacing, thickness)
    flow, volume, delay, core, dead, old, vessel = perfusion(rng, tissue, u, v, z, spacing, thickness)
    images = measured_maps(rng, tissue["brain"], (flow, volume, delay))
    images["ct"] = plain_ct(rng, tissue, dead, old, vessel)
    drawn = ndimage.gaussian_filter(core.astype(float), np.array((1.2, 1.2, 0)) / spacing) > 0.5
    images["lesion"] = drawn & tissue["brain"]
    return images, np.array((spacing, spacing, thickness))


def main(arguments: list[str] | None = None) -> None:
    """Write ``OUT/sub-NN/sub-NN_<modality>.nii.gz``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--cases", type=int, default=48)
    parser.add_argument("--seed", type=int, default=8)
    chosen = parser.parse_args(arguments)
    for number in range(1, chosen.cases + 1):
        images, spacing = scan(np.random.default_rng((chosen.seed, number)))
        name = f"sub-{number:02d}"
        (chosen.out / name).mkdir(parents=True, exist_ok=True)
        for kind, values in images.items():
            stored = np.swapaxes(values, 0, 1).astype(KINDS.get(kind, np.float32))
            image = nib.Nifti1Image(stored, np.diag([*spacing * (-1, -1, 1), 1]))
            nib.save(image, chosen.out / name / f"{name}_{kind}.nii.gz")


if __name__ == "__main__":
    main()
