"""How the head lies in the MRI scanner, and the mirrored landmarks that tell it."""

from __future__ import annotations

import numpy as np

from monai_isles.phantom.ct.anatomy import CENTRE_MM, Grid, Pose, Subject
from monai_isles.phantom.mri.facts import MriKind

_ROOM_MM = {"siss": 10.0, "spes": 5.0}


def draw_pose(rng: np.random.Generator, kind: MriKind, spacing_mm: float) -> Pose:
    """Draw tilt, roll, pitch and shift within what the field of view allows; in mm the same at every spacing."""
    room = _ROOM_MM[kind.name]
    shift_mm = np.clip(rng.normal(0, 0.5 * room, 2), -room, room)
    return Pose(
        tilt_deg=float(np.clip(rng.normal(0, 4.5), -10, 10)),
        shift_px=(float(shift_mm[0] / spacing_mm), float(shift_mm[1] / spacing_mm)),
        roll_deg=float(np.clip(rng.normal(0, 2.0), -4, 4)),
        level_mm=float(np.clip(rng.normal(7, 1.5), 4, 10)),
        pitch_deg=float(np.clip(rng.normal(0, 2.5), -5, 5)),
    )


def head_landmarks(subject: Subject, pose: Pose, grid: Grid) -> np.ndarray:
    """Return pairs of points mirrored across the subject's mid-sagittal plane.

    Shapes: (L, 2, 3), left point first, voxel coordinates of the RAS+ array.
    Source: ours; ``tests/phantom/test_mri_pose.py``.
    """
    x, y, z = np.meshgrid([18.0, 34.0, 50.0], [-65.0, -35.0, -10.0, 15.0, 40.0], [-10.0, 8.0, 26.0, 44.0])
    inside = (x / 58) ** 2 + ((y - CENTRE_MM[1]) / 72) ** 2 + ((z - 15) / 60) ** 2 < 1
    right = np.stack([x[inside], y[inside], z[inside]], -1)
    pairs = np.stack([right * [-1, 1, 1], right], 1)
    level = np.array([0, 0, pose.level_mm * float(subject.scale[2])])
    scanner = (pairs - CENTRE_MM - level) @ pose.rotation().T
    return scanner / np.array(grid.spacing_mm) + grid.middle() + np.array([*pose.shift_px, 0.0])
