"""Simulate the scan of one slab: non-contrast CT, contrast series, the maps measured on it, and the later DWI."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import numpy as np
from scipy import ndimage

from monai_isles.perfusion.maps import PerfusionMaps, measured_maps
from monai_isles.perfusion.masks import tissue_mask
from monai_isles.perfusion.prepared import prepare_series
from monai_isles.phantom.atlas import SmoothField
from monai_isles.phantom.ct.anatomy import brain_of, landmark_pairs, static_hu
from monai_isles.phantom.ct.kinetics import (
    RESIDUES,
    TissueCurves,
    draw_bolus,
    drift,
    scanner_noise,
    shift_image,
    streak,
)
from monai_isles.phantom.ct.stroke import soft_step
from monai_isles.phantom.ct.subject import Patient, Slab
from monai_isles.phantom.ct.variety import NONE, change_static, dress_maps, field_of_view, pad_ct, sharpen

_GREY, _WHITE = (57.0, 4.0), (23.0, 2.0)


@dataclass
class CaseArrays:
    """Hold one scan in the form in which it is written.

    Shapes: images and ``label`` (H, W, D) RAS+, ``ctp`` (T, H, W, D) int16, without frames for MRI.
    Units: ``ct`` and ``ctp`` HU, ``cbf`` ml/100 g/min, ``cbv`` ml/100 g, ``mtt``, ``tmax``, ``ttp``, ``dt_s`` s, other
        images none; their middle lies ``centre_mm`` to the right and to the front of the table's axis.
    """

    images: dict[str, np.ndarray]
    ctp: np.ndarray
    label: np.ndarray
    spacing_mm: tuple[float, float, float]
    dt_s: float
    truth: dict[str, object] = field(default_factory=dict)
    centre_mm: tuple[float, float] = (0.0, 0.0)


def scan_slab(patient: Patient, section: int, *, seed: int) -> CaseArrays:
    """Simulate scan ``section`` of ``patient``: its images and their truth."""
    scan, varied = Acquisition(patient, section, seed=seed), patient.variety
    slab, label = scan.slab, patient.lesion(scan.slab)
    series = scan.series()
    measured = dress_maps(_measure(patient, slab, series), varied)
    ct = scan.plain_ct()
    images = {"ct": pad_ct(ct, varied), **measured, "dwi": scan.dwi()}
    box = field_of_view(ct, varied, slab.grid.spacing_mm[0])
    first, middle = np.array([side.start for side in box]), slab.grid.middle()[:2]
    last = np.array([side.stop for side in box]) - 1
    off_mm = ((first + last) / 2 - middle) * slab.grid.spacing_mm[0]
    truth = scan.truth(label[box])
    truth["landmarks_vox"] = np.round(landmark_pairs(slab.pose, slab.grid) - [*first, 0], 4).tolist()
    return CaseArrays(
        images={name: image[box] for name, image in images.items()},
        ctp=series[(slice(None), *box)],
        label=label[box],
        spacing_mm=slab.grid.spacing_mm,
        dt_s=patient.protocol.dt_s,
        truth=truth | {"maps": varied.method, "variety": varied.facts()},
        centre_mm=(float(off_mm[0]), float(off_mm[1])),
    )


def _measure(patient: Patient, slab: Slab, series: np.ndarray) -> PerfusionMaps:
    """Measure the series like the patient's software; for an open skull the true brain is passed."""
    varied, spacing_mm, mask = patient.variety, slab.grid.spacing_mm, None
    if varied.mode != NONE:
        true = brain_of(slab.tissues)
        result = tissue_mask(series[:3].mean(0, dtype=np.float32), spacing_mm)
        mask = None if np.count_nonzero(result & true) >= 0.7 * true.sum() else true
    prepared = prepare_series(series, dt_s=patient.protocol.dt_s, spacing_mm=spacing_mm, mask=mask)
    return measured_maps(prepared, method=varied.method, truncation=varied.setting, smoothing_mm=varied.smoothing_mm)


class Acquisition:
    """Scan one slab: the bolus, the residue function ``kind``, noise and movement are drawn first, then image by image.

    Shapes: ``static``, the CT before contrast without noise, (H, W, D); ``path_px`` (T, 2).  Units: HU, voxels.
    """

    def __init__(self, patient: Patient, section: int, *, seed: int) -> None:
        self.patient, self.slab = patient, patient.slabs[section]
        self._perfuse(seed)
        self.rng = rng = np.random.default_rng([seed, 9, patient.index, section])
        slab, tissues, protocol = self.slab, self.slab.tissues, patient.protocol
        static = static_hu(tissues) + tissues.fill(slab.signs.hu) * (tissues.gm + tissues.wm)
        if patient.distractors.streak:
            static = static + tissues.fill(streak(rng, tissues.head_mm, patient.distractors.streak_side))
        worst = (slab.depth > patient.core_level) & slab.solid  # bleeding occurs in the core
        bleeding = np.random.default_rng([seed, 16, patient.index])
        static = static + change_static(patient.variety, tissues, worst, bleeding)
        self.static = sharpen(static, patient.variety.reconstruction, slab.grid.spacing_mm[0])
        self.kind = str(np.random.default_rng([seed, 11, patient.index]).choice(RESIDUES, p=[0.35, 0.2, 0.45]))
        self.bolus = draw_bolus(rng, duration_s=float((protocol.frames - 1) * protocol.dt_s))
        self.sd_hu = patient.variety.noise * rng.uniform(4.0, 6.5) * np.sqrt(10.0 / protocol.spacing_mm[2]) ** 0.5
        self.path_px = drift(rng, protocol.frames, rng.uniform(0.1, 0.7))

    def _perfuse(self, seed: int) -> None:
        """Set the true perfusion of each voxel (n,) in ml/100 g/min, ml/100 g, s and s, and the share of flow lost."""
        patient, tissues, signs, stroke = self.patient, self.slab.tissues, self.slab.signs, self.patient.stroke
        rng = np.random.default_rng([seed, 10, patient.index])
        gm, wm = (part.ravel()[tissues.inside] for part in (tissues.gm, tissues.wm))
        scales_mm = (6.0, 10.0, 6.0, 8.0)
        texture, timing, volume, detour = (SmoothField(rng, scale).at(tissues.head_mm) for scale in scales_mm)
        health = rng.uniform(0.8, 1.15)
        cbf = health * (_GREY[0] * gm + _WHITE[0] * wm) * np.exp(0.18 * texture) * signs.flow
        cbv = (_GREY[1] * gm + _WHITE[1] * wm) * np.exp(0.10 * volume + 0.05 * texture) * signs.volume
        delay = 0.3 + 0.5 * wm + 0.012 * np.clip(-30 - tissues.atlas_mm[:, 1], 0, 60) + 0.25 * timing + signs.delay_s
        width = max(patient.core_level - patient.penumbra_level, 0.15)
        worst = max(patient.worst_level, patient.core_level + 0.1)
        nodes = np.array([patient.penumbra_level - 0.5 * width, patient.penumbra_level, patient.core_level, worst])
        effect = 1.0 - stroke.reopened
        depth = self.slab.depth + 0.08 * texture
        # Depth in the ischaemia to loss of flow: none outside, 28 % at the penumbra's edge, more in the core.
        drop = effect * np.interp(depth, nodes, [0.0, 0.28, stroke.core_flow_drop, 0.92])
        # Blood that comes by detours is late before it is missing.
        late = effect * np.interp(depth, nodes, [0.0, 5.0, stroke.delay_s, stroke.delay_s]) * np.exp(0.35 * detour)
        pool = 1 + effect * (np.interp(depth, nodes, [1.0, 1.12, stroke.core_cbv, 0.3]) - 1)
        self.cbf, self.cbv, self.drop = cbf * (1 - drop), cbv * pool, drop
        self.mtt_s = 60 * self.cbv / np.maximum(self.cbf, 0.5)
        self.delay_s = np.clip(delay + late, 0, None)

    def series(self) -> np.ndarray:
        """Return the contrast series (T, H, W, D) int16."""
        protocol, tissues = self.patient.protocol, self.slab.tissues
        curves = TissueCurves(self.bolus, self.kind, np.arange(protocol.frames) * protocol.dt_s)
        artery, vein = (part.ravel()[tissues.inside] for part in (tissues.artery, tissues.vein))
        rise = curves.tissue(self.cbf, self.mtt_s, self.delay_s)
        late = np.clip(self.delay_s - 2.5, 0, None)
        # Vessels behind the occlusion fill late and less.
        rise += curves.vessel(artery * (1 - 0.6 * self.drop), late) + curves.vessel(vein, np.full(vein.shape, 5.5))
        series = np.empty((protocol.frames, *self.slab.grid.shape), np.int16)
        for t in range(protocol.frames):
            frame = shift_image(self.static + tissues.fill(rise[:, t]), self.path_px[t])
            series[t] = self._record(frame, self.sd_hu)
        return series

    def _record(self, image: np.ndarray, sd_hu: float) -> np.ndarray:
        """Return the HU (H, W, D) int16 that the scanner records of a noiseless image."""
        (h, w, d), spacing_mm = self.slab.grid.shape, self.slab.grid.spacing_mm[0]
        cutoff_per_mm = self.patient.variety.reconstruction.cutoff_per_mm
        noise = scanner_noise(self.rng, (d, h, w), sd_hu, spacing_mm, cutoff_per_mm).transpose(1, 2, 0)
        return np.rint(np.clip(image + noise, -1024, 3071)).astype(np.int16)

    def plain_ct(self) -> np.ndarray:
        """Return the plain CT (H, W, D) int16."""
        tissues, stroke = self.slab.tissues, self.patient.stroke
        # Water uptake lowers the CT by about half a HU an hour, where flow is lost for good.
        oedema = (0.5 + 0.45 * stroke.onset_h) * np.clip((self.drop - 0.35) / 0.5, 0, 1) * (1 - 0.5 * stroke.reopened)
        early = tissues.fill(oedema.astype(np.float32)) * (tissues.gm + tissues.wm)
        return self._record(self.static - early, self.rng.uniform(1.8, 3.0) * self.patient.variety.noise)

    def dwi(self) -> np.ndarray:
        """Return the later DWI (H, W, D) int16."""
        tissues, signs, rng = self.slab.tissues, self.slab.signs, self.rng
        level = self.patient.lesion_level if self.patient.variety.lesion else np.inf
        bright = soft_step((self.slab.later - level) / 0.06)
        base = 125.0 * tissues.gm + 100.0 * tissues.wm + 35.0 * tissues.csf + 8.0 * tissues.scalp
        base = base - 70.0 * tissues.fill(signs.scar) * (tissues.gm + tissues.wm) + 12.0 * tissues.fill(signs.rarefied)
        signal = base + rng.uniform(90, 160) * bright * (tissues.gm + tissues.wm)
        sigma = 1.0 / self.slab.grid.spacing_mm[0]
        signal = ndimage.gaussian_filter(signal, (sigma, sigma, 0))
        signal = ndimage.shift(signal, (*rng.normal(0, 0.4, 2), 0), order=1)
        # Magnitude images: Rician noise.
        noise = rng.normal(0, rng.uniform(4, 8), (2, *signal.shape))
        return np.rint(np.hypot(signal + noise[0], noise[1])).astype(np.int16)

    def truth(self, label: np.ndarray) -> dict[str, object]:
        """Return the facts about the scan, whose lesion in the field of view is ``label``."""
        patient, slab = self.patient, self.slab
        stroke, has_lesion = patient.stroke, patient.variety.lesion
        return asdict(slab.pose) | {
            "side": stroke.side_name if has_lesion else "none",
            "occlusion": stroke.occlusion if has_lesion else "none",
            "onset_h": stroke.onset_h,
            "reopened": stroke.reopened,
            "residue": self.kind,
            "core_delay_s": stroke.delay_s,
            "core_flow_drop": stroke.core_flow_drop,
            "core_ml": patient.region_ml(slab, patient.core_level),
            "penumbra_ml": patient.region_ml(slab, patient.penumbra_level),
            "lesion_ml": float(np.count_nonzero(label) * slab.grid.voxel_ml),
            "distractors": patient.distractors.names(),
            "spacing_mm": list(slab.grid.spacing_mm),
            "dt_s": patient.protocol.dt_s,
            "frames": patient.protocol.frames,
        }
