"""Find a head's mid-sagittal plane: a start from its moments and a coarse scan, then robust least squares."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from monai_isles.transforms.alignment import TISSUE
from monai_isles.transforms.mirror import Grid, VolumeMirror, plane_normal, sample_volume, volume_reflection

SCAN_DEG = np.linspace(-30.0, 30.0, 11)
_RIM_MM = 60.0
_FLAT_PER_MM = 0.005
_MOST_POINTS = 60_000


@dataclass(frozen=True)
class VolumeLevel:
    """Hold one resolution of a head: the smoothed volume, its slopes, and the points of the head to compare.

    Differences count as the distance in mm that would explain them, as in ``alignment.Level``: a lesion, large in
    value but flat, looks far away and is let go.

    Shapes: ``channels (4, H, W, D)``: value and three slopes; ``here (4, P)`` the same at ``points (P, 3)``.
    Units: values 0 to 1, slopes per mm, points in mm.
    Source: ours; ``tests/transforms/test_registration_volume.py``.
    """

    grid: Grid
    channels: np.ndarray
    points: np.ndarray
    here: np.ndarray

    @classmethod
    def of(cls, volume: np.ndarray, grid: Grid, *, sigma_mm: float) -> VolumeLevel:
        """Build a level from ``volume (H, W, D)``, smoothed by ``sigma_mm``."""
        smooth = ndimage.gaussian_filter(np.asarray(volume, np.float32), [sigma_mm / s for s in grid.spacing_mm])
        channels = np.stack([smooth, *np.gradient(smooth, *grid.spacing_mm)])
        inside = np.flatnonzero(ndimage.binary_dilation(smooth > TISSUE))
        inside = inside[:: 1 + len(inside) // _MOST_POINTS]
        return cls(grid, channels, grid.points()[inside], channels.reshape(4, -1)[:, inside])

    def compare(self, mirror: VolumeMirror) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return residuals ``(P,)``, slopes of the counterparts ``(3, P)``, squared local slopes, and the points."""
        voxels = self.grid.voxels(mirror(self.points))
        seen = ((voxels >= 0) & (voxels <= np.array(self.grid.shape) - 1)).all(axis=1)
        value, *own = self.here[:, seen]
        other, *slopes = sample_volume(self.channels, voxels[seen])
        local = sum(slope**2 for slope in (*own, *slopes)) / 2 + _FLAT_PER_MM**2
        return other - value, np.stack(slopes), local, self.points[seen]

    def residual_mm(self, mirror: VolumeMirror, *, reach_mm: float = 3.0) -> float:
        """Return the robust root mean square distance between the head and its mirror image, infinite out of view."""
        residuals, _, local, _ = self.compare(mirror)
        return reach_mm * float(np.sqrt(_cost(residuals**2 / local / reach_mm**2)))


def coarse_planes(volume: np.ndarray, grid: Grid, *, count: int = 3) -> tuple[list[VolumeMirror], float]:
    """Return likely mirrors of a head, best first, and how much the best tilt beats the worst.

    Every plane goes through the head's centre of mass. Tilts: a scan over both angles, and the head's own principal
    axes (a head that is its own mirror image has one across its plane).

    Shapes: ``volume (H, W, D)`` of a few thousand voxels.
    Units: the contrast is a difference of two cosine similarities, 0 for a ball.
    Source: ours; ``tests/transforms/test_registration_volume.py``.
    """
    points, weights = grid.points(), (volume.ravel() > TISSUE) * 1.0
    middle = weights @ points / max(weights.sum(), 1.0)
    axes = np.linalg.eigh(np.cov((points - middle).T, aweights=weights))[1].T
    tilts = list(itertools.product(SCAN_DEG, SCAN_DEG)) + [_tilt(axis) for axis in axes]
    mirrors = [volume_reflection(*tilt, float(plane_normal(*tilt) @ middle)) for tilt in tilts]
    scores = np.array([_similarity(volume, grid, mirror, points) for mirror in mirrors])
    ranked: list[int] = []
    for index in np.argsort(-scores):
        if abs(tilts[index][0]) <= SCAN_DEG[-1] and all(_apart(tilts[index], tilts[k]) for k in ranked):
            ranked.append(int(index))
    return [mirrors[k] for k in ranked[:count]], float(scores.max() - scores.min())


def refine_plane(
    level: VolumeLevel, start: VolumeMirror, *, reach_mm: float, steps: int = 20, tolerance_mm: float = 0.01
) -> VolumeMirror:
    """Return the reflection near ``start`` with the least robust residual (Levenberg-Marquardt, Cauchy weights).

    A plane has three free numbers: two tilts and its offset.

    Args:
        reach_mm: distance at which a disagreement counts half.
        steps: most trials. tolerance_mm: stop when nothing at the head's rim moves more.

    Source: ours; Cauchy weights as in Holland & Welsch 1977, doi:10.1080/03610927708827533.
    """
    params = np.array([np.radians(start.angle_deg) * _RIM_MM, np.radians(start.roll_deg) * _RIM_MM, start.offset_mm])
    damping = 1e-3
    cost, hessian, slope = _linearise(level, params, reach_mm)
    for _ in range(steps):
        step = -np.linalg.solve(hessian + np.diag(damping * hessian.diagonal() + 1e-9), slope)
        trial = _linearise(level, params + step, reach_mm)
        if trial[0] < cost:
            params, damping = params + step, damping / 4
            cost, hessian, slope = trial
        else:
            damping *= 8
        if np.abs(step).max() < tolerance_mm:
            break
    return _mirror(params)


def _mirror(params: np.ndarray) -> VolumeMirror:
    return volume_reflection(*np.degrees(params[:2] / _RIM_MM), float(params[2]))


def _linearise(level: VolumeLevel, params: np.ndarray, reach_mm: float) -> tuple[float, np.ndarray, np.ndarray]:
    """Return the robust cost and the weighted normal equations at ``params``."""
    residuals, slopes, local, points = level.compare(_mirror(params))
    ratio = residuals**2 / local / reach_mm**2
    weights = 1 / (1 + ratio) / local
    along = np.einsum("ap,pak->pk", slopes, _motion(params, points))
    return _cost(ratio), (along * weights[:, None]).T @ along, along.T @ (weights * residuals)


def _motion(params: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return how the counterparts of ``points`` move with each parameter, ``(P, 3, 3)``, mm per mm at the rim."""
    (angle, roll), offset = params[:2] / _RIM_MM, params[2]
    normal = plane_normal(np.degrees(angle), np.degrees(roll))
    by_angle = np.array([-np.sin(angle), np.cos(angle), 0.0]) * np.cos(roll)
    by_roll = np.array([-np.cos(angle) * np.sin(roll), -np.sin(angle) * np.sin(roll), np.cos(roll)])
    side = (points @ normal - offset)[:, None]
    turns = [-2 * ((points @ d)[:, None] * normal + side * d) / _RIM_MM for d in (by_angle, by_roll)]
    return np.stack([*turns, np.broadcast_to(2 * normal, points.shape)], axis=-1)


def _cost(ratio: np.ndarray) -> float:
    return float(np.log1p(ratio).mean()) if ratio.size else np.inf


def _similarity(volume: np.ndarray, grid: Grid, mirror: VolumeMirror, points: np.ndarray) -> float:
    here, (there,) = volume.ravel(), sample_volume(volume[None], grid.voxels(mirror(points)))
    return float(here @ there / max(np.linalg.norm(here) * np.linalg.norm(there), 1e-12))


def _tilt(axis: np.ndarray) -> tuple[float, float]:
    axis = axis * (np.sign(axis[0]) or 1.0)
    return float(np.degrees(np.arctan2(axis[1], axis[0]))), float(np.degrees(np.arcsin(np.clip(axis[2], -1, 1))))


def _apart(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return max(abs(a - b) for a, b in zip(one, other, strict=True)) > SCAN_DEG[1] - SCAN_DEG[0] + 1e-6
