"""One subject with a stroke: the head, the slabs that are scanned, and the ischaemia on every voxel of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from monai_isles.phantom.ct.anatomy import SIZE_VOX, Grid, Pose, Subject, Tissues, landmark_pairs, tissues_of
from monai_isles.phantom.distractors import Distractors, Signs
from monai_isles.phantom.ct.facts import Protocol, protocol_of
from monai_isles.phantom.ct.stroke import Ischaemia, Stroke, cut_at, draw_stroke, territories

_SMALLEST_PIECE_ML, _SMALLEST_LESION_ML = 0.12, 1.0


@dataclass
class Slab:
    """Hold one scan of the subject before anything is measured.

    Shapes: volumes (H, W, D); ``depth`` and the arrays of ``signs`` (n,) on ``tissues.inside``.
    """

    grid: Grid
    pose: Pose
    tissues: Tissues
    signs: Signs
    landmarks: np.ndarray
    depth: np.ndarray
    later: np.ndarray
    territory: np.ndarray

    @property
    def solid(self) -> np.ndarray:
        """Return where brain tissue lies (n,) bool, fluid left out."""
        t = self.tissues
        return (t.gm + t.wm).ravel()[t.inside] > 0.5


@dataclass
class Patient:
    """Hold one subject, the stroke, and its slabs with common levels of the ischaemia.

    Units: ``core_level``, ``penumbra_level``, ``worst_level`` cut ``Slab.depth``, ``lesion_level`` cuts ``Slab.later``.
    """

    index: int
    protocol: Protocol
    stroke: Stroke
    distractors: Distractors
    slabs: list[Slab]
    core_level: float
    penumbra_level: float
    worst_level: float
    lesion_level: float

    def lesion(self, slab: Slab) -> np.ndarray:
        """Return the lesion (H, W, D) bool as an expert draws it on the later DWI, small crumbs left out."""
        lesion = slab.later > self.lesion_level
        labels, count = ndimage.label(lesion)
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        keep = sizes * slab.grid.voxel_ml >= _SMALLEST_PIECE_ML
        keep[1 + int(sizes[1:].argmax())] = True
        keep[0] = False
        return keep[labels]

    def region_ml(self, slab: Slab, level: float) -> float:
        """Return the volume in ml of tissue deeper than ``level`` at the time of the scan."""
        return float(np.count_nonzero((slab.depth > level) & slab.solid) * slab.grid.voxel_ml)


def make_patient(index: int, *, seed: int, protocol: Protocol | None = None) -> Patient:
    """Draw subject ``index`` of the data set ``seed``; nothing else decides what comes out.

    Source: ours; ``tests/phantom/test_subject.py``.
    """
    protocol = protocol or protocol_of(index, seed=seed)
    rng = np.random.default_rng([seed, 5, index])
    subject = Subject(np.random.default_rng([seed, 6, index]))
    height = protocol.slices * protocol.spacing_mm[2] / 2
    level = float(rng.uniform(8, 32) if protocol.slices <= 4 else rng.uniform(12, 24))
    stroke = draw_stroke(
        rng, lesion_ml=protocol.lesion_ml * protocol.slabs, level_mm=level, height_mm=height / protocol.slabs
    )
    ischaemia = Ischaemia(np.random.default_rng([seed, 7, index]), stroke)
    distractors = Distractors(np.random.default_rng([seed, 8, index]), side=stroke.side, level_mm=level)
    pose = _draw_pose(rng, protocol.spacing_mm[0])
    places = (np.arange(protocol.slabs) - (protocol.slabs - 1) / 2) * 2 * height / float(subject.scale[2]) + level
    slabs = [
        _slab(subject, ischaemia, distractors, protocol, Pose(pose.tilt_deg, pose.shift_px, pose.roll_deg, float(z)))
        for z in places
    ]
    return Patient(index, protocol, stroke, distractors, slabs, *_levels(stroke, slabs))


def _draw_pose(rng: np.random.Generator, spacing_mm: float) -> Pose:
    tilt = float(np.clip(rng.normal(0, 6.5), -15, 15))
    room = np.clip([20.0, (SIZE_VOX * spacing_mm - 184) / 2 / spacing_mm], 4, 20)
    shift = np.clip(rng.normal(0, 8, 2), -room, room)
    return Pose(tilt, (float(shift[0]), float(shift[1])), float(np.clip(rng.normal(0, 1.3), -3.5, 3.5)), 0.0)


def _slab(subject: Subject, ischaemia: Ischaemia, distractors: Distractors, protocol: Protocol, pose: Pose) -> Slab:
    grid = Grid((SIZE_VOX, SIZE_VOX, protocol.slices), protocol.spacing_mm)
    tissues = tissues_of(subject, pose, grid)
    signs = distractors.signs(tissues.head_mm, tissues.atlas_mm, tissues.wm.ravel()[tissues.inside])
    depth = ischaemia.depth(tissues.head_mm, tissues.atlas_mm) - 2.0 * signs.scar
    later = ischaemia.later_depth(tissues.head_mm, tissues.atlas_mm, depth)
    matter = (tissues.gm + tissues.wm).ravel()[tissues.inside]
    drawn = tissues.spread(
        np.where(matter > 0.3, np.maximum(later + 1.2 * np.minimum(matter - 0.75, 0), -12), -12) + 12
    )
    sigma = 1.2 / protocol.spacing_mm[0]
    drawn = ndimage.gaussian_filter(drawn, (sigma, sigma, 0)) - 12
    drawn[(tissues.gm + tissues.wm) < 0.3] = -12
    parts = territories(tissues.atlas_mm)
    touched = (parts["mca"] if ischaemia.stroke.occlusion[0] in "im" else parts[ischaemia.stroke.occlusion]) > 0.5
    return Slab(
        grid,
        pose,
        tissues,
        signs,
        landmark_pairs(subject, pose, grid),
        depth,
        drawn.astype(np.float32),
        touched & (ischaemia.stroke.side * tissues.atlas_mm[:, 0] > 0),
    )


def _levels(stroke: Stroke, slabs: list[Slab]) -> tuple[float, float, float, float]:
    voxel_ml = slabs[0].grid.voxel_ml
    depth = np.concatenate([s.depth[s.solid] for s in slabs])
    territory_ml = sum(np.count_nonzero(s.territory & s.solid) for s in slabs) * voxel_ml
    core_ml = min(stroke.core_ml, 0.8 * territory_ml)
    penumbra_ml = min(
        core_ml * stroke.penumbra_ratio + stroke.penumbra_share * territory_ml, max(1.05 * territory_ml, 1.3 * core_ml)
    )
    later = np.stack([s.later for s in slabs])
    enough = [cut_at(s.later, _SMALLEST_LESION_ML / voxel_ml) for s in slabs] if len(slabs) > 1 else []
    return (
        cut_at(depth, core_ml / voxel_ml),
        cut_at(depth, penumbra_ml / voxel_ml),
        cut_at(depth, max(core_ml / voxel_ml / 50, 3)),
        min([cut_at(later, stroke.lesion_ml / voxel_ml), *enough]),
    )
