"""Map every point of a head to its counterpart on the other side, in plane or in space."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_AT_ONCE = 1 << 18


@dataclass(frozen=True)
class Grid:
    """Place the pixels of an axial slice (n = 2) or the voxels of a volume (n = 3) in mm around the array's centre.

    Shapes: points ``(P, n)``: left-right (+ right), posterior-anterior (+ front), inferior-superior (+ up).
    Units: ``spacing_mm`` and ``origin_mm`` (the centre of the first voxel) in mm.
    """

    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    origin_mm: tuple[float, ...]

    @classmethod
    def centred(cls, shape: Sequence[int], spacing_mm: Sequence[float]) -> Grid:
        """Return the grid whose middle is the point 0."""
        origin = tuple(-(n - 1) / 2 * s for n, s in zip(shape, spacing_mm, strict=True))
        return cls(tuple(shape), tuple(spacing_mm), origin)

    def points(self) -> np.ndarray:
        """Return the voxel centres in mm, ``(P, n)``, in the order of the array."""
        axes = (o + s * np.arange(n) for n, s, o in zip(self.shape, self.spacing_mm, self.origin_mm, strict=True))
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(self.shape))

    def voxels(self, points: np.ndarray) -> np.ndarray:
        """Return points in mm as fractional voxel indices."""
        return (points - np.array(self.origin_mm)) / np.array(self.spacing_mm)

    def pool(self, image: np.ndarray, cell_mm: float) -> tuple[np.ndarray, Grid]:
        """Return block means of about ``cell_mm`` of an image ``(*shape, C)``, and the grid they lie on."""
        block = [max(1, round(cell_mm / s)) for s in self.spacing_mm]
        cells = [n // b for n, b in zip(self.shape, block, strict=True)]
        # Voxels beyond the last whole block are dropped: fewer than a cell at the far rim.
        cut = image[tuple(slice(c * b) for c, b in zip(cells, block, strict=True))]
        parts = [size for pair in zip(cells, block, strict=True) for size in pair]
        means = cut.reshape(*parts, -1).mean(axis=tuple(range(1, 2 * len(block), 2)))
        spacing = tuple(s * b for s, b in zip(self.spacing_mm, block, strict=True))
        origin = tuple(o + (b - 1) / 2 * s for o, b, s in zip(self.origin_mm, block, self.spacing_mm, strict=True))
        return means, Grid(tuple(cells), spacing, origin)


@dataclass(frozen=True)
class Mirror:
    """Map a point ``x`` (mm from the array's centre) to its counterpart ``matrix @ x + shift_mm``.

    With two dimensions one map serves all slices. The flip is part of the map.

    Shapes: ``matrix (n, n)``, ``shift_mm (n,)``. Units: ``shift_mm`` in mm, ``matrix`` in mm per mm.
    Source: Clèrigues 2019 (symmetric modalities), doi:10.1016/j.compbiomed.2019.103487; in space Clèrigues 2020,
    doi:10.1016/j.cmpb.2020.105521, section 3.1.
    """

    matrix: np.ndarray
    shift_mm: np.ndarray

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Return the counterparts of ``points (..., n)``."""
        return points @ self.matrix.T + self.shift_mm

    @property
    def normal(self) -> np.ndarray:
        """Return the head's left-right axis, a unit vector that points to the right."""
        # A reflection has the eigenvalue -1 along its normal.
        vector = np.linalg.eigh((self.matrix + self.matrix.T) / 2)[1][:, 0]
        return vector * (np.sign(vector[0]) or 1.0)

    @property
    def angle_deg(self) -> float:
        """Return the tilt in the axial plane: how far the left-right axis is turned towards the front."""
        return float(np.degrees(np.arctan2(self.normal[1], self.normal[0])))

    @property
    def roll_deg(self) -> float:
        """Return the tilt in the coronal plane: how far the left-right axis is turned upwards; 0 in plane."""
        return float(np.degrees(np.arcsin(np.clip(self.normal[2:].sum(), -1, 1))))

    @property
    def offset_mm(self) -> float:
        """Return the distance of the midline from the array's centre, positive to the right."""
        return float(self.shift_mm @ self.normal / 2)


def axis_of(tilts_deg: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return the left-right axis of a head tilted in the axial (and in the coronal) view, a unit vector."""
    angle, *roll = np.radians(tilts_deg)
    flat = np.array([np.cos(angle), np.sin(angle)])
    return np.array([*flat * np.cos(roll[0]), np.sin(roll[0])]) if roll else flat


def reflection(tilts_deg: float | Sequence[float] | np.ndarray, offset_mm: float) -> Mirror:
    """Return the reflection across the midline at ``offset_mm``; applied twice it is the identity.

    All zero is the plain flip of the first axis.

    Args:
        tilts_deg: one angle for the reflection in plane, as ``Mirror.angle_deg``; two for the reflection in space,
            ``Mirror.angle_deg`` and ``Mirror.roll_deg``.

    >>> reflection(0, 2.0)(np.array([5.0, 1.0])).tolist()
    [-1.0, 1.0]
    >>> reflection((0, 0), 2.0)(np.array([5.0, 1.0, 7.0])).tolist()
    [-1.0, 1.0, 7.0]
    """
    normal = axis_of(np.atleast_1d(np.asarray(tilts_deg, float)).tolist())
    return Mirror(np.eye(len(normal)) - 2 * np.outer(normal, normal), 2 * offset_mm * normal)  # Householder reflection


def sample(image: np.ndarray, voxels: np.ndarray) -> np.ndarray:
    """Read an image at fractional positions: linear along each of n axes, zero outside.

    Shapes: ``image (*S, C)`` with n axes ``S``, and ``voxels (P, n)`` in; ``(P, C)`` out.
    """
    shape = np.array(image.shape[:-1])
    padded = np.pad(image, [*[(1, 2)] * len(shape), (0, 0)]).reshape(-1, image.shape[-1])
    strides = np.append(np.cumprod((shape + 3)[:0:-1])[::-1], 1)
    out = np.empty((len(voxels), image.shape[-1]), image.dtype)
    for first in range(0, len(voxels), _AT_ONCE):
        out[first : first + _AT_ONCE] = _interpolate(
            padded, strides, np.clip(voxels[first : first + _AT_ONCE], -1, shape)
        )
    return out


def _interpolate(padded: np.ndarray, strides: np.ndarray, voxels: np.ndarray) -> np.ndarray:
    """Interpolate between the 2^n neighbours of each position, the last axis first."""
    corner = np.floor(voxels).astype(np.intp)
    shares = (voxels - corner).T[..., None].astype(padded.dtype)
    at = (corner + 1) @ strides
    values = [padded[at + int(step @ strides)] for step in np.array([*itertools.product((0, 1), repeat=len(strides))])]
    for share in shares[::-1]:
        values = [low * (1 - share) + high * share for low, high in zip(values[::2], values[1::2], strict=True)]
    return values[0]


def apply_mirror(volume: np.ndarray, mirror: Mirror, spacing_mm: Sequence[float]) -> np.ndarray:
    """Return the mirrored volume, interpolated once from the original, zero outside.

    Shapes: ``(H, W, D)`` in and out, float32. Units: ``spacing_mm`` of as many axes as the mirror has.
    """
    axes = len(mirror.shift_mm)
    grid = Grid.centred(volume.shape[:axes], spacing_mm)
    image = np.asarray(volume, np.float32).reshape(*grid.shape, -1)
    voxels = np.round(grid.voxels(mirror(grid.points())), 6)  # rounding errors would smear the zero background
    return sample(image, voxels).reshape(volume.shape)
