"""Model the stroke in a whole head: territories that CT slabs leave out, and the levels of the ischaemia."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from monai_isles.phantom.atlas import SmoothField
from monai_isles.phantom.ct.stroke import (
    Ischaemia,
    Stroke,
    avoid_sulci,
    draw_stroke,
    level_of_largest,
    soft_step,
    territories,
    without_specks,
)
from monai_isles.phantom.mri.brain import Brain, infratentorial
from monai_isles.phantom.mri.facts import MriKind


@dataclass(frozen=True)
class MriSigns:
    """Hold the chronic changes in each voxel; every array (n,) float32.

    Units: ``cavity`` (fluid), ``rim`` (gliosis) and ``hyper`` (white-matter hyperintensity) 0..1, ``delay_s`` s.
    """

    cavity: np.ndarray
    rim: np.ndarray
    hyper: np.ndarray
    delay_s: np.ndarray

    @property
    def old(self) -> np.ndarray:
        """Return the share (n,) taken by old infarcts, cavity and rim."""
        return np.maximum(self.cavity, self.rim)


class MriDistractors:
    """Draw the confounders of one subject."""

    def __init__(self, rng: np.random.Generator, *, side: float, kind: MriKind) -> None:
        self.infarcts = [_draw_infarct(rng) for _ in range(int(rng.choice(4, p=[0.45, 0.3, 0.17, 0.08])))]
        self.lacunes = [_draw_lacune(rng) for _ in range(int(rng.choice(5, p=[0.4, 0.25, 0.15, 0.12, 0.08])))]
        self.grade = float(rng.choice([0.15, 0.45, 0.75, 1.0], p=[0.3, 0.3, 0.25, 0.15]))
        # Only SPES has images that show a carotid stenosis.
        self.carotid = float(-side if rng.random() < (0.3 if kind.name == "spes" else 0.0) else 0.0)
        self.carotid_delay_s = float(rng.uniform(1.5, 4.0))
        self._rough, self._foci, self._patches = (SmoothField(rng, scale) for scale in (5.0, 2.2, 7.0))

    def names(self) -> list[str]:
        """Return the names of the distractors this subject has."""
        flags = {
            "old_infarct": bool(self.infarcts),
            "lacune": bool(self.lacunes),
            "white_matter_disease": self.grade > 0.3,
            "carotid_stenosis": self.carotid != 0,
        }
        return [name for name, present in flags.items() if present]

    def signs(self, brain: Brain) -> MriSigns:
        """Return the effects of the distractors on each voxel of ``brain``."""
        cavity, rim = np.zeros_like(brain.gm), np.zeros_like(brain.gm)
        rough = 0.26 * self._rough.at(brain.head_mm)
        for centre, radius, hollow in [*self.infarcts, *self.lacunes]:
            apart = (brain.atlas_mm - centre) / np.array([1, 1.25, 1.05], np.float32)
            # Distance in radii, with a ragged border.
            reach = np.linalg.norm(apart, axis=1) / radius + rough * min(1.0, radius / 8)
            edge = 1.5 / radius
            inner = np.clip((hollow - reach) / edge + 0.5, 0, 1) if hollow else np.zeros_like(reach)
            cavity = np.maximum(cavity, inner)
            rim = np.maximum(rim, np.clip((1 - reach) / edge + 0.5, 0, 1))
        narrowed = 0.0
        if self.carotid:
            parts = territories(brain.atlas_mm)
            # A carotid stenosis delays the anterior and middle territories of its side.
            narrowed = (parts["mca"] + parts["aca"]) * np.clip(0.5 + self.carotid * brain.atlas_mm[:, 0] / 6, 0, 1)
            narrowed = narrowed * np.clip(0.8 + 0.35 * self._patches.at(brain.head_mm), 0, 1.5)
        return MriSigns(
            cavity=(cavity * (brain.depth > 0)).astype(np.float32),
            rim=(np.clip(rim - cavity, 0, 1) * brain.matter).astype(np.float32),
            hyper=self._white_matter(brain),
            delay_s=(self.carotid_delay_s * narrowed * np.ones_like(brain.gm)).astype(np.float32),
        )

    def _white_matter(self, brain: Brain) -> np.ndarray:
        above = np.clip((brain.atlas_mm[:, 2] - 2) / 6, 0, 1)
        patches = self._patches.at(brain.head_mm)
        # Caps around the ventricles grow with the grade (Fazekas).
        caps = np.clip((brain.periventricular * (0.55 + 0.9 * self.grade) + 0.12 * patches - 0.45) * 2.2, 0, 1)
        cut = 3.1 - 0.9 * self.grade
        foci = np.clip((self._foci.at(brain.head_mm) + 0.25 * patches - cut) * 2, 0, 1) * (brain.depth > 9)
        white = np.clip((brain.wm - 0.45) * 2.5, 0, 1)
        return (np.maximum(caps, foci * min(1.0, 2 * self.grade)) * white * above).astype(np.float32)


def _draw_infarct(rng: np.random.Generator) -> tuple[np.ndarray, float, float]:
    side = rng.choice([-1.0, 1.0])
    if rng.random() < 0.15:
        centre = [side * rng.uniform(15, 38), rng.uniform(-75, -50), rng.uniform(-45, -25)]
    else:
        angle = rng.uniform(-1.2, 1.5)
        out = rng.uniform(0.6, 0.95)
        centre = [side * 64 * np.cos(angle) * out, -14 + 82 * np.sin(angle) * out, rng.uniform(-5, 52)]
    radius = float(np.clip(np.exp(rng.normal(2.3, 0.4)), 5, 24))
    hollow = float(rng.uniform(0.45, 0.8) if rng.random() < 0.75 or radius > 9 else 0.0)
    return np.array(centre, np.float32), radius, hollow


def _draw_lacune(rng: np.random.Generator) -> tuple[np.ndarray, float, float]:
    centre = [rng.choice([-1.0, 1.0]) * rng.uniform(12, 32), rng.uniform(-25, 20), rng.uniform(2, 34)]
    return np.array(centre, np.float32), float(rng.uniform(2.5, 4.5)), float(rng.uniform(0.4, 0.75))


class BrainIschaemia(Ischaemia):
    """Order the voxels of a whole head by ischaemia, with cerebellum and brainstem separate."""

    def membership(self, atlas_mm: np.ndarray) -> np.ndarray:
        """Return the share (n,) of each point supplied by the occluded vessel, on either side."""
        below = infratentorial(atlas_mm)
        if self.stroke.occlusion == "cerebellar":
            return below * np.clip((np.abs(atlas_mm[:, 0]) - 2) / 4, 0, 1)
        if self.stroke.occlusion == "perforator":
            return (1 - below) * territories(atlas_mm)["mca"]
        return super().membership(atlas_mm) * (1 - below)


def draw_mri_stroke(rng: np.random.Generator, *, lesion_ml: float, kind: MriKind) -> Stroke:
    """Draw an occlusion for the lesion volume; SPES patients have one of the middle cerebral artery."""
    stroke = draw_stroke(rng, lesion_ml=lesion_ml, level_mm=22.0, height_mm=32.0)
    # SPES enrolled occlusions of the middle cerebral artery only.
    while kind.name == "spes" and stroke.occlusion not in ("ica", "m1", "m2_superior", "m2_inferior"):
        stroke = draw_stroke(rng, lesion_ml=lesion_ml, level_mm=22.0, height_mm=32.0)
    if kind.name == "spes":
        return replace(stroke, reopened=0.0)
    if lesion_ml < 45 and rng.random() < 0.12:
        centre = np.array([stroke.side * rng.uniform(16, 34), rng.uniform(-74, -52), rng.uniform(-46, -24)])
        return replace(stroke, occlusion="cerebellar", centre_mm=centre)
    if lesion_ml < 5 and rng.random() < 0.4:
        centre = np.array([stroke.side * rng.uniform(20, 30), rng.uniform(-22, 12), rng.uniform(8, 30)])
        return replace(stroke, occlusion="perforator", centre_mm=centre)
    return stroke


@dataclass(frozen=True)
class Drawn:
    """Hold one ischaemic region: a smooth field (n,) that orders its voxels, the level that cuts it, the region."""

    field: np.ndarray
    level: float
    region: np.ndarray

    def soft(self, width: float) -> np.ndarray:
        """Return the region (n,) with an edge ``width`` units of the field wide, 0..1."""
        return soft_step((self.field - self.level) / width).astype(np.float32)

    def ml(self, brain: Brain) -> float:
        """Return the volume in ml."""
        return float(np.count_nonzero(self.region) * brain.grid.voxel_ml)


def draw_region(brain: Brain, field: np.ndarray, volume_ml: float, *, smooth_mm: float = 1.2) -> Drawn:
    """Threshold ``field`` (n,) like an expert's outline: smooth, without tiny parts and holes, about ``volume_ml``."""
    shown = brain.fill(avoid_sulci(field, brain.matter).astype(np.float32))
    sigma = smooth_mm / brain.grid.spacing_mm[0]
    smooth = ndimage.gaussian_filter(shown, sigma).ravel()[brain.index] - 12
    smooth = np.where(brain.matter > 0.3, smooth, -12).astype(np.float32)
    level = level_of_largest(smooth, max(volume_ml / brain.grid.voxel_ml, 2))
    region = smooth > level
    if region.any():
        volume = without_specks(brain.fill(region), brain.grid.voxel_ml)
        for z in np.flatnonzero(volume.any((0, 1))):
            volume[:, :, z] = ndimage.binary_fill_holes(volume[:, :, z])
        region = volume.ravel()[brain.index]
    return Drawn(smooth, level, region)
