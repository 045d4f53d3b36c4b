"""Model the passage of contrast: arterial curve, residue functions, tissue curves; and noise and movement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft, special

from monai_isles.perfusion.maps import DENSITY_G_ML, HEMATOCRIT_FACTOR


def scanner_noise(
    rng: np.random.Generator, shape: tuple[int, int, int], sd_hu: float, spacing_mm: float, cutoff_per_mm: float = 0.32
) -> np.ndarray:
    """Return noise images (n, size, size) float32 with standard deviation ``sd_hu`` and a CT texture.

    Source: filtered back-projection noise, Riederer et al., Phys Med Biol 1978, doi:10.1088/0031-9155/23/3/008.
    """
    count, size, _ = shape
    frequency = np.hypot(np.fft.fftfreq(size, spacing_mm)[:, None], np.fft.rfftfreq(size, spacing_mm))
    # Filtered back-projection: noise grows with frequency until the kernel cuts it.
    power = (frequency + 0.01) * np.exp(-((frequency / cutoff_per_mm) ** 2))
    weight = np.full(power.shape[1], 2.0)  # the inner columns of the half spectrum stand for two
    weight[[0, -1]] = 1.0
    half = np.sqrt(power / (power * weight).sum()).astype(np.float32)
    half = half * np.float32(sd_hu * size * size / np.sqrt(2.0))
    out = np.empty(shape, np.float32)
    for i in range(count):
        spectrum = rng.standard_normal((*half.shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
        out[i] = fft.irfft2(spectrum * half, s=(size, size))
    return out


def drift(rng: np.random.Generator, frames: int, amplitude_px: float) -> np.ndarray:
    """Return the movement (frames, 2) in voxels: a slow drift with occasional jerks."""
    steps = rng.normal(0, 0.15, (frames, 2)) + (rng.random((frames, 1)) < 0.04) * rng.normal(0, 1.0, (frames, 2))
    path = np.cumsum(steps, axis=0)
    path -= path[0]
    largest = max(float(np.abs(path).max()), 1e-6)
    return (path * min(1.0, amplitude_px / largest)).astype(np.float32)


def shift_image(image: np.ndarray, by_px: np.ndarray) -> np.ndarray:
    """Return ``image`` (H, W, ...) moved by a small part of a voxel along its first two axes."""
    for axis, step in enumerate(by_px):
        if abs(step) > 0.02:
            image = (1 - abs(step)) * image + abs(step) * np.roll(image, int(np.sign(step)), axis=axis)
    return image


def streak(rng: np.random.Generator, head_mm: np.ndarray, side: float) -> np.ndarray:
    """Return the one-sided band (n,) of false HU that dense bone causes at points (n, 3).  Units: mm, HU."""
    angle = rng.uniform(-0.5, 0.5)
    across = (head_mm[:, 1] - rng.uniform(-60, 30)) * np.cos(angle) - head_mm[:, 0] * np.sin(angle)
    band = np.exp(-((across / rng.uniform(5, 10)) ** 2)) - 0.5 * np.exp(-(((across - 14) / 7) ** 2))
    fade = np.clip(side * head_mm[:, 0] / 60, 0, 1)
    return (-rng.uniform(3, 7) * band * fade).astype(np.float32)


FINE_S = 0.1
RESIDUES = ("exponential", "box", "gamma")
_MTT_S = np.geomspace(1.2, 45.0, 72)
_DELAY_S = np.arange(0.0, 18.01, 0.2)


@dataclass(frozen=True)
class Bolus:
    """Hold the parameters of the arterial curve: a gamma variate with recirculation.  Units: s, HU."""

    arrival_s: float
    alpha: float
    beta_s: float
    peak_hu: float
    recirculation: float

    def curve(self, time_s: np.ndarray) -> np.ndarray:
        """Return the enhancement of blood in HU at ``time_s``.

        Source: Thompson et al., Circ Res 1964, doi:10.1161/01.RES.14.6.502, with a second, dispersed pass.
        """
        first = _gamma_variate(time_s - self.arrival_s, self.alpha, self.beta_s)
        # The second pass comes about 11 s later and wider, then the contrast stays mixed in the blood.
        again = _gamma_variate(time_s - self.arrival_s - 11.0, self.alpha, 2.2 * self.beta_s)
        settled = special.expit((time_s - self.arrival_s - 14.0) / 2.5)
        return self.peak_hu * (first + self.recirculation * again + 0.35 * self.recirculation * settled)


def _gamma_variate(time_s: np.ndarray, alpha: float, beta_s: float) -> np.ndarray:
    t = np.maximum(time_s, 0.0) / (alpha * beta_s)
    return np.where(time_s > 0, t**alpha * np.exp(alpha * (1 - t)), 0.0)


def draw_bolus(rng: np.random.Generator, *, duration_s: float) -> Bolus:
    """Draw a bolus that arrives early enough to be scanned completely."""
    return Bolus(
        arrival_s=float(rng.uniform(4.0, min(10.0, 0.16 * duration_s))),
        alpha=float(rng.uniform(2.6, 3.6)),
        beta_s=float(rng.uniform(1.2, 1.9)),
        peak_hu=float(rng.uniform(190, 330)),
        recirculation=float(rng.uniform(0.15, 0.28)),
    )


def residue(kind: str, time_s: np.ndarray, mtt_s: np.ndarray) -> np.ndarray:
    """Return the share of contrast still in the tissue (len(mtt_s), len(time_s)); its area is ``mtt_s``.

    Source: exponential and box as in Østergaard et al., Magn Reson Med 1996, doi:10.1002/mrm.1910360510;
    gamma: Mouridsen et al., NeuroImage 2006, doi:10.1016/j.neuroimage.2006.06.015.
    """
    t, mtt = time_s[None, :], np.asarray(mtt_s)[:, None]
    if kind == "exponential":
        return np.exp(-t / mtt)
    if kind == "box":
        return np.clip((mtt - t) / FINE_S + 0.5, 0, 1)
    return special.gammaincc(3.0, 3.0 * t / mtt)


class TissueCurves:
    """Tabulate the curves of unit flow for every transit time and delay of one scan: C = k CBF x AIF (*) R.

    Args:
        kind: residue function, one of ``RESIDUES``.
        dispersion: seconds of exponential vascular dispersion a second of delay.
    """

    def __init__(self, bolus: Bolus, kind: str, time_s: np.ndarray, *, dispersion: float = 0.3) -> None:
        fine = np.arange(0.0, float(time_s[-1]) + 1.0, FINE_S)
        size = 2 * len(fine)
        arterial = np.fft.rfft(bolus.curve(fine), size)
        left = np.fft.rfft(residue(kind, fine, _MTT_S), size, axis=1) * FINE_S
        # The area of a sampled residue must be the transit time, or flow times MTT would not be the volume.
        left *= (_MTT_S / (residue(kind, fine, _MTT_S).sum(1) * FINE_S).clip(1e-6)).clip(0, 1.05)[:, None]
        at = np.clip(np.round(time_s / FINE_S).astype(int), 0, len(fine) - 1)
        late = [_delay(arterial * left, fine, size, delay, dispersion)[:, at] for delay in _DELAY_S]
        blood = [_delay(arterial[None], fine, size, delay, dispersion)[0, at] for delay in _DELAY_S]
        self.table, self.blood = np.stack(late, 1).astype(np.float32), np.stack(blood).astype(np.float32)

    def tissue(self, cbf: np.ndarray, mtt_s: np.ndarray, delay_s: np.ndarray) -> np.ndarray:
        """Return the enhancement (V, T) in HU of voxels with ``cbf`` ml/100 g/min, ``mtt_s`` and ``delay_s``."""
        step = np.log(_MTT_S[1] / _MTT_S[0])
        transit = np.round(np.log(np.maximum(mtt_s, _MTT_S[0]) / _MTT_S[0]) / step).astype(int).clip(0, len(_MTT_S) - 1)
        # ml/100 g/min to 1/s; capillary blood has less plasma than the artery (hematocrit factor).
        flow = (cbf * DENSITY_G_ML / HEMATOCRIT_FACTOR / 6000.0).astype(np.float32)
        return self.table[transit, _delay_row(delay_s)] * flow[:, None]

    def vessel(self, fraction: np.ndarray, delay_s: np.ndarray) -> np.ndarray:
        """Return the enhancement (V, T) in HU of voxels that hold ``fraction`` of blood arriving after ``delay_s``."""
        return self.blood[_delay_row(delay_s)] * fraction.astype(np.float32)[:, None]


def _delay_row(delay_s: np.ndarray) -> np.ndarray:
    return np.round(delay_s / (_DELAY_S[1] - _DELAY_S[0])).astype(int).clip(0, len(_DELAY_S) - 1)


def _delay(spectra: np.ndarray, fine: np.ndarray, size: int, delay_s: float, dispersion: float) -> np.ndarray:
    # A late artery came by collaterals: the longer the way, the wider the bolus.
    tau = dispersion * delay_s
    kernel = np.zeros(len(fine))
    first = int(round(delay_s / FINE_S))
    spread = np.exp(-fine[: len(fine) - first] / tau) if tau > FINE_S else np.eye(1, len(fine) - first)[0]
    kernel[first:] = spread / spread.sum()
    return np.fft.irfft(spectra * np.fft.rfft(kernel, size), size, axis=1)[:, : len(fine)]
