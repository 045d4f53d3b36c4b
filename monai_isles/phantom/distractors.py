"""What is not the stroke but looks like it: old infarcts, white-matter disease, a narrowed carotid, streaks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monai_isles.phantom.fields import SmoothField
from monai_isles.phantom.ct.stroke import territories


@dataclass(frozen=True)
class Signs:
    """Hold what the distractors do to voxels; every array (n,) float32.

    Units: ``flow`` and ``volume`` factors, ``delay_s`` s, ``hu`` HU, ``scar`` and ``rarefied`` 0..1.
    """

    flow: np.ndarray
    volume: np.ndarray
    delay_s: np.ndarray
    hu: np.ndarray
    scar: np.ndarray
    rarefied: np.ndarray


class Distractors:
    """Draw the confounders of one subject.

    Args:
        rng: the only source of randomness.
        side: side of the stroke, -1 left, +1 right.
        level_mm: MNI height near which old lesions lie.
    """

    def __init__(self, rng: np.random.Generator, *, side: float, level_mm: float) -> None:
        self.scars = [
            (
                np.array(
                    [rng.choice([-1, 1]) * rng.uniform(12, 52), rng.uniform(-70, 40), level_mm + rng.normal(0, 9)],
                    np.float32,
                ),
                float(rng.uniform(4, 15)),
            )
            for _ in range(int(rng.choice([0, 1, 2], p=[0.65, 0.25, 0.1])))
        ]
        self.white_matter = float(rng.uniform(0.3, 1.0) if rng.random() < 0.5 else 0.0)
        self.carotid = float(rng.choice([-side, -side, side]) if rng.random() < 0.15 else 0.0)
        self.carotid_delay_s = float(rng.uniform(1.2, 3.0))
        self.streak = bool(rng.random() < 0.2)
        self.streak_side = float(rng.choice([-1.0, 1.0]))
        self._patches = SmoothField(rng, 6.0)

    def names(self) -> list[str]:
        """Return the names of the distractors this subject has."""
        flags = {
            "old_infarct": bool(self.scars),
            "leukoaraiosis": self.white_matter > 0,
            "carotid_stenosis": self.carotid != 0,
            "streak": self.streak,
        }
        return [name for name, there in flags.items() if there]

    def signs(self, head_mm: np.ndarray, atlas_mm: np.ndarray, wm: np.ndarray) -> Signs:
        """Return what the distractors do at points (n, 3) with white-matter fraction ``wm`` (n,)."""
        scar = np.zeros(len(atlas_mm), np.float32)
        for centre, radius in self.scars:
            rough = np.linalg.norm(
                (atlas_mm - centre) / np.array([1, 1.2, 1], np.float32), axis=1
            ) + 1.5 * self._patches.at(head_mm)
            scar = np.maximum(scar, np.clip((radius - rough) / 3 + 0.5, 0, 1))
        around = np.abs(atlas_mm) - np.array([24.0, 0.0, 0.0], np.float32)
        around[:, 1] = np.abs(atlas_mm[:, 1] + 8)
        around[:, 2] = atlas_mm[:, 2] - 24
        periventricular = np.clip(1.6 - np.linalg.norm(around / np.array([13, 45, 18], np.float32), axis=1), 0, 1)
        rarefied = self.white_matter * wm * np.clip(periventricular * (0.8 + 0.5 * self._patches.at(head_mm)), 0, 1)
        parts = territories(atlas_mm)
        narrowed = (
            (parts["mca"] + parts["aca"]) * np.clip(0.5 + self.carotid * atlas_mm[:, 0] / 4, 0, 1) * abs(self.carotid)
        )
        return Signs(
            flow=(1 - 0.85 * scar) * (1 - 0.45 * rarefied) * (1 - 0.12 * narrowed),
            volume=(1 - 0.75 * scar) * (1 - 0.25 * rarefied) * (1 + 0.1 * narrowed),
            delay_s=1.5 * scar + 1.4 * rarefied + self.carotid_delay_s * narrowed,
            hu=-14.0 * scar - 5.0 * rarefied,
            scar=scar,
            rarefied=rarefied,
        )
