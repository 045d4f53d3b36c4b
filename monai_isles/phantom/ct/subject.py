"""Draw one subject with a stroke: the head, the scanned slabs, and the ischaemia on each of their voxels.

``tables.toml`` and the small tables at the top hold the distributions of scans and lesions in ISLES 2018's training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy import ndimage

from monai_isles.phantom.atlas import TABLES, SmoothField
from monai_isles.phantom.ct.anatomy import SIZE_VOX, Grid, Pose, Subject, Tissues, tissues_of
from monai_isles.phantom.ct.stroke import (
    Ischaemia,
    Stroke,
    avoid_sulci,
    draw_stroke,
    fed_by,
    level_of_largest,
    territories,
    without_specks,
)
from monai_isles.phantom.ct.variety import (
    NONE,
    SECOND_SLAB,
    SMALLEST_ML,
    Variety,
    draw_variety,
    matrix_of,
    varied_spacing,
    varied_volume,
)

SCANS = TABLES["scans"]
_SPACING_MM = {2: (10.0, 12.0), 4: (8.0, 10.0), 8: (5.0, 8.0, 10.0), 16: (5.0, 6.0), 22: (4.0, 5.0)}
_STEP_S = {43: 1.3, 44: 1.2, 45: 1.0, 46: 1.0, 49: 1.0, 53: 1.5, 61: 1.0, 64: 1.5}
_SECOND_SLAB = {2: 0.55, 4: 0.5, 8: 0.2}
# the plastic number: steps that fill a plane evenly, so that few subjects already show the whole distribution
_STEPS = (0.7548776662466927, 0.5698402909980532)


@dataclass(frozen=True)
class Protocol:
    """Hold how one subject is scanned (mm, s), and the volume of the lesion in ml per slab."""

    slices: int
    frames: int
    dt_s: float
    spacing_mm: tuple[float, float, float]
    slabs: int
    lesion_ml: float


def protocol_of(index: int, *, seed: int, variety: str = NONE) -> Protocol:
    """Draw the protocol of subject ``index``; the draws of successive subjects cover the release's distribution evenly.

    Except for ``none``, a ``variety`` has other voxels, more second slabs and small lesions.
    """
    start = np.random.default_rng([seed, 3]).random(2)  # one start for the whole data set; subjects step through it
    rng = np.random.default_rng([seed, 4, index])
    kind, volume = ((start + np.array(_STEPS) * (index + 1)) % 1.0).tolist()
    second = _SECOND_SLAB if variety == NONE else SECOND_SLAB
    # Scans with second slabs come from fewer subjects.
    share = np.array([n / (1.0 + second.get(s, 0.0)) for s, _, n in SCANS])
    slices, frames, _ = SCANS[int(np.searchsorted(np.cumsum(share) / share.sum(), kind, side="right"))]
    in_plane = float(np.round(rng.triangular(0.80, 0.92, 1.04), 3))
    lesion = TABLES["lesion_ml"][str(slices)]
    large = volume > 0.8
    between = _SPACING_MM[slices][-1] if large else float(rng.choice(_SPACING_MM[slices]))
    log_ml = np.interp(volume, np.linspace(0, 1, len(lesion)), np.log(lesion))
    slabs, spacing_mm = 1 + int(rng.random() < second.get(slices, 0.0)), (in_plane, in_plane, between)
    if variety == NONE:
        return Protocol(slices, frames, _STEP_S[frames], spacing_mm, slabs, float(np.exp(log_ml)))
    varied_mm = varied_spacing(rng, slices)
    return Protocol(slices, frames, _STEP_S[frames], varied_mm, slabs, varied_volume(volume, lesion))


@dataclass(frozen=True)
class Signs:
    """Hold the effects of the distractors on voxels; every array (n,) float32.

    Units: ``flow`` and ``volume`` factors, ``delay_s`` s, ``hu`` HU, ``scar`` and ``rarefied`` 0..1.
    """

    flow: np.ndarray
    volume: np.ndarray
    delay_s: np.ndarray
    hu: np.ndarray
    scar: np.ndarray
    rarefied: np.ndarray


class Distractors:
    """Draw the confounders of one subject; old lesions lie near ``level_mm`` (MNI height)."""

    def __init__(
        self, rng: np.random.Generator, *, side: float, level_mm: float, rates: Mapping[str, Any] = TABLES["rates"]
    ) -> None:
        self.scars: list[tuple[np.ndarray, float]] = []
        for _ in range(int(rng.choice([0, 1, 2], p=rates["scars"]))):
            centre = [rng.choice([-1, 1]) * rng.uniform(12, 52), rng.uniform(-70, 40), level_mm + rng.normal(0, 9)]
            self.scars.append((np.array(centre, np.float32), float(rng.uniform(4, rates["largest_scar_mm"]))))
        self.white_matter = float(rng.uniform(0.3, 1.0) if rng.random() < 0.5 else 0.0)
        self.carotid = float(rng.choice([-side, -side, side]) if rng.random() < rates["carotid"] else 0.0)
        self.carotid_delay_s = float(rng.uniform(1.2, rates["longest_delay_s"]))
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
        return [name for name, present in flags.items() if present]

    def signs(self, head_mm: np.ndarray, atlas_mm: np.ndarray, wm: np.ndarray) -> Signs:
        """Return the effects of the distractors at points (n, 3) with white-matter fraction ``wm`` (n,)."""
        scar = np.zeros(len(atlas_mm), np.float32)
        for centre, radius in self.scars:
            apart_mm = np.linalg.norm((atlas_mm - centre) / np.array([1, 1.2, 1], np.float32), axis=1)
            rough = apart_mm + 1.5 * self._patches.at(head_mm)
            scar = np.maximum(scar, np.clip((radius - rough) / 3 + 0.5, 0, 1))
        around = np.abs(atlas_mm) - np.array([24.0, 0.0, 0.0], np.float32)  # mirrored ellipsoid around the ventricles
        around[:, 1] = np.abs(atlas_mm[:, 1] + 8)
        around[:, 2] = atlas_mm[:, 2] - 24
        periventricular = np.clip(1.6 - np.linalg.norm(around / np.array([13, 45, 18], np.float32), axis=1), 0, 1)
        rarefied = self.white_matter * wm * np.clip(periventricular * (0.8 + 0.5 * self._patches.at(head_mm)), 0, 1)
        parts = territories(atlas_mm)
        narrowed = (  # blood behind a stenosis is late, flow nearly normal
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


@dataclass
class Slab:
    """Hold one scan of the subject before anything is measured.

    Shapes: volumes (H, W, D); ``depth`` and the arrays of ``signs`` (n,) on ``tissues.inside``.
    """

    grid: Grid
    pose: Pose
    tissues: Tissues
    signs: Signs
    depth: np.ndarray
    later: np.ndarray

    @property
    def solid(self) -> np.ndarray:
        """Return a mask (n,) of brain tissue without fluid."""
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
    variety: Variety = field(default_factory=Variety)

    def lesion(self, slab: Slab) -> np.ndarray:
        """Return the lesion (H, W, D) bool as an expert draws it on the later DWI, without tiny components."""
        if not self.variety.lesion:
            return np.zeros(slab.later.shape, bool)
        return without_specks(slab.later > self.lesion_level, slab.grid.voxel_ml)

    def region_ml(self, slab: Slab, level: float) -> float:
        """Return the volume in ml of tissue deeper than ``level`` at the time of the scan."""
        if not self.variety.lesion:
            return 0.0
        return float(np.count_nonzero((slab.depth > level) & slab.solid) * slab.grid.voxel_ml)


def make_patient(index: int, *, seed: int, protocol: Protocol | None = None, variety: str = NONE) -> Patient:
    """Draw subject ``index`` of the data set ``seed`` and ``variety``; the result depends on nothing else."""
    protocol = protocol or protocol_of(index, seed=seed, variety=variety)
    varied = draw_variety(index, seed=seed, mode=variety)
    rng = np.random.default_rng([seed, 5, index])
    subject = Subject(np.random.default_rng([seed, 6, index]))
    height = protocol.slices * protocol.spacing_mm[2] / 2
    level = float(rng.uniform(8, 32) if protocol.slices <= 4 else rng.uniform(12, 24))
    stroke = draw_stroke(
        rng, lesion_ml=protocol.lesion_ml * protocol.slabs, level_mm=level, height_mm=height / protocol.slabs
    )
    if not varied.lesion:
        stroke = replace(stroke, reopened=1.0 - varied.deficit)
    ischaemia = Ischaemia(np.random.default_rng([seed, 7, index]), stroke)
    rates = TABLES["rates" if variety == NONE else "varied_rates"]
    distractors = Distractors(np.random.default_rng([seed, 8, index]), side=stroke.side, level_mm=level, rates=rates)
    size = SIZE_VOX if variety == NONE else matrix_of(protocol.spacing_mm[0])
    pose = _draw_pose(rng, protocol.spacing_mm[0], size)
    if variety != NONE:  # some heads are rolled or pitched further than a head rest allows
        rng = np.random.default_rng([seed, 15, index])
        tilt = float(rng.uniform(-25, 25)) if rng.random() < 0.25 else pose.tilt_deg
        roll, nod = (float(np.clip(rng.normal(0, spread), -2 * spread, 2 * spread)) for spread in (3.0, 5.0))
        pose = replace(pose, tilt_deg=tilt, roll_deg=roll, pitch_deg=nod)
    places = (np.arange(protocol.slabs) - (protocol.slabs - 1) / 2) * 2 * height / float(subject.scale[2]) + level
    slabs = [_slab(subject, ischaemia, distractors, protocol, replace(pose, level_mm=float(z)), size) for z in places]
    least_ml = 1.0 if variety == NONE else SMALLEST_ML
    return Patient(index, protocol, stroke, distractors, slabs, *_levels(stroke, slabs, least_ml), varied)


def _draw_pose(rng: np.random.Generator, spacing_mm: float, size: int) -> Pose:
    tilt = float(np.clip(rng.normal(0, 6.5), -15, 15))
    room = np.clip([20.0, (size * spacing_mm - 184) / 2 / spacing_mm], 4, 20)  # the head stays within the field of view
    shift = np.clip(rng.normal(0, 8, 2), -room, room)
    return Pose(tilt, (float(shift[0]), float(shift[1])), float(np.clip(rng.normal(0, 1.3), -3.5, 3.5)), 0.0)


def _slab(
    subject: Subject, ischaemia: Ischaemia, distractors: Distractors, protocol: Protocol, pose: Pose, size: int
) -> Slab:
    grid = Grid((size, size, protocol.slices), protocol.spacing_mm)
    tissues = tissues_of(subject, pose, grid)
    signs = distractors.signs(tissues.head_mm, tissues.atlas_mm, tissues.wm.ravel()[tissues.inside])
    depth = ischaemia.depth(tissues.head_mm, tissues.atlas_mm) - 2.0 * signs.scar
    later = ischaemia.later_depth(tissues.head_mm, tissues.atlas_mm, depth)
    matter = tissues.gm + tissues.wm
    sigma = 1.2 / protocol.spacing_mm[0]
    shown = tissues.fill(avoid_sulci(later, matter.ravel()[tissues.inside]))
    drawn = ndimage.gaussian_filter(shown, (sigma, sigma, 0)) - 12
    drawn[matter < 0.3] = -12
    return Slab(grid, pose, tissues, signs, depth, drawn.astype(np.float32))


def _levels(stroke: Stroke, slabs: list[Slab], least_ml: float) -> tuple[float, float, float, float]:
    voxel_ml = slabs[0].grid.voxel_ml
    depth = np.concatenate([s.depth[s.solid] for s in slabs])
    territory_ml = sum(np.count_nonzero(fed_by(stroke, s.tissues.atlas_mm) & s.solid) for s in slabs) * voxel_ml
    core_ml = min(stroke.core_ml, 0.8 * territory_ml)  # a core cannot fill more than the territory in the slabs
    penumbra_ml = min(
        core_ml * stroke.penumbra_ratio + stroke.penumbra_share * territory_ml, max(1.05 * territory_ml, 1.3 * core_ml)
    )
    later = np.stack([s.later for s in slabs])
    # Each slab of a subject must show a lesion.
    enough = [level_of_largest(s.later, least_ml / voxel_ml) for s in slabs] if len(slabs) > 1 else []
    return (
        level_of_largest(depth, core_ml / voxel_ml),
        level_of_largest(depth, penumbra_ml / voxel_ml),
        level_of_largest(depth, max(core_ml / voxel_ml / 50, 3)),
        min([level_of_largest(later, stroke.lesion_ml / voxel_ml), *enough]),
    )
