"""The stroke in a whole head: vessels that CT slabs leave out, and where the levels of the ischaemia lie."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from monai_isles.phantom.mri.brain import Brain, infratentorial
from monai_isles.phantom.mri.facts import MriKind
from monai_isles.phantom.ct.stroke import Ischaemia, Stroke, cut_at, draw_stroke, territories

_SPES_VESSELS = ("ica", "m1", "m2_superior", "m2_inferior")
_SMALLEST_PIECE_ML = 0.12


class BrainIschaemia(Ischaemia):
    """Order the voxels of a whole head by ischaemia, cerebellum and brainstem kept apart.

    Args:
        rng: the only source of randomness.
        stroke: see ``draw_mri_stroke``.
    """

    def membership(self, atlas_mm: np.ndarray) -> np.ndarray:
        """Return the share (n,) of each point that the occluded vessel feeds, on either side."""
        below = infratentorial(atlas_mm)
        if self.stroke.occlusion == "cerebellar":
            return below * np.clip((np.abs(atlas_mm[:, 0]) - 2) / 4, 0, 1)
        if self.stroke.occlusion == "perforator":
            return (1 - below) * territories(atlas_mm)["mca"]
        return super().membership(atlas_mm) * (1 - below)


def draw_mri_stroke(rng: np.random.Generator, *, lesion_ml: float, kind: MriKind) -> Stroke:
    """Draw an occlusion that suits the lesion volume; SPES patients have one of the middle cerebral artery.

    Units: ml.
    """
    stroke = draw_stroke(rng, lesion_ml=lesion_ml, level_mm=22.0, height_mm=32.0)
    while kind.name == "spes" and stroke.occlusion not in _SPES_VESSELS:
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
        return (1 / (1 + np.exp(-np.clip((self.field - self.level) / width, -30, 30)))).astype(np.float32)

    def ml(self, brain: Brain) -> float:
        """Return the volume in ml."""
        return float(np.count_nonzero(self.region) * brain.grid.voxel_ml)


def draw_region(brain: Brain, field: np.ndarray, volume_ml: float, *, smooth_mm: float = 1.2) -> Drawn:
    """Cut ``field`` (n,) as an expert outlines it: smooth, without crumbs and holes, about ``volume_ml`` large.

    Source: ours; ``tests/phantom/mri/test_stroke.py``.
    """
    tissue = brain.matter > 0.3
    shown = np.where(tissue, np.maximum(field + 1.2 * np.minimum(brain.matter - 0.75, 0), -12), -12) + 12
    sigma = smooth_mm / brain.grid.spacing_mm[0]
    smooth = ndimage.gaussian_filter(brain.spread(shown.astype(np.float32)), sigma).ravel()[brain.index] - 12
    smooth = np.where(tissue, smooth, -12).astype(np.float32)
    level = cut_at(smooth, max(volume_ml / brain.grid.voxel_ml, 2))
    return Drawn(smooth, level, _tidied(brain, smooth > level))


def _tidied(brain: Brain, region: np.ndarray) -> np.ndarray:
    volume = brain.spread(region)
    labels, count = ndimage.label(volume)
    if not count:
        return region
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    keep = sizes * brain.grid.voxel_ml >= _SMALLEST_PIECE_ML
    keep[1 + int(sizes[1:].argmax())] = True
    keep[0] = False
    volume = keep[labels]
    for level in np.flatnonzero(volume.any((0, 1))):
        volume[:, :, level] = ndimage.binary_fill_holes(volume[:, :, level])
    return volume.ravel()[brain.index]
