"""What MRI shows besides the stroke: old infarcts with a cavity and a rim, lacunes, white-matter disease, stenosis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monai_isles.phantom.fields import SmoothField
from monai_isles.phantom.mri.brain import Brain
from monai_isles.phantom.mri.facts import MriKind
from monai_isles.phantom.ct.stroke import territories


@dataclass(frozen=True)
class MriSigns:
    """Hold what is old or chronic in each voxel; every array (n,) float32.

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
    """Draw the confounders of one subject.

    Args:
        rng: the only source of randomness.
        side: side of the stroke, -1 left, +1 right.
        kind: only SPES has images that a narrowed carotid shows on.
    """

    def __init__(self, rng: np.random.Generator, *, side: float, kind: MriKind) -> None:
        siss = kind.name == "siss"
        self.infarcts = [_draw_infarct(rng) for _ in range(int(rng.choice(4, p=[0.45, 0.3, 0.17, 0.08])))]
        self.lacunes = [_draw_lacune(rng) for _ in range(int(rng.choice(5, p=[0.4, 0.25, 0.15, 0.12, 0.08])))]
        self.grade = float(rng.choice([0.15, 0.45, 0.75, 1.0], p=[0.3, 0.3, 0.25, 0.15]))
        self.carotid = float(-side if rng.random() < (0.0 if siss else 0.3) else 0.0)
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
        return [name for name, there in flags.items() if there]

    def signs(self, brain: Brain) -> MriSigns:
        """Return what the distractors do to each voxel of ``brain``."""
        cavity, rim = np.zeros_like(brain.gm), np.zeros_like(brain.gm)
        rough = 0.26 * self._rough.at(brain.head_mm)
        for centre, radius, hollow in [*self.infarcts, *self.lacunes]:
            apart = (brain.atlas_mm - centre) / np.array([1, 1.25, 1.05], np.float32)
            reach = np.linalg.norm(apart, axis=1) / radius + rough * min(1.0, radius / 8)
            edge = 1.5 / radius
            inner = np.clip((hollow - reach) / edge + 0.5, 0, 1) if hollow else np.zeros_like(reach)
            cavity = np.maximum(cavity, inner)
            rim = np.maximum(rim, np.clip((1 - reach) / edge + 0.5, 0, 1))
        narrowed = 0.0
        if self.carotid:
            parts = territories(brain.atlas_mm)
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
