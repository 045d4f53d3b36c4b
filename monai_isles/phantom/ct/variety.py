"""Vary scanners, map software and patients of the simulated studies."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from scipy import ndimage

from monai_isles.errors import refused
from monai_isles.perfusion.deconvolution import METHOD
from monai_isles.perfusion.maps import PerfusionMaps
from monai_isles.phantom.atlas import TABLES, SmoothField
from monai_isles.phantom.ct.anatomy import Tissues

NONE, REAL, UNSEEN = "none", "real", "unseen"
MODES = (NONE, REAL, UNSEEN)
SOFTWARES = TABLES["software"]


@dataclass(frozen=True)
class Kernel:
    """Reconstruct with noise up to ``cutoff_per_mm``, edges blurred by ``blur_mm`` (sigma) and raised by ``edge``."""

    cutoff_per_mm: float = 0.32
    blur_mm: float = 0.0
    edge: float = 0.0


KERNELS = {
    REAL: {"soft": Kernel(0.22, 0.8), "standard": Kernel(), "sharp": Kernel(0.45)},
    UNSEEN: {"edge": Kernel(0.40, 0.0, 0.4)},
}
NOISE = {REAL: {"low": 0.6, "usual": 1.0, "high": 1.5}, UNSEEN: {"very_high": 1.9}}
MAP_PADDING = (0.0, -1.0, -1024.0, float("nan"))
CT_PADDING = (-1024.0, -2000.0, -3024.0)
SMALL_ML, SMALL_SHARE, SMALLEST_ML = 5.0, 0.25, 0.5
SECOND_SLAB = {2: 0.82, 4: 0.36, 8: 0.80}
_MATRICES, _LEAST_VIEW_MM, _FINE_SLICES = (256, 320, 384, 448, 512), 220.0, 8
_THICKNESS_MM = {2: (6.0, 12.0), 4: (5.0, 12.0), 8: (4.0, 10.0), 16: (4.0, 6.0), 22: (4.0, 5.0)}
# steps that fill a line evenly, so that few subjects already show the whole distribution
_STEPS = np.array([0.6180339887498949, 0.4142135623730950])


@dataclass(frozen=True)
class Variety:
    """Hold the differences between studies other than anatomy and stroke; the defaults vary nothing.

    Units: mm; ``noise`` and the scales are factors, ``setting`` that of the method; ``cut_mm`` is the part of the
    head outside the field of view at the left, right, back and front.
    """

    mode: str = NONE
    software: str = "transit_model"
    method: str = METHOD
    setting: float | str | None = None
    smoothing_mm: float | None = None
    cbf_scale: float = 1.0
    cbv_scale: float = 1.0
    whole_numbers: bool = False
    map_padding: float = 0.0
    ct_padding: float = -1024.0
    kernel: str = "standard"
    noise_level: str = "usual"
    cut_mm: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    craniectomy: float = 0.0
    haemorrhage: bool = False
    lesion: bool = True
    deficit: float = 1.0

    @property
    def reconstruction(self) -> Kernel:
        """Return the kernel."""
        return (KERNELS[REAL] | KERNELS[UNSEEN])[self.kernel]

    @property
    def noise(self) -> float:
        """Return the factor on the usual noise."""
        return (NOISE[REAL] | NOISE[UNSEEN])[self.noise_level]

    def facts(self) -> dict[str, object]:
        """Return the mode and the draws as plain values, NaN as text; only the mode if nothing is varied."""
        if self.mode == NONE:
            return {"mode": NONE}
        drawn = asdict(self) | {"cut_mm": [round(cut, 2) for cut in self.cut_mm]}
        return drawn | ({"map_padding": "nan"} if np.isnan(self.map_padding) else {})


def require_mode(mode: str, kind: str = "ct") -> None:
    """Raise ``E-PHAN-09`` unless ``mode`` is one of ``MODES``, and ``none`` for a kind that is not CT."""
    if mode not in MODES or (mode != NONE and kind != "ct"):
        raise refused("E-PHAN-09", where="variety", found=f"{mode!r}, kind {kind}", modes=", ".join(MODES))


def draw_variety(index: int, *, seed: int, mode: str) -> Variety:
    """Draw the variety of the study of subject ``index``; the result depends on nothing else."""
    # ``real`` and ``unseen`` have different software, kernels and noise levels; everything else is drawn alike.
    if mode == NONE:
        return Variety()
    rng = np.random.default_rng([seed, 12, index])
    start = np.random.default_rng([seed, 13]).random(2)
    # Evenly spread draws: few subjects already show every software.
    even, healthy = ((start + _STEPS * (index + 1)) % 1.0).tolist()
    shares = np.cumsum([share for _, _, share in SOFTWARES[mode].values()])
    place = min(int(np.searchsorted(shares, even, side="right")), len(shares) - 1)
    software, (method, settings, _) = list(SOFTWARES[mode].items())[place]
    whole = bool(rng.random() < 0.25)
    padding = float(rng.choice(MAP_PADDING, p=[0.55, 0.2, 0.1, 0.15]))
    patient = np.random.default_rng([seed, 14, index])
    sides = patient.random(4) < 0.08
    lesion = healthy >= 0.09
    return Variety(
        mode=mode,
        software=software,
        method=method,
        setting=settings if isinstance(settings, str) else float(rng.uniform(*settings)),
        smoothing_mm=float(rng.uniform(1.0, 6.0)),
        cbf_scale=float(np.exp(np.clip(rng.normal(0, 0.22), -0.5, 0.5))),
        cbv_scale=float(np.exp(np.clip(rng.normal(0, 0.22), -0.5, 0.5))),
        whole_numbers=whole,
        map_padding=-1.0 if whole and np.isnan(padding) else padding,  # whole numbers have no NaN
        ct_padding=float(rng.choice(CT_PADDING, p=[0.5, 0.2, 0.3])),
        kernel=str(rng.choice(list(KERNELS[mode]))),
        noise_level=str(rng.choice(list(NOISE[mode]))),
        cut_mm=tuple((sides * patient.uniform(4, 18, 4)).tolist()),
        craniectomy=float(patient.choice([-1.0, 1.0]) if patient.random() < 0.05 else 0.0),
        haemorrhage=bool(patient.random() < 0.12) and lesion,
        lesion=lesion,
        deficit=1.0 if lesion else float(patient.choice([0.0, patient.uniform(0.05, 0.3)])),
    )


def varied_spacing(rng: np.random.Generator, slices: int) -> tuple[float, float, float]:
    """Draw the voxel in mm: 0.4 to 1.1 in plane, slices of 4 to 12; scans of many slices have no fine matrix."""
    fine = slices <= _FINE_SLICES and rng.random() < 0.2
    in_plane = float(np.round(rng.uniform(0.4, 0.65) if fine else rng.uniform(0.68, 1.1), 3))
    if slices > _FINE_SLICES:
        in_plane = max(in_plane, 0.86)
    return in_plane, in_plane, float(np.round(rng.uniform(*_THICKNESS_MM[slices]), 1))


def matrix_of(in_plane_mm: float) -> int:
    """Return the smallest usual matrix whose field of view is 220 mm or more, else the largest."""
    return next((size for size in _MATRICES if size * in_plane_mm >= _LEAST_VIEW_MM - 4), _MATRICES[-1])


def varied_volume(share: float, quantiles_ml: tuple[float, ...]) -> float:
    """Return the lesion in ml at ``share`` (0..1) of the subjects: a quarter has 0.5 to 5 ml, the rest as tabled."""
    if share < SMALL_SHARE:
        return float(SMALLEST_ML * (0.98 * SMALL_ML / SMALLEST_ML) ** (share / SMALL_SHARE))
    log_ml, places = np.log(quantiles_ml), np.linspace(0, 1, len(quantiles_ml))
    first = float(np.interp(np.log(SMALL_ML), log_ml, places))
    place = first + (share - SMALL_SHARE) / (1 - SMALL_SHARE) * (1 - first)
    return float(np.exp(np.interp(place, places, log_ml)))


def change_static(variety: Variety, tissues: Tissues, core: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the HU (H, W, D) that craniectomy, and haemorrhage in the ``core`` (n,), add to the CT before contrast."""
    added = np.zeros(tissues.gm.shape, np.float32)
    if variety.craniectomy:
        across = variety.craniectomy * tissues.atlas_mm[:, 0]
        # Bone of the flap becomes scalp.
        flap = (across > 30) & (np.abs(tissues.atlas_mm[:, 1] + 12) < rng.uniform(25, 45))
        added -= tissues.fill(flap.astype(np.float32)) * ((1150.0 - 30.0) * tissues.bone - 550.0 * tissues.diploe)
    if variety.haemorrhage:
        # Streaks along the vessels' course.
        field = SmoothField(rng, 2.5).at(tissues.head_mm * np.array([1.0, 0.45, 1.0], np.float32))
        streaks = np.clip((field - 0.9) * 2.0, 0, 1) * core
        added += tissues.fill((rng.uniform(18, 34) * streaks).astype(np.float32)) * (tissues.gm + tissues.wm)
    return added


def sharpen(image: np.ndarray, kernel: Kernel, spacing_mm: float) -> np.ndarray:
    """Apply the kernel to a noiseless CT (H, W, D): blur it, or enhance its edges."""
    if kernel.blur_mm:
        sigma = kernel.blur_mm / spacing_mm
        return ndimage.gaussian_filter(image, (sigma, sigma, 0), output=np.float32)
    if kernel.edge:
        sigma = 1.2 / spacing_mm
        # Unsharp masking, as sharp kernels do.
        return image + kernel.edge * (image - ndimage.gaussian_filter(image, (sigma, sigma, 0), output=np.float32))
    return image


def dress_maps(measured: PerfusionMaps, variety: Variety) -> dict[str, np.ndarray]:
    """Return cbf, cbv, mtt and tmax with the software's scale, rounding and padding."""
    maps = {"cbf": measured.cbf * np.float32(variety.cbf_scale), "cbv": measured.cbv * np.float32(variety.cbv_scale)}
    maps |= {"mtt": measured.mtt, "tmax": measured.tmax}
    if variety.map_padding != 0.0:
        maps = {name: np.where(measured.brain, image, np.float32(variety.map_padding)) for name, image in maps.items()}
    if variety.whole_numbers:
        maps = {name: np.rint(image).astype(np.int16) for name, image in maps.items()}
    return maps


def pad_ct(ct: np.ndarray, variety: Variety) -> np.ndarray:
    """Return the CT (H, W, D) with the software's padding outside the reconstructed circle."""
    if variety.ct_padding >= -1024.0:
        return ct
    h, w = (np.arange(n) - (n - 1) / 2 for n in ct.shape[:2])
    outside = np.hypot(h[:, None], w[None, :]) > max(ct.shape[:2]) / 2
    return np.where(outside[..., None], np.int16(variety.ct_padding), ct)


def field_of_view(ct: np.ndarray, variety: Variety, spacing_mm: float) -> tuple[slice, slice]:
    """Return the columns and rows of the field of view: the whole image without the ``cut_mm`` of the head."""
    head, kept = ct > -300, []
    for axis, (low_mm, high_mm) in enumerate((variety.cut_mm[:2], variety.cut_mm[2:])):
        seen = np.flatnonzero(head.any(axis=tuple(a for a in range(3) if a != axis)))
        first = seen[0] + round(low_mm / spacing_mm) if low_mm else 0
        last = seen[-1] + 1 - round(high_mm / spacing_mm) if high_mm else ct.shape[axis]
        kept.append(slice(int(first), int(last)))
    return kept[0], kept[1]
