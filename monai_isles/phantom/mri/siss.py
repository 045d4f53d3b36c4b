"""Sub-acute stroke as T1, T2, FLAIR and DWI show it in the first week (SISS)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monai_isles.phantom.atlas import SmoothField
from monai_isles.phantom.mri.brain import Brain
from monai_isles.phantom.mri.scanner import Sequence, record
from monai_isles.phantom.mri.stroke import Drawn, MriSigns, draw_region

# signal of grey matter, white matter, fluid, vessels; white matter near 1 but on T2 and T1
_TISSUE = {
    "t1": (0.74, 1.0, 0.24, 0.55),
    "t2": (1.35, 1.0, 2.9, 0.35),
    "flair": (1.16, 1.0, 0.2, 0.35),
    "dwi": (1.15, 1.0, 0.3, 0.3),
}
# factor of the signal in gliosis and in white-matter hyperintensity
_OLD = {"t1": (0.72, 0.84), "t2": (1.6, 1.5), "flair": (1.5, 1.55), "dwi": (1.0, 1.05)}
_ORDER = ("t1", "t2", "flair", "dwi")


@dataclass(frozen=True)
class SubAcute:
    """Say how old the lesion is and how strongly each sequence shows it: factors of the signal less one.

    Units: ``day`` since onset; ``dwi_share`` part of the lesion that is bright on DWI; ``faded`` 0..1 how patchily.
    """

    day: float
    t1: float
    t2: float
    flair: float
    dwi: float
    dwi_share: float
    faded: float
    bleeding: float


def draw_sub_acute(rng: np.random.Generator) -> SubAcute:
    """Draw the lesion's age and contrasts: FLAIR and T2 grow over the week, DWI fades after the fourth."""
    day = float(rng.uniform(1, 7))
    ripe = np.clip(day / 4, 0.35, 1)
    fresh = 1 / (1 + np.exp((day - 4.6) / 0.6))
    return SubAcute(
        day=day,
        t1=float(-rng.uniform(0.1, 0.28) * (0.5 + 0.5 * ripe)),
        t2=float(rng.uniform(0.35, 0.7) * (0.4 + 0.6 * ripe)),
        flair=float(rng.uniform(0.5, 0.95) * (0.45 + 0.55 * ripe)),
        dwi=float(rng.uniform(0.7, 1.5) * fresh + rng.uniform(0.1, 0.5) * (1 - fresh)),
        dwi_share=float(rng.uniform(0.65, 1.0) * fresh + rng.uniform(0.4, 0.85) * (1 - fresh)),
        faded=float(rng.uniform(0.15, 0.5) + 0.4 * (1 - fresh)),
        bleeding=float(rng.uniform(0.4, 1.0) if rng.random() < 0.15 else 0.0),
    )


def siss_images(
    rng: np.random.Generator, brain: Brain, signs: MriSigns, lesion: Drawn, state: SubAcute
) -> tuple[dict[str, np.ndarray], Drawn]:
    """Return the grey values (n,) of the four sequences, and the part of the lesion that DWI shows.

    Args:
        lesion: what FLAIR shows, which is the label.
        state: see ``draw_sub_acute``.

    Source: ours, contrasts after Allen et al., RadioGraphics 2012, doi:10.1148/rg.325115760;
    ``tests/phantom/test_mri_siss.py``.
    """
    texture, patches, edge = (SmoothField(rng, scale).at(brain.head_mm) for scale in (3.5, 8.0, 7.0))
    inner = np.where(lesion.region, lesion.field + 0.22 * edge, -20).astype(np.float32)
    dwi = draw_region(brain, inner, max(state.dwi_share * lesion.ml(brain), 3 * brain.grid.voxel_ml))
    soft = lesion.soft(0.07)
    blood = state.bleeding * np.clip(texture + 0.5 * patches - 0.9, 0, 1) * (lesion.field > lesion.level + 0.15)
    shown = {
        "t1": state.t1 * soft * (0.9 + 0.25 * texture) + 0.35 * blood,
        "t2": state.t2 * soft * (0.9 + 0.25 * texture) - 0.5 * blood,
        "flair": state.flair * soft * (0.92 + 0.2 * texture + 0.1 * patches) - 0.45 * blood,
        "dwi": _dwi_gain(state, dwi, soft, texture, patches) - 0.4 * blood,
    }
    swollen = soft * np.clip(0.55 - 0.08 * abs(state.day - 3.5), 0, 1)
    images = {}
    for name, own in zip(_ORDER, rng.spawn(len(_ORDER)), strict=True):
        signal = tissue_signal(brain, signs, _TISSUE[name], _OLD[name], swollen) * (
            1 + 0.035 * SmoothField(own, 5.0).at(brain.head_mm)
        )
        signal = signal * (1 + np.clip(shown[name], -0.7, 2.5) * brain_share(brain, swollen) * (1 - signs.old))
        images[name] = record(own, brain, signal, _sequence(own, name))
    return images, dwi


def _dwi_gain(state: SubAcute, dwi: Drawn, soft: np.ndarray, texture: np.ndarray, patches: np.ndarray) -> np.ndarray:
    uneven = np.clip(1 - state.faded * (0.6 + 0.5 * patches + 0.3 * texture), 0.0, 1.4)
    return state.dwi * dwi.soft(0.07) * uneven + 0.12 * soft


def brain_share(brain: Brain, swollen: np.ndarray | float = 0.0) -> np.ndarray:
    """Return the share (n,) of solid tissue, sulci narrowed where the brain is ``swollen`` (n,) 0..1."""
    return np.clip(brain.matter + swollen * brain.csf * (brain.depth < 22), 0, 1)


def tissue_signal(
    brain: Brain,
    signs: MriSigns,
    tissue: tuple[float, float, float, float],
    old: tuple[float, float],
    swollen: np.ndarray | float = 0.0,
) -> np.ndarray:
    """Return the signal (n,) of a brain without fresh stroke.

    Args:
        tissue: signal of grey matter, white matter, fluid and vessels.
        old: factors of the signal in gliosis and in white-matter hyperintensity.
        swollen: how far (n,) oedema closes the sulci.
    """
    solid = brain_share(brain, swollen)
    ratio = solid / np.maximum(brain.matter, 1e-3)
    matter = (tissue[0] * brain.gm + tissue[1] * brain.wm) * np.where(brain.matter > 0.02, ratio, 0)
    matter = matter * (1 + (old[0] - 1) * signs.rim) * (1 + (old[1] - 1) * signs.hyper)
    signal = (matter + tissue[2] * (1 - solid)) * (1 - signs.cavity) + tissue[2] * signs.cavity
    vessels = np.clip(brain.artery + brain.vein, 0, 1)
    return (signal * (1 - vessels) + tissue[3] * vessels).astype(np.float32)


def _sequence(rng: np.random.Generator, name: str) -> Sequence:
    blur = {"t1": (0.5, 0.5, 0.5), "t2": (0.5, 0.5, 1.4), "flair": (0.6, 0.6, 1.0), "dwi": (1.0, 1.0, 1.7)}[name]
    snr = {"t1": (25, 45), "t2": (22, 40), "flair": (18, 35), "dwi": (12, 24)}[name]
    return Sequence(
        blur_mm=blur,
        snr=float(rng.uniform(*snr)),
        bias=float(rng.uniform(0.06, 0.13)),
        misplaced_mm=0.0 if name == "flair" else float(rng.uniform(0.2, 0.5)),
        gain=float(rng.uniform(180, 420)),
        echo_planar=name == "dwi",
    )
