"""Simulated heads in a chosen pose, without perfusion: for the benchmark and the tests of geometry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from monai_isles.phantom.ct.anatomy import (
    HU,
    Grid,
    Pose,
    Subject,
    Tissues,
    brain_of,
    landmark_pairs,
    static_hu,
    tissues_of,
)
from monai_isles.phantom.ct.kinetics import scanner_noise

Change = Literal["hypodense", "stroke", "cavity", "craniectomy"]


@dataclass(frozen=True)
class Head:
    """Hold the simulated scan of one head.

    Shapes: ``ct`` (H, W, D) float32, ``brain`` (H, W, D) bool, ``landmarks`` (L, 2, 3) float64.
    Units: ``ct`` in HU; ``landmarks`` in voxels of the RAS+ array, each pair mirrored across the mid-sagittal plane.
    """

    ct: np.ndarray
    brain: np.ndarray
    spacing_mm: tuple[float, float, float]
    landmarks: np.ndarray
    pose: Pose


def head_with_pose(
    *,
    seed: int,
    tilt_deg: float = 0.0,
    shift_px: tuple[float, float] = (0.0, 0.0),
    slices: int = 2,
    spacing_mm: tuple[float, float, float] | None = None,
    lesion: Literal["left", "right"] | None = None,
    change: Change = "hypodense",
    roll_deg: float = 0.0,
    level_mm: float = 18.0,
    noise_hu: float = 2.5,
) -> Head:
    """Make the CT of one subject in a given pose, quickly and without perfusion.

    Units: ``level_mm`` MNI height of the slab's middle; ``spacing_mm`` defaults to 0.9 mm, slices of 10, 8 or 5 mm.

    Args:
        seed: the subject; the same seed in another pose is the same head.
        lesion: side of a change in the middle cerebral artery's territory.
        change: ``hypodense`` a lesion of about 60 ml; ``stroke`` of about 250 ml, most of the hemisphere; ``cavity``
            an old infarct of about 100 ml, filled with fluid; ``craniectomy`` the large stroke without the bone above
            it.
        noise_hu: standard deviation of the scanner's noise.
    """
    default = (0.9, 0.9, 10.0 if slices <= 4 else 8.0 if slices <= 8 else 5.0)
    grid = Grid((256, 256, slices), spacing_mm or default)
    subject = Subject(np.random.default_rng([seed, 1]))
    pose = Pose(tilt_deg, shift_px, roll_deg, level_mm)
    tissues = tissues_of(subject, pose, grid, layers=2)
    ct = static_hu(tissues)
    if lesion is not None:
        ct += _change_hu(tissues, -44.0 if lesion == "left" else 44.0, level_mm, change)
    noise = scanner_noise(np.random.default_rng([seed, 2]), (slices, 256, 256), noise_hu, grid.spacing_mm[0])
    return Head(
        ct=ct + noise.transpose(1, 2, 0),
        brain=brain_of(tissues),
        spacing_mm=grid.spacing_mm,
        landmarks=landmark_pairs(pose, grid),
        pose=pose,
    )


def _change_hu(tissues: Tissues, x_mm: float, level_mm: float, change: Change) -> np.ndarray:
    """Return the HU that the change adds to the CT (H, W, D), around ``x_mm`` of the atlas."""
    radius_mm = {"hypodense": 22, "cavity": 28}.get(change, 40)
    centre = np.array([x_mm, -12.0, level_mm], np.float32)
    offset_mm = (tissues.atlas_mm - centre) / np.array([1.0, 1.5, 1.5], np.float32)
    # An ellipsoid whose edge fades over 4 mm.
    inside = tissues.fill(np.clip((radius_mm - np.linalg.norm(offset_mm, axis=1)) / 4, 0, 1))
    # A stroke respects the midline.
    inside *= tissues.fill((tissues.atlas_mm[:, 0] * np.sign(x_mm) > 2).astype(np.float32))
    soft = tissues.gm + tissues.wm
    if change == "cavity":
        return inside * (HU["csf"] * soft - HU["gm"] * tissues.gm - HU["wm"] * tissues.wm)
    added = inside * soft * (-12.0 if change == "hypodense" else -10.0)
    if change == "craniectomy":
        # Bone over the swollen hemisphere becomes scalp.
        near = (tissues.atlas_mm[:, 0] * np.sign(x_mm) > 25) & (np.abs(tissues.atlas_mm[:, 1] + 12) < 55)
        added -= tissues.fill(near.astype(np.float32)) * ((1150.0 - 30.0) * tissues.bone - 550.0 * tissues.diploe)
    return added
