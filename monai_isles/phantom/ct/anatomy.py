"""Model one subject's head: shape, pose in the scanner, and the tissues of each voxel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from monai_isles.phantom.atlas import ORIGIN_MM, SmoothField, depth_at, load_atlas

SIZE_VOX = 256
CENTRE_MM = np.array([0.0, -17.0, 0.0], dtype=np.float32)


@dataclass(frozen=True)
class Pose:
    """Hold the pose of the head: in-plane tilt and shift, roll out of the plane, level of the slab.

    Units: degrees, counter-clockwise on RAS+ axes; voxels in the plane; ``level_mm`` MNI height of the slab's middle.
    ``pitch_deg`` nods the head, within its own mid-sagittal plane.
    """

    tilt_deg: float
    shift_px: tuple[float, float]
    roll_deg: float
    level_mm: float
    pitch_deg: float = 0.0

    def rotation(self) -> np.ndarray:
        """Return the rotation (3, 3) from head directions to scanner directions."""
        t, r = np.deg2rad([self.tilt_deg, self.roll_deg])
        in_plane = np.array([[np.cos(t), -np.sin(t), 0], [np.sin(t), np.cos(t), 0], [0, 0, 1]])
        out_of_plane = np.array([[np.cos(r), 0, np.sin(r)], [0, 1, 0], [-np.sin(r), 0, np.cos(r)]])
        p = np.deg2rad(self.pitch_deg)
        nod = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
        return in_plane @ out_of_plane @ nod


@dataclass(frozen=True)
class Grid:
    """Hold the grid of the voxels: RAS+ axes, its centre at zero.  Units: mm."""

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]

    @property
    def voxel_ml(self) -> float:
        """Return the volume of one voxel in ml."""
        return float(np.prod(self.spacing_mm)) / 1000.0

    def middle(self) -> np.ndarray:
        """Return the voxel coordinate (3,) of the middle of the grid."""
        return (np.array(self.shape, dtype=np.float64) - 1) / 2


class Subject:
    """Draw the shape of one head: size, smooth warp (nearly symmetric), skull, atrophy."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.scale = rng.normal([0.94, 0.94, 0.94], [0.025, 0.03, 0.03]).clip(0.87, 1.0)
        # Left and right are alike but for a small free part: healthy heads are nearly their own mirror image.
        self._even = [SmoothField(rng, 22.0, symmetry=-1 if axis == 0 else 1) for axis in range(3)]
        self._free = [SmoothField(rng, 18.0) for _ in range(3)]
        self._fine = [SmoothField(rng, 7.0) for _ in range(3)]
        self.skull = SmoothField(rng, 18.0, symmetry=1)
        self.skull_mm, self.scalp_mm = rng.uniform(4.5, 7.5), rng.uniform(4.0, 7.0)
        self.atrophy = rng.beta(2.0, 2.0)
        self.sharpness = rng.uniform(1.6, 2.2)

    def to_atlas(self, head_mm: np.ndarray) -> np.ndarray:
        """Return the MNI positions (n, 3) of head positions (n, 3); both mm."""
        fields = zip(self._even, self._free, self._fine, strict=True)
        warp = [2.4 * e.at(head_mm) + 0.5 * f.at(head_mm) + 1.3 * n.at(head_mm) for e, f, n in fields]
        return head_mm / self.scale.astype(np.float32) + np.stack(warp, -1)


@dataclass
class Tissues:
    """Hold the volume fractions of each voxel, averaged through the slice.

    Shapes: every map (H, W, D) float32; ``head_mm`` and ``atlas_mm`` are (n, 3) for the n flat indices of ``inside``.
    Units: fractions 0..1; positions in mm at the middle of the slice.
    """

    gm: np.ndarray
    wm: np.ndarray
    csf: np.ndarray
    bone: np.ndarray
    scalp: np.ndarray
    artery: np.ndarray
    vein: np.ndarray
    diploe: np.ndarray
    inside: np.ndarray
    head_mm: np.ndarray
    atlas_mm: np.ndarray

    def fill(self, values: np.ndarray) -> np.ndarray:
        """Return the volume (H, W, D) with ``values`` (n,) at the voxels of ``inside`` and zero elsewhere."""
        volume = np.zeros(self.gm.size, np.float32)
        volume[self.inside] = values
        return volume.reshape(self.gm.shape)


_NAMES = ("gm", "wm", "csf", "bone", "scalp", "artery", "vein", "diploe")


def tissues_of(subject: Subject, pose: Pose, grid: Grid, *, layers: int = 3) -> Tissues:
    """Sample the subject's tissues on ``grid``, ``layers`` times through each slice."""
    total = {name: np.zeros(int(np.prod(grid.shape)), np.float32) for name in _NAMES}
    inside, centre = _points(subject, pose, grid)
    # Several layers a slice: partial volume through thick slices, as a scanner averages.
    for offset in (np.arange(layers) + 0.5) / layers - 0.5:
        shift = pose.rotation().T @ np.array([0, 0, offset * grid.spacing_mm[2]])
        head_mm = centre + shift.astype(np.float32)
        for name, part in zip(_NAMES, fractions_at(subject, head_mm, subject.to_atlas(head_mm)), strict=True):
            total[name][inside] += part / layers
    parts = {name: volume.reshape(grid.shape) for name, volume in total.items()}
    return Tissues(**parts, inside=inside, head_mm=centre, atlas_mm=subject.to_atlas(centre))


def _points(subject: Subject, pose: Pose, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    h, w, d = (np.arange(n) - m for n, m in zip(grid.shape, grid.middle(), strict=True))
    voxels = np.stack(np.meshgrid(h - pose.shift_px[0], w - pose.shift_px[1], d, indexing="ij"), -1).reshape(-1, 3)
    scanner = voxels * np.array(grid.spacing_mm)
    head_mm = scanner @ pose.rotation() + CENTRE_MM + np.array([0, 0, pose.level_mm * subject.scale[2]])
    # An ellipse around the largest head: points beyond it are air and cost nothing.
    near = ((head_mm[:, 0] / 92) ** 2 + ((head_mm[:, 1] - CENTRE_MM[1]) / 112) ** 2) < 1
    inside = np.flatnonzero(near)
    return inside, head_mm[inside].astype(np.float32)


def fractions_at(subject: Subject, head_mm: np.ndarray, atlas_mm: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the volume fractions (n,) gm, wm, csf, bone, scalp, artery, vein, diploe at points of the head."""
    atlas, depth = load_atlas(), depth_at(atlas_mm)
    position = atlas_mm - ORIGIN_MM
    gm, wm, fluid, artery, vein = (
        ndimage.map_coordinates(volume, position.T, order=1, output=np.float32) / 255
        for volume in (atlas.gm, atlas.wm, atlas.ventricle, atlas.artery, atlas.vein)
    )
    hull = np.clip(depth + 0.5, 0, 1)
    # Atrophy widens the ventricles and the sulci.
    ventricle = np.clip((fluid - 0.45 + 0.3 * subject.atrophy) * 3, 0, 1)
    csf = np.clip(1 - gm - wm, 0, 1) * (0.75 + 0.9 * subject.atrophy)
    gm, wm, csf = (np.power(np.clip(part, 0, 1), subject.sharpness) for part in (gm, wm, csf))
    total = np.maximum(gm + wm + csf, 1e-3)
    gm, wm = (part / total * hull * (1 - ventricle) for part in (gm, wm))
    gap, thick = 1.0, np.maximum(subject.skull_mm * (1 + 0.18 * subject.skull.at(head_mm)), 2.5)
    out = -depth
    bone = np.clip(out - gap + 0.5, 0, 1) * np.clip(gap + thick - out + 0.5, 0, 1)
    scalp = np.clip(out - gap - thick + 0.5, 0, 1) * np.clip(gap + thick + subject.scalp_mm - out + 0.5, 0, 1)
    diploe = bone * np.clip(1 - np.abs((out - gap) / thick - 0.5) * 3, 0, 1)
    csf = np.clip(hull - gm - wm, 0, 1) + np.clip(out + 0.5, 0, 1) * np.clip(gap - out + 0.5, 0, 1)
    solid = np.clip(1 - bone - scalp, 0, 1)
    return gm, wm, csf, bone, scalp, artery * solid, vein * solid, diploe


def landmark_pairs(pose: Pose, grid: Grid) -> np.ndarray:
    """Return pairs (L, 2, 3), left first, of voxels mirrored across the mid-sagittal plane, their middle on a slice."""
    rotation = pose.rotation()
    height_mm = (np.arange(grid.shape[2]) - grid.middle()[2]) * grid.spacing_mm[2]
    height, y, x = np.meshgrid(height_mm, [-65.0, -35.0, -10.0, 15.0, 40.0], [18.0, 34.0, 50.0], indexing="ij")
    ahead = y - CENTRE_MM[1]
    up = height / rotation[2, 2] - rotation[2, 1] / rotation[2, 2] * ahead
    inside = (x / 58) ** 2 + (ahead / 70) ** 2 < 1
    return mirrored_pairs(np.stack([x, ahead, up], -1)[inside], pose, grid)


def mirrored_pairs(right_mm: np.ndarray, pose: Pose, grid: Grid) -> np.ndarray:
    """Return voxels (L, 2, 3), left first, of points (L, 3) in mm from the head's middle and their mirror images."""
    pairs = np.stack([right_mm * [-1, 1, 1], right_mm], 1)
    return pairs @ pose.rotation().T / np.array(grid.spacing_mm) + grid.middle() + np.array([*pose.shift_px, 0.0])


HU = {"gm": 38.0, "wm": 29.5, "csf": 7.0, "artery": 45.0, "vein": 47.0}


def static_hu(tissues: Tissues) -> np.ndarray:
    """Return the CT (H, W, D) in HU of the tissues before contrast and without noise."""
    soft = sum(HU[name] * getattr(tissues, name) for name in ("gm", "wm", "csf"))
    blood = np.clip(tissues.artery + tissues.vein, 0, 1) * np.clip(tissues.gm + tissues.wm + tissues.csf, 0, 1)
    soft = soft * (1 - blood) + 46.0 * blood
    # The rest of a voxel is air at -1000 HU.
    filled = np.clip(tissues.gm + tissues.wm + tissues.csf + tissues.bone + tissues.scalp, 0, 1)
    bone = 1150.0 * tissues.bone - 550.0 * tissues.diploe
    return (soft + bone + 15.0 * tissues.scalp - 1000.0 * (1 - filled)).astype(np.float32)


def brain_of(tissues: Tissues) -> np.ndarray:
    """Return the brain (H, W, D) bool: grey and white matter with the fluid inside the skull."""
    return (tissues.gm + tissues.wm + tissues.csf) > 0.5
