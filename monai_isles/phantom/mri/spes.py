"""Simulate acute stroke on perfusion maps, DWI, T2 and enhanced T1 in the first hours (SPES)."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from monai_isles.phantom.atlas import TABLES, SmoothField
from monai_isles.phantom.ct.stroke import Stroke
from monai_isles.phantom.mri.brain import Brain
from monai_isles.phantom.mri.siss import brain_share, draw_sequence, record, tissue_signal
from monai_isles.phantom.mri.stroke import Drawn, MriSigns

_GREY, _WHITE, _FLUID = (57.0, 4.0), (23.0, 2.0), (4.0, 0.5)
_MAP_BLUR_MM = [1.5, 1.5, 2.6]


def spes_images(
    rng: np.random.Generator, brain: Brain, signs: MriSigns, stroke: Stroke, area: Drawn, core: Drawn
) -> dict[str, np.ndarray]:
    """Return the values (n,) of the seven images.

    Units: ``cbf`` ml/100 g/min, ``cbv`` ml/100 g, ``ttp`` and ``tmax`` s, the others grey values. In ``area``, with
    ``core`` inside it, Tmax is above 6 s.
    Source: ours; perfusion after Wintermark et al., Stroke 2006, doi:10.1161/01.STR.0000209238.61459.39.
    """
    maps = _perfusion(rng, brain, signs, stroke, area, core)
    dead = core.soft(0.07)
    texture = SmoothField(rng, 4.0).at(brain.head_mm)
    late = np.clip((stroke.onset_h - 3) / 4, 0, 1)
    shown = {
        "t1c": -0.04 * late * dead,
        "t2": 0.1 * late * dead,
        "dwi": rng.uniform(0.65, 1.25) * dead * np.clip(0.9 + 0.3 * texture, 0.2, 1.5),
    }
    images = {}
    for (name, facts), own in zip(TABLES["spes"].items(), rng.spawn(len(TABLES["spes"])), strict=True):
        signal = tissue_signal(brain, signs, facts["tissue"], facts["old"])
        signal = signal * (1 + 0.035 * SmoothField(own, 5.0).at(brain.head_mm))
        signal = signal * (1 + shown[name] * brain_share(brain) * (1 - signs.old))
        if name == "t1c":
            signal = signal + 0.35 * area.soft(0.1) * brain.csf * (brain.depth < 20)
        sequence = draw_sequence(own, name, facts, bias=(0.08, 0.16), misplaced_mm=(0.3, 0.7))
        images[name] = record(own, brain, signal, sequence)
    return images | maps


def _perfusion(
    rng: np.random.Generator, brain: Brain, signs: MriSigns, stroke: Stroke, area: Drawn, core: Drawn
) -> dict[str, np.ndarray]:
    scales_mm = (5.0, 9.0, 7.0, 6.0, 8.0)
    texture, timing, detour, volume, wander = (SmoothField(rng, scale).at(brain.head_mm) for scale in scales_mm)
    deep, spare = _depths(area, core)
    deep = deep + rng.uniform(0.25, 0.6) * wander
    health = float(rng.uniform(0.8, 1.15))
    solid = brain.matter * (1 - signs.cavity)
    cbf = health * (_GREY[0] * brain.gm + _WHITE[0] * brain.wm) * np.exp(0.1 * texture) * (1 - 0.5 * signs.rim)
    cbv = (_GREY[1] * brain.gm + _WHITE[1] * brain.wm) * np.exp(0.1 * volume) * (1 - 0.4 * signs.rim)
    # Flow falls from the edge of the area to the core.
    drop = np.interp(deep, [-0.4, 0, 1, 1.6], [0, 0.3, stroke.core_flow_drop, 0.9]) * (1 - 0.2 * spare)
    # Vessels dilate in the penumbra and collapse in the core.
    pool = np.interp(deep, [-0.4, 0.1, 0.8, 1.1, 1.8], [1, 1.15, 1.05, stroke.core_cbv * 0.8, 0.35])
    late = np.interp(deep, [-1.6, -0.5, 0.1, 1, 1.6], [0, 2.2, 5.2, stroke.delay_s, stroke.delay_s + 1.5])
    late = late * np.exp(0.22 * detour)
    cbf = (cbf * (1 - drop) * (1 - 0.04 * signs.delay_s)) * (1 - signs.cavity) + _FLUID[0] * (1 - solid)
    cbv = cbv * pool * (1 + 0.03 * signs.delay_s) * (1 - signs.cavity) + _FLUID[1] * (1 - solid)
    # Posterior and border-zone tissue fills late in a healthy head too.
    border = np.exp(-((brain.periventricular - 0.4) ** 2) / 0.02)
    behind = 0.02 * np.clip(-35 - brain.atlas_mm[:, 1], 0, 60) + 0.6 * border
    delay = 0.6 + 0.7 * brain.wm + behind + 0.35 * timing + signs.delay_s + late + 1.2 * signs.hyper + 1.5 * signs.rim
    mtt = 60 * cbv / np.maximum(cbf, 3.0)  # central volume theorem
    cbf = cbf + 70 * brain.artery * (1 - drop) + 20 * brain.vein
    cbv = cbv + 7 * brain.artery + 9 * brain.vein
    arrival = float(rng.uniform(14, 22))
    ttp = arrival + 1.1 * delay + 0.45 * np.minimum(mtt, 20) + 2.5 * brain.vein
    weak = np.clip(12 / np.maximum(cbf, 4.0), 0.25, 1.6)  # timing is noisier where little contrast arrives
    move = float(rng.uniform(0.2, 0.6))
    raw = {
        "cbf": (cbf, 0.1 * cbf + 2),
        "cbv": (cbv, 0.1 * cbv + 0.15),
        "ttp": (ttp, 0.8 * weak),
        "tmax": (delay, 1.3 * weak),
    }
    return _measure(rng, brain, raw, move)


def _depths(area: Drawn, core: Drawn) -> tuple[np.ndarray, np.ndarray]:
    """Return the depth (n,), 0 at the edge of the area and 1 at the core's, and the sparing of core tissue."""
    width = max(float(np.quantile(area.field[core.region], 0.3)) - area.level, 0.25)
    deep = (area.field - area.level) / width
    dead = core.soft(0.08)
    return np.maximum(deep * (1 - dead) + dead * np.maximum(deep, 1.05), -3), np.clip(1 - dead, 0, 1)


def _measure(
    rng: np.random.Generator, brain: Brain, raw: dict[str, tuple[np.ndarray, np.ndarray]], misplaced_mm: float
) -> dict[str, np.ndarray]:
    seed = int(rng.integers(2**32))
    clean = {"blur_mm": _MAP_BLUR_MM, "snr": 1e6, "misplaced_mm": misplaced_mm, "gain": 1.0}
    # The same seed: maps are misplaced alike, and the edge is divided out.
    share = record(np.random.default_rng(seed), brain, np.ones_like(brain.gm), clean)
    sigma = [0.7 * b / brain.grid.spacing_mm[0] for b in _MAP_BLUR_MM]
    out = {}
    for name, (true, spread) in raw.items():
        value = record(np.random.default_rng(seed), brain, true.astype(np.float32), clean)
        noise = ndimage.gaussian_filter(rng.standard_normal(brain.box_shape, dtype=np.float32), sigma)
        noise = noise.ravel()[brain.index] / max(float(noise.std()), 1e-6)
        out[name] = np.maximum(value / np.maximum(share, 0.2) + noise * spread, 0).astype(np.float32)
    return out
