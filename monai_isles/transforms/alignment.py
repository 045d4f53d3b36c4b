"""The robust refinement of a head's mirror: least squares in millimetres that lets a lesion disagree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from monai_isles.transforms.mirror import Mirror, Plane, reflection, sample

CELLS = 64
ANGLES_DEG = np.linspace(-32.0, 32.0, 33)


def coarse_mirrors(image: np.ndarray, plane: Plane, *, count: int = 3) -> tuple[list[Mirror], float]:
    """Return likely reflections of a head, best first, and how much the best angle beats the worst.

    The image is turned to each angle; then for every midline at once the sum of ``f(x) f(mirror x)`` along the
    left-right axis is the convolution of the rows with themselves, one FFT.
    Shapes: ``image (H, W)``, values of the background near 0.
    Units: the contrast is a difference of two cosine similarities, 0 for a disc, 1 at most.
    Source: ours; ``tests/transforms/test_alignment.py``.
    """
    scores, offsets_mm = _scan(image, plane)
    best = scores.max(axis=1)
    ends = np.concatenate([[-np.inf], best, [-np.inf]])
    peaks = np.flatnonzero((best >= ends[:-2]) & (best >= ends[2:]))
    ranked = peaks[np.argsort(-best[peaks])][:count]
    mirrors = [reflection(ANGLES_DEG[k], offsets_mm[scores[k].argmax()]) for k in ranked]
    return mirrors, float(best.max() - best.min())


def _scan(image: np.ndarray, plane: Plane) -> tuple[np.ndarray, np.ndarray]:
    """Return the similarity of the image with its reflection, angles x midline offsets, and the offsets in mm."""
    cell_mm = max(n * s for n, s in zip(plane.shape, plane.spacing_mm, strict=True)) / CELLS
    sigma_vox = [max(0.0, cell_mm / s / 2) for s in plane.spacing_mm]
    smooth = ndimage.gaussian_filter(np.asarray(image, np.float32), sigma_vox)[..., None]
    cells = Plane.centred((CELLS, CELLS), (cell_mm, cell_mm)).points()
    turned = []
    for angle in np.radians(ANGLES_DEG):
        normal, along = (np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))
        points = cells @ np.array([normal, along])
        turned.append(sample(smooth, plane.pixels(points)).reshape(CELLS, CELLS))
    stack = np.stack(turned)
    spectrum = np.fft.rfft(stack, n=2 * CELLS, axis=1)
    folded = np.fft.irfft(spectrum**2, n=2 * CELLS, axis=1).sum(axis=2)[:, : 2 * CELLS - 1]
    energy = np.maximum((stack**2).sum(axis=(1, 2)), np.finfo(np.float32).tiny)
    return folded / energy[:, None], (np.arange(2 * CELLS - 1) - (CELLS - 1)) * cell_mm / 2


DEGREES = {"rigid": 2, "affine": 3}
_RADIUS_MM = 60.0
_FLAT_PER_MM = 0.005
TISSUE = 0.1


@dataclass(frozen=True)
class Level:
    """Hold one resolution of a head: the smoothed image, its in-plane slopes, and the points of the head to compare.

    A difference in intensity is divided by the local slope, so it counts as the distance in mm that would explain it:
    the skull's edge and the ventricle's weigh alike, and a lesion, large in value but flat, looks far away.

    Shapes: ``channels (H, W, 3 D)``: values, slopes along H, slopes along W; ``here (P, 3 D)`` the same at
        ``points (P, 2)``.
    Units: values 0 to 1, slopes per mm, points in mm.
    Source: ours; ``tests/transforms/test_alignment.py``. Distance by the slope: Thirion's demons, 1998.
    """

    plane: Plane
    channels: np.ndarray
    points: np.ndarray
    here: np.ndarray

    @classmethod
    def of(cls, volume: np.ndarray, plane: Plane, *, sigma_mm: float) -> Level:
        """Build a level from ``volume (H, W, D)``, smoothed in plane by ``sigma_mm``."""
        smooth = ndimage.gaussian_filter(np.asarray(volume, np.float32), [*(sigma_mm / s for s in plane.spacing_mm), 0])
        slopes = np.gradient(smooth, *plane.spacing_mm, axis=(0, 1))
        inside = ndimage.binary_dilation((smooth > TISSUE).any(axis=2), iterations=2).ravel()
        channels = np.concatenate([smooth, *slopes], axis=2)
        return cls(plane, channels, plane.points()[inside], channels.reshape(-1, channels.shape[2])[inside])

    def compare(self, mirror: Mirror) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return residuals ``(P, D)``, slopes of the counterparts ``(P, 2, D)``, squared local slopes, and the points.

        Points whose counterpart lies outside the image are left out.
        """
        pixels = self.plane.pixels(mirror(self.points))
        seen = ((pixels >= 0) & (pixels <= np.array(self.plane.shape) - 1)).all(axis=1)
        value, *own = np.split(self.here[seen], 3, axis=1)
        other, *slopes = np.split(sample(self.channels, pixels[seen]), 3, axis=1)
        local = sum(slope**2 for slope in (*own, *slopes)) / 2 + _FLAT_PER_MM**2
        return other - value, np.stack(slopes, axis=1), local, self.points[seen]

    def residual_mm(self, mirror: Mirror, *, reach_mm: float = 3.0) -> float:
        """Return the robust root mean square distance between the head and its mirror image, infinite out of view."""
        residuals, _, local, _ = self.compare(mirror)
        return reach_mm * float(np.sqrt(_cost(residuals**2 / local / reach_mm**2)))


def refine(
    level: Level, start: Mirror, *, degrees: str, reach_mm: float, steps: int = 20, tolerance_mm: float = 0.01
) -> Mirror:
    """Return the reflection near ``start`` with the least robust residual (Levenberg-Marquardt, Cauchy weights).

    A mirror seen twice shows the original, so a rigid mirror has two free numbers (angle and offset of the midline) and
    an affine one has three: the direction of reflection may lean against the midline.

    Args:
        degrees: ``"rigid"`` or ``"affine"``.
        reach_mm: distance at which a disagreement counts half.
        steps: most trials. tolerance_mm: stop when nothing at the head's rim moves more.

    Source: ours; Cauchy weights as in Holland & Welsch 1977, doi:10.1080/03610927708827533.
    """
    params = np.array([np.radians(start.angle_deg) * _RADIUS_MM, start.offset_mm, 0.0])[: DEGREES[degrees]]
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


def _cost(ratio: np.ndarray) -> float:
    return float(np.log1p(ratio).mean()) if ratio.size else np.inf


def _mirror(params: np.ndarray) -> Mirror:
    lean = params[2] / _RADIUS_MM if len(params) == 3 else 0.0
    return reflection(float(np.degrees(params[0] / _RADIUS_MM)), float(params[1]), lean=float(lean))


def _motion(params: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return how the counterparts of ``points`` move with each parameter, ``(P, 2, K)``, mm per mm at the rim."""
    angle, lean = params[0] / _RADIUS_MM, (params[2] / _RADIUS_MM if len(params) == 3 else 0.0)
    normal, along = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    across, side = normal + lean * along, points @ normal - params[1]
    turn = -2 * ((points @ along)[:, None] * across + side[:, None] * (along - lean * normal)) / _RADIUS_MM
    shear = -2 * side[:, None] * along / _RADIUS_MM
    return np.stack([turn, np.broadcast_to(2 * across, points.shape), shear][: len(params)], axis=-1)


def _linearise(level: Level, params: np.ndarray, reach_mm: float) -> tuple[float, np.ndarray, np.ndarray]:
    """Return the robust cost and the weighted normal equations at ``params``."""
    residuals, slopes, local, points = level.compare(_mirror(params))
    ratio = residuals**2 / local / reach_mm**2
    weights = 1 / (1 + ratio) / local
    moved = _motion(params, points)
    spread = np.einsum("pd,pad,pbd->pab", weights, slopes, slopes, optimize=True)
    pull = np.einsum("pd,pad->pa", weights * residuals, slopes, optimize=True)
    hessian = np.einsum("pak,pab,pbl->kl", moved, spread, moved, optimize=True)
    return _cost(ratio), hessian, np.einsum("pak,pa->k", moved, pull)
