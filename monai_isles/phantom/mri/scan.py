"""Simulate one MRI case: draw the subject, cut the regions, and record the images of its task."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from monai_isles.phantom.ct.anatomy import CENTRE_MM, Grid, Pose, Subject, mirrored_pairs
from monai_isles.phantom.ct.scan import CaseArrays
from monai_isles.phantom.ct.stroke import Stroke, fed_by
from monai_isles.phantom.mri.brain import Brain, brain_of
from monai_isles.phantom.mri.facts import MriKind, volume_of
from monai_isles.phantom.mri.siss import draw_sub_acute, siss_images
from monai_isles.phantom.mri.spes import spes_images
from monai_isles.phantom.mri.stroke import BrainIschaemia, Drawn, MriDistractors, MriSigns, draw_mri_stroke, draw_region


def draw_pose(rng: np.random.Generator, kind: MriKind, spacing_mm: float) -> Pose:
    """Draw tilt, roll, pitch and shift within the field of view; in mm they do not depend on the spacing."""
    room = kind.room_mm
    shift_mm = np.clip(rng.normal(0, 0.5 * room, 2), -room, room)
    return Pose(
        tilt_deg=float(np.clip(rng.normal(0, 4.5), -10, 10)),
        shift_px=(float(shift_mm[0] / spacing_mm), float(shift_mm[1] / spacing_mm)),
        roll_deg=float(np.clip(rng.normal(0, 2.0), -4, 4)),
        level_mm=float(np.clip(rng.normal(7, 1.5), 4, 10)),
        pitch_deg=float(np.clip(rng.normal(0, 2.5), -5, 5)),
    )


def head_landmarks(subject: Subject, pose: Pose, grid: Grid) -> np.ndarray:
    """Return pairs (L, 2, 3), left first, of voxels mirrored across the subject's mid-sagittal plane."""
    x, y, z = np.meshgrid([18.0, 34.0, 50.0], [-65.0, -35.0, -10.0, 15.0, 40.0], [-10.0, 8.0, 26.0, 44.0])
    # Keep landmarks within an ellipsoid, away from the skull.
    inside = (x / 58) ** 2 + ((y - CENTRE_MM[1]) / 72) ** 2 + ((z - 15) / 60) ** 2 < 1
    right = np.stack([x, y, z], -1)[inside]
    return mirrored_pairs(right - CENTRE_MM - np.array([0, 0, pose.level_mm * float(subject.scale[2])]), pose, grid)


def scan_mri(kind: MriKind, index: int, *, seed: int, spacing_mm: float | None = None) -> CaseArrays:
    """Simulate subject ``index`` of the MRI data set ``seed``; the subject is the same at every spacing."""
    shape, spacing = kind.grid(spacing_mm)
    grid = Grid(shape, (spacing, spacing, spacing))
    # Separate streams: a new draw in one step leaves the others as they were.
    draws = [np.random.default_rng([seed, kind.stream + k, index]) for k in range(6)]
    subject = Subject(draws[0])
    pose = draw_pose(draws[1], kind, spacing)
    stroke = draw_mri_stroke(draws[1], lesion_ml=volume_of(kind, index, seed=seed), kind=kind)
    ischaemia = BrainIschaemia(draws[2], stroke)
    distractors = MriDistractors(draws[3], side=stroke.side, kind=kind)
    brain = brain_of(draws[4], subject, pose, grid)
    signs = distractors.signs(brain)
    depth = ischaemia.depth(brain.head_mm, brain.atlas_mm) - 2.0 * signs.old  # old infarcts cannot be ischaemic again
    # The infarct on later images: growth less what reperfusion saved.
    later = ischaemia.later_depth(brain.head_mm, brain.atlas_mm, depth)
    make = _siss if kind.name == "siss" else _spes
    images, label, facts = make(draws[5], brain, signs, stroke, depth, later)
    truth = asdict(pose) | facts | {"side": stroke.side_name, "occlusion": stroke.occlusion}
    truth |= {"distractors": distractors.names(), "spacing_mm": [spacing] * 3}
    truth["landmarks_vox"] = np.round(head_landmarks(subject, pose, grid), 4).tolist()
    whole = {name: brain.whole(_round_to_file(image, name)) for name, image in images.items()}
    return CaseArrays(whole, np.zeros((0, *shape), np.int16), brain.whole(label), grid.spacing_mm, 0.0, truth)


def _round_to_file(values: np.ndarray, name: str) -> np.ndarray:
    if name in {"cbf", "cbv", "ttp", "tmax"}:
        return np.round(values, 3).astype(np.float32)
    return np.clip(np.rint(values), 1, 32767).astype(np.int16)


def _siss(
    rng: np.random.Generator, brain: Brain, signs: MriSigns, stroke: Stroke, depth: np.ndarray, later: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray, dict[str, Any]]:
    state = draw_sub_acute(rng)
    lesion = draw_region(brain, later, min(stroke.lesion_ml, 0.95 * _territory_ml(brain, stroke)))
    images, dwi = siss_images(rng, brain, signs, lesion, state)
    facts = {
        "day": state["day"],
        "lesion_ml": lesion.ml(brain),
        "core_ml": dwi.ml(brain),
        "penumbra_ml": 0.0,
        "flair_contrast": state["flair"],
        "dwi_contrast": state["dwi"],
    }
    return images, lesion.region.astype(np.uint8), facts


def _spes(
    rng: np.random.Generator, brain: Brain, signs: MriSigns, stroke: Stroke, depth: np.ndarray, later: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray, dict[str, Any]]:
    room = _territory_ml(brain, stroke)
    core_ml = min(stroke.lesion_ml, 0.95 * (0.6 * room))
    wanted = core_ml * stroke.penumbra_ratio + float(rng.uniform(0.05, 0.4)) * room
    area = draw_region(brain, depth, max(min(wanted, 0.95 * room), 1.3 * core_ml), smooth_mm=2.2)
    core = draw_region(brain, np.where(area.region, later, later - 8), core_ml, smooth_mm=1.5)
    core = Drawn(core.field, core.level, core.region & area.region)
    label = area.region.astype(np.uint8) + core.region
    images = spes_images(rng, brain, signs, stroke, area, core)
    facts = {
        "onset_h": stroke.onset_h,
        "lesion_ml": area.ml(brain),
        "core_ml": core.ml(brain),
        "penumbra_ml": area.ml(brain) - core.ml(brain),
        "core_delay_s": stroke.delay_s,
        "core_flow_drop": stroke.core_flow_drop,
    }
    return images, label.astype(np.uint8), facts


def _territory_ml(brain: Brain, stroke: Stroke) -> float:
    if stroke.occlusion in {"cerebellar", "perforator"}:
        return 60.0
    solid = fed_by(stroke, brain.atlas_mm) & (brain.matter > 0.5) & (brain.atlas_mm[:, 2] > -25)
    return float(np.count_nonzero(solid) * brain.grid.voxel_ml)
