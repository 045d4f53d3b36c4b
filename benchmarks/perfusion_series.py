"""Simulated perfusion series with truth that share no code with the phantom: a second head, and a phantom of tiles.

The head has other residue functions (lognormal transit times, a Fermi function, two compartments), dispersion on the
way, an arterial curve of two passes and noise that grows towards the middle of the head; the tiles follow Kudo et al.,
Radiology 2013, doi:10.1148/radiol.12112618, inside a ring of bone, with an artery and a vein.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, special

FINE_S, DENSITY_BY_HEMATOCRIT = 0.05, 1.04 / 0.73
RESIDUES = ("lognormal", "fermi", "two compartments")
SCANNERS = (  # slices, spacing in mm, seconds a frame, frames
    (2, (1.3, 1.3, 10.0), 1.0, 50),
    (8, (1.3, 1.3, 5.0), 1.0, 45),
    (16, (1.3, 1.3, 5.0), 1.5, 40),
    (22, (1.3, 1.3, 5.0), 2.0, 30),
)


@dataclass(frozen=True)
class Series:
    """Hold one simulated series and its truth.

    Shapes: ``hu`` (T, H, W, D) int16, the maps and masks (H, W, D), ``blood_hu`` (T,).
    Units: ml/100 g/min, ml/100 g, s; ``core`` is flow below 30 % of the mean of ``healthy``, that side.
    """

    name: str
    hu: np.ndarray
    spacing_mm: tuple[float, float, float]
    dt_s: float
    cbf: np.ndarray
    cbv: np.ndarray
    delay_s: np.ndarray
    brain: np.ndarray
    core: np.ndarray
    healthy: np.ndarray
    blood_hu: np.ndarray


def head(seed: int, *, size: int = 160, noise: float = 1.0, dt_s: float | None = None) -> Series:
    """Simulate a stroke in a head by ``seed``; the scanner is ``SCANNERS[seed % 4]``.

    Args:
        noise: factor on the noise; the draws are those of the same seed.
        dt_s: seconds a frame instead of the scanner's, over the same time.
    """
    slices, spacing, step_s, frames = SCANNERS[seed % len(SCANNERS)]
    spacing = (spacing[0] * 160 / size, spacing[1] * 160 / size, spacing[2])
    if dt_s is not None:
        step_s, frames = dt_s, round(step_s * frames / dt_s)
    rng, draws = np.random.default_rng([seed, 77]), np.random.default_rng([seed, 78])
    shape = (size, size, slices)
    x, y, z = np.meshgrid(
        *((np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape, spacing, strict=True)), indexing="ij"
    )
    wide, long = rng.uniform(60, 68), rng.uniform(78, 88)
    shrink = np.sqrt(np.clip(1 - ((z + rng.uniform(0, 10)) / 95) ** 2, 0.2, 1))
    radius = ((np.abs(x) / (wide * shrink)) ** 2.3 + (np.abs(y) / (long * shrink)) ** 2.3) ** (1 / 2.3)
    rough, slow, other = (_field(rng, shape, spacing, width) for width in (5.0, 14.0, 9.0))
    inside = radius < 1.0
    fluid = (np.abs(np.abs(x) - 9 - 2 * slow) < 4) & (np.abs(y + 2) < 24) & (np.abs(z) < 35)
    matter = inside & (radius < 0.97) & ~fluid
    grey = matter & ((radius > 0.80 + 0.05 * rough) | ((np.abs(np.abs(x) - 24) < 7) & (np.abs(y) < 16)))
    static = np.select(
        [fluid & inside, matter, inside, radius < 1.09, radius < 1.17],
        [7.0, 31.0 + 5.0 * grey, 9.0, rng.uniform(800, 1500), 20.0],
        -1000.0,
    )
    side = rng.choice([-1, 1])
    deep = _territory(rng, side * x, y, z, rough)
    level, pool, late = rng.uniform(0.08, 0.24), rng.uniform(0.3, 0.6), rng.uniform(4, 9)
    flow = np.where(grey, rng.uniform(50, 72), rng.uniform(19, 27)) * np.exp(0.15 * rough + 0.08 * slow)
    volume = np.where(grey, rng.uniform(3.4, 4.6), rng.uniform(1.8, 2.5)) * np.exp(0.10 * rough + 0.05 * other)
    flow = flow * np.interp(deep, [0.0, 0.15, 0.5, 0.65], [1.0, 0.75, 0.55, level])
    volume = volume * np.interp(deep, [0.0, 0.2, 0.5, 0.65], [1.0, 1.1, 1.0, pool])
    delay = np.clip(
        0.8 + 0.5 * ~grey + 0.4 * slow + np.interp(deep, [0.0, 0.3], [0.0, late]) * np.exp(0.2 * other), 0, 16
    )
    arteries, vein = _vessels(rng, x, y, z, radius, spacing, wide, long)
    time_s, bolus = np.arange(frames) * step_s, _bolus(rng, frames * step_s)
    kind = str(rng.choice(RESIDUES))
    rise = _tissue(kind, bolus, time_s, flow[matter], volume[matter], delay[matter], rng.uniform(0.0, 0.4))
    blood = _sampled(bolus, time_s, 0.0)
    back = _sampled(np.convolve(bolus, _exponential(1.5))[: len(bolus)], time_s, rng.uniform(4.0, 6.5))
    spots, level_hu = _spots(spacing), rng.uniform(3.5, 7.0) * noise
    path = np.cumsum(rng.normal(0, 0.12, (frames, 2)), 0) * (rng.random() < 0.5)
    hu = np.empty((frames, *shape), np.int16)
    room = matter & (arteries + vein < 0.5)
    weight = np.sqrt(0.6 + 0.8 * np.exp(-(radius**2)))
    for frame in range(frames):
        image = static + arteries * blood[frame] + vein * back[frame]
        image[room] += rise[room[matter], frame]
        image = ndimage.shift(image, (*(path[frame] - path[0]), 0), order=1, mode="nearest")
        white = spots(draws.standard_normal(shape, dtype=np.float32))
        hu[frame] = np.rint(np.clip(image + level_hu * weight * white, -1024, 3071))
    healthy = matter & (side * x < 0)
    clean = room & (arteries + vein < 0.02)
    core = clean & (flow < 0.3 * flow[healthy].mean())
    maps = (np.where(clean, one, 0.0).astype(np.float32) for one in (flow, volume, delay))
    return Series(f"head {seed}, {kind}", hu, spacing, step_s, *maps, clean, core, healthy, blood)


def tiles(seed: int, *, noise_hu: float = 5.0, dt_s: float = 1.0, frames: int = 50, side: int = 16) -> Series:
    """Simulate tiles: one blood volume (1 to 5 ml/100 g) a slice, seven transit times by seven delays (0 to 3 s)."""
    rng = np.random.default_rng([seed, 79])
    volumes, transits = np.arange(1.0, 6.0), np.array([24.0, 12.0, 8.0, 6.0, 4.8, 4.0, 3.4])
    size, edge = 7 * side + 64, 32
    time_s, bolus = np.arange(frames) * dt_s, _bolus(rng, frames * dt_s)
    x, y = np.meshgrid(np.arange(size) - (size - 1) / 2, np.arange(size) - (size - 1) / 2, indexing="ij")
    square = np.maximum(np.abs(x), np.abs(y)) < 3.5 * side
    radius = np.hypot(x, y) / (3.5 * side * 1.36)
    shape = (size, size, len(volumes))
    static = np.repeat(np.select([radius < 1, radius < 1.06], [35.0, 1000.0], -1000.0)[..., None], len(volumes), 2)
    transit = np.kron(np.repeat(transits[:, None], 7, 1), np.ones((side, side)))
    late = np.kron(np.repeat(np.linspace(0, 3, 7)[None], 7, 0), np.ones((side, side)))
    cbv = np.zeros(shape)
    cbf, delay = np.zeros(shape), np.zeros(shape)
    inner = slice(edge, edge + 7 * side)
    for level, value in enumerate(volumes):
        cbv[inner, inner, level], delay[inner, inner, level] = value, late
        cbf[inner, inner, level] = 60.0 * value / transit
    brain = np.repeat(square[..., None], len(volumes), 2)
    rise = _tissue("exponential", bolus, time_s, cbf[brain], cbv[brain], delay[brain], 0.0)
    artery, vein = (np.hypot(x - at * side, y) < 3.2 for at in (4.2, -4.2))
    blood, back = _sampled(bolus, time_s, 0.0), _sampled(bolus, time_s, 5.0)
    spots = _spots((1.0, 1.0, 5.0))
    hu = np.empty((frames, *shape), np.int16)
    for frame in range(frames):
        image = static.copy()
        image[brain] += rise[:, frame]
        image[artery] += blood[frame]
        image[vein] += back[frame]
        image += noise_hu * spots(rng.standard_normal(shape, dtype=np.float32))
        hu[frame] = np.rint(image)
    full = [np.asarray(one, np.float32) for one in (cbf, cbv, delay)]
    none = np.zeros(shape, bool)
    return Series(f"tiles {seed}", hu, (1.0, 1.0, 5.0), dt_s, *full, brain, none, brain, blood)


def _field(rng: np.random.Generator, shape: tuple[int, ...], spacing: tuple[float, ...], width_mm: float) -> np.ndarray:
    rough = rng.standard_normal(shape, dtype=np.float32)
    smooth = ndimage.gaussian_filter(rough, [width_mm / s for s in spacing], mode="nearest")
    return smooth / smooth.std()


def _territory(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, z: np.ndarray, rough: np.ndarray) -> np.ndarray:
    """Return how deep (0 to 1) each point lies in the ischaemic territory; x runs to the affected side."""
    middle, radius = (rng.uniform(30, 42), rng.uniform(-18, 18), rng.uniform(-8, 8)), rng.uniform(14, 32)
    away = np.sqrt((x - middle[0]) ** 2 + 0.6 * (y - middle[1]) ** 2 + 0.7 * (z - middle[2]) ** 2) / radius
    return np.clip(1.3 - away + 0.07 * rough, 0, 1) * (x > 2)


def _vessels(
    rng: np.random.Generator,
    x: np.ndarray,
    y: np.ndarray,
    z: np.ndarray,
    radius: np.ndarray,
    spacing: tuple[float, ...],
    wide: float,
    long: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the parts of each voxel that arterial and venous blood fill, blurred as the scanner does."""
    arteries = np.zeros(x.shape)
    for side in (-1, 1):
        at = side * (0.55 + 0.15 * np.sin(z / 15 + rng.uniform(0, 6))) * wide
        arteries += np.hypot(x - at, y - rng.uniform(0, 25)) < rng.uniform(1.2, 2.2)
    arteries += np.hypot(x - 2.0, y - (0.62 + 0.06 * np.sin(z / 12)) * long) < rng.uniform(1.2, 2.0)
    vein = (np.hypot(x, y + 0.93 * long * np.sqrt(np.clip(1 - (z / 95) ** 2, 0.2, 1))) < rng.uniform(2.5, 4.2)) & (
        radius < 1
    )
    blur = [0.55 / s for s in spacing[:2]]
    return tuple(ndimage.gaussian_filter(np.clip(one, 0, 1).astype(float), (*blur, 0)) for one in (arteries, vein))


def _bolus(rng: np.random.Generator, duration_s: float) -> np.ndarray:
    """Return the arterial curve on the fine grid: two passes and a plateau, 6 to 15 s wide at a tenth."""
    t = np.arange(0.0, duration_s + 2.0, FINE_S) - rng.uniform(6.0, min(10.0, 0.2 * duration_s))
    order, scale = rng.uniform(2.0, 4.5), rng.uniform(0.9, 1.8)

    def wave(at: np.ndarray, stretch: float) -> np.ndarray:
        s = np.clip(at, 0, None) / (order * scale * stretch)
        return s**order * np.exp(order * (1 - s))

    late = special.expit((t - 12) / 2)
    return rng.uniform(180, 400) * (wave(t, 1.0) + rng.uniform(0.1, 0.25) * wave(t - 10, 2.0) + 0.05 * late)


def _residue(kind: str, t: np.ndarray, mtt_s: float) -> np.ndarray:
    """Return the part of the contrast still there, of area ``mtt_s``."""
    if kind == "exponential":
        shape = np.exp(-t / mtt_s)
    elif kind == "lognormal":
        shape = 0.5 * special.erfc((np.log(np.maximum(t, 1e-6) / mtt_s) + 0.18) / (0.6 * np.sqrt(2)))
    elif kind == "fermi":
        shape = (1 + np.exp(-4.0)) / (1 + np.exp((t - 0.98 * mtt_s) / (0.245 * mtt_s)))
    else:
        shape = 0.7 * np.exp(-t / (0.6 * mtt_s)) + 0.3 * np.exp(-t / (1.93 * mtt_s))
    return shape * mtt_s / (shape.sum() * FINE_S) if shape[-1] < 0.05 else shape


def _exponential(tau_s: float) -> np.ndarray:
    kernel = np.exp(-np.arange(0, 8 * tau_s, FINE_S) / tau_s)
    return kernel / kernel.sum()


def _sampled(curve: np.ndarray, time_s: np.ndarray, delay_s: float) -> np.ndarray:
    return np.interp(time_s - delay_s, np.arange(len(curve)) * FINE_S, curve, left=0.0)


def _tissue(
    kind: str,
    bolus: np.ndarray,
    time_s: np.ndarray,
    cbf: np.ndarray,
    cbv: np.ndarray,
    delay_s: np.ndarray,
    spread: float,
) -> np.ndarray:
    """Return tissue curves (V, T) in HU, dispersed by ``spread`` seconds a second of delay; steps of 4 % and 0.1 s."""
    t = np.arange(len(bolus)) * FINE_S
    transit = np.round(np.log(60 * cbv / np.maximum(cbf, 0.5)) / 0.04).astype(int)
    tenths = np.round(delay_s / 0.1).astype(int)
    both, which = np.unique(np.stack([transit, tenths]), axis=1, return_inverse=True)
    table, made = np.empty((both.shape[1], len(time_s)), np.float32), {}
    for number, (log_transit, tenth) in enumerate(both.T):
        if log_transit not in made:
            full = _residue(kind, t, float(np.exp(0.04 * log_transit)))
            made[log_transit] = np.fft.irfft(np.fft.rfft(bolus, 2 * len(t)) * np.fft.rfft(full, 2 * len(t)))[: len(t)]
        curve, late = made[log_transit] * FINE_S, 0.1 * tenth
        if spread * late > 0.1:
            curve = ndimage.convolve1d(
                curve, np.r_[np.zeros(len(k := _exponential(spread * late)) - 1), k], mode="constant"
            )
        table[number] = _sampled(curve, time_s, late)
    return table[which.ravel()] * (cbf * DENSITY_BY_HEMATOCRIT / 6000.0)[:, None].astype(np.float32)


def _spots(spacing: tuple[float, ...]):
    """Return a function that gives white noise the grain of a soft kernel, at unit deviation."""
    sigma = [0.5 / s for s in spacing[:2]]
    probe = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((128, 128, 4)), (*sigma, 0)).std()
    return lambda white: ndimage.gaussian_filter(white, (*sigma, 0)) / probe
