"""A head's mirror: the in-plane map that takes every point of a volume to its counterpart on the other side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage


@dataclass(frozen=True)
class Grid:
    """Place the voxels of a volume in millimetres around the volume's centre.

    Shapes: points ``(P, 3)``: left-right (+ right), posterior-anterior (+ front), inferior-superior (+ up).
    Units: ``spacing_mm`` and ``origin_mm`` (the centre of voxel 0, 0, 0) in mm.
    Source: ours; ``tests/transforms/test_mirror_volume.py``.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]

    @classmethod
    def centred(cls, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> Grid:
        """Return the grid whose middle is the point 0, 0, 0."""
        first, second, third = (-(n - 1) / 2 * s for n, s in zip(shape, spacing_mm, strict=True))
        return cls(shape, spacing_mm, (first, second, third))

    def points(self) -> np.ndarray:
        """Return the voxel centres ``(H * W * D, 3)`` in mm, in the order of the array."""
        axes = (o + s * np.arange(n) for n, s, o in zip(self.shape, self.spacing_mm, self.origin_mm, strict=True))
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)

    def voxels(self, points: np.ndarray) -> np.ndarray:
        """Return points in mm as fractional voxel indices."""
        return (points - self.origin_mm) / self.spacing_mm


@dataclass(frozen=True)
class VolumeMirror:
    """Map a point ``x`` (mm from the volume's centre) to its counterpart ``matrix @ x + shift_mm``.

    Units: ``shift_mm`` in mm, ``matrix`` (3, 3) in mm per mm.
    Source: Clèrigues 2020 (symmetric modalities), doi:10.1016/j.cmpb.2020.105521, section 3.1.
    """

    matrix: np.ndarray
    shift_mm: np.ndarray

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Return the counterparts of ``points (..., 3)``."""
        return points @ self.matrix.T + self.shift_mm

    @property
    def normal(self) -> np.ndarray:
        """Return the unit vector that the map turns round, pointing to the right."""
        values, vectors = np.linalg.eig(self.matrix)
        vector = np.real(vectors[:, np.argmin(np.real(values))])
        return vector * (np.sign(vector[0]) or 1.0) / np.linalg.norm(vector)

    @property
    def angle_deg(self) -> float:
        """Return the tilt in the axial plane: how far the head's left-right axis is turned towards the front."""
        return float(np.degrees(np.arctan2(self.normal[1], self.normal[0])))

    @property
    def roll_deg(self) -> float:
        """Return the tilt in the coronal plane: how far the head's left-right axis is turned upwards."""
        return float(np.degrees(np.arcsin(np.clip(self.normal[2], -1, 1))))

    @property
    def offset_mm(self) -> float:
        """Return the distance of the mid-sagittal plane from the volume's centre, positive to the right."""
        return float(self.shift_mm @ self.normal / 2)


def plane_normal(angle_deg: float, roll_deg: float) -> np.ndarray:
    """Return the unit normal of a mid-sagittal plane tilted in the axial and in the coronal view."""
    angle, roll = np.radians(angle_deg), np.radians(roll_deg)
    return np.array([np.cos(angle) * np.cos(roll), np.sin(angle) * np.cos(roll), np.sin(roll)])


def volume_reflection(angle_deg: float, roll_deg: float, offset_mm: float) -> VolumeMirror:
    """Return the reflection across the plane at ``offset_mm``; all zero is the plain flip of the first axis.

    Source: ours; ``tests/transforms/test_mirror_volume.py``.
    """
    normal = plane_normal(angle_deg, roll_deg)
    return VolumeMirror(np.eye(3) - 2 * np.outer(normal, normal), 2 * offset_mm * normal)


def mirrored_volume(volume: np.ndarray, mirror: VolumeMirror, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Return the volume seen in its mirror: trilinear, interpolated once from the original, zero outside.

    Shapes: ``(H, W, D)`` in and out, float32. Units: ``spacing_mm`` of the three axes.
    Source: ours; ``tests/transforms/test_mirror_volume.py``.
    """
    grid, step = Grid.centred(volume.shape, spacing_mm), np.array(spacing_mm)
    matrix = mirror.matrix * step / step[:, None]
    offset = grid.voxels(mirror(np.array(grid.origin_mm)))
    matrix, offset = np.round(matrix, 9), np.round(offset, 9)  # rounding errors would smear the zero background
    return ndimage.affine_transform(
        np.asarray(volume, np.float32), matrix, offset, output=np.float32, order=1, mode="grid-constant"
    )


def sample_volume(channels: np.ndarray, voxels: np.ndarray) -> np.ndarray:
    """Read ``channels (C, H, W, D)`` at fractional positions ``(P, 3)``: trilinear, zero outside, ``(C, P)`` out."""
    return np.stack([ndimage.map_coordinates(one, voxels.T, order=1, mode="grid-constant") for one in channels])


@dataclass(frozen=True)
class Plane:
    """Place the pixels of an axial slice in millimetres around the centre of the image.

    Shapes: in-plane ``(H, W)``; points are ``(P, 2)``, first left-right (+ right), then posterior-anterior (+ front).
    Units: ``spacing_mm`` and ``origin_mm`` (the centre of pixel 0, 0) in mm.
    Source: ours; ``tests/transforms/test_mirror.py``.
    """

    shape: tuple[int, int]
    spacing_mm: tuple[float, float]
    origin_mm: tuple[float, float]

    @classmethod
    def centred(cls, shape: tuple[int, int], spacing_mm: tuple[float, float]) -> Plane:
        """Return the plane whose middle is the point 0, 0."""
        first, second = (-(n - 1) / 2 * s for n, s in zip(shape, spacing_mm, strict=True))
        return cls(shape, spacing_mm, (first, second))

    def points(self) -> np.ndarray:
        """Return the pixel centres ``(H * W, 2)`` in mm, rows first."""
        axes = (o + s * np.arange(n) for n, s, o in zip(self.shape, self.spacing_mm, self.origin_mm, strict=True))
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Return points in mm as fractional pixel indices."""
        return (points - self.origin_mm) / self.spacing_mm


@dataclass(frozen=True)
class Mirror:
    """Map a point ``x`` (mm from the image centre, in plane) to its counterpart ``matrix @ x + shift_mm``.

    One map serves all slices: the flip, joined with the registration of the flipped head.
    Units: ``shift_mm`` in mm, ``matrix`` in mm per mm.
    Source: Clèrigues 2019 (symmetric modalities), doi:10.1016/j.compbiomed.2019.103487.
    """

    matrix: np.ndarray
    shift_mm: np.ndarray

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Return the counterparts of ``points (..., 2)``."""
        return points @ self.matrix.T + self.shift_mm

    @property
    def angle_deg(self) -> float:
        """Return the tilt of the head: how far its left-right axis is turned from the image's, towards the front."""
        (a, b), (c, d) = self.matrix
        return float(np.degrees(np.arctan2(-(b + c), d - a) / 2))

    @property
    def offset_mm(self) -> float:
        """Return the distance of the head's midline from the image centre, positive to the right."""
        angle = np.radians(self.angle_deg)
        return float(self.shift_mm @ (np.cos(angle), np.sin(angle)) / 2)


def reflection(angle_deg: float, offset_mm: float, *, lean: float = 0.0) -> Mirror:
    """Return the reflection across the line at ``offset_mm`` whose normal is turned by ``angle_deg`` from left-right.

    ``reflection(0, 0)`` is the plain flip of the array along its first axis. ``lean`` is the tangent of the angle
    between the direction of reflection and the normal: 0 is a rigid mirror. Any such map done twice is the identity.
    Source: ours; ``tests/transforms/test_mirror.py``.
    """
    angle = np.radians(angle_deg)
    normal, along = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    across = normal + lean * along
    return Mirror(np.eye(2) - 2 * np.outer(across, normal), 2 * offset_mm * across)


def sample(volume: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Read a volume at fractional in-plane positions: bilinear, zero outside.

    Shapes: ``volume (H, W, D)`` and ``pixels (P, 2)`` in, ``(P, D)`` out.
    Source: ours; ``tests/transforms/test_mirror.py`` (against ``scipy.ndimage``).
    """
    height, width, depth = volume.shape
    padded = np.pad(volume, ((1, 2), (1, 2), (0, 0))).reshape(-1, depth)
    clipped = np.clip(pixels, -1, (height, width))
    corner = np.floor(clipped).astype(np.intp)
    row, column = (clipped - corner).T[..., None].astype(volume.dtype)
    at = (corner[:, 0] + 1) * (width + 3) + corner[:, 1] + 1
    top = padded[at] * (1 - column) + padded[at + 1] * column
    bottom = padded[at + width + 3] * (1 - column) + padded[at + width + 4] * column
    return top * (1 - row) + bottom * row


def mirrored(volume: np.ndarray, mirror: Mirror, spacing_mm: tuple[float, float]) -> np.ndarray:
    """Return the volume seen in its mirror, interpolated once from the original.

    Shapes: ``(H, W, D)`` in and out, float32. Units: ``spacing_mm`` in plane, the intensities' own elsewhere.
    Source: ours; ``tests/transforms/test_mirror.py``.
    """
    plane = Plane.centred(volume.shape[:2], spacing_mm)
    pixels = np.round(plane.pixels(mirror(plane.points())), 6)  # rounding errors would smear the zero background
    values = sample(np.asarray(volume, np.float32), pixels)
    return values.reshape(volume.shape)
