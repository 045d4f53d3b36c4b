"""Find a head's mirror: a coarse scan of tilts, then robust least squares in mm that tolerates a lesion."""

from __future__ import annotations

import functools
import itertools
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage, optimize

from monai_isles.transforms.mirror import Grid, Mirror, axis_of, reflection, sample

TISSUE = 0.1
SCAN_DEG = {2: (np.linspace(-32.0, 32.0, 33),), 3: (np.linspace(-30.0, 30.0, 11),) * 2}
CELLS = {2: 64, 3: 24}
_RIM_MM, _REACH_MM = 60.0, 3.0
_FLAT_PER_MM = 0.005


def coarse_mirrors(image: np.ndarray, grid: Grid) -> tuple[list[Mirror], float]:
    """Return likely reflections of a head, best first, and the contrast between the best and the worst tilt.

    The image is rotated by each tilt. The sum of ``f(x) f(mirror x)`` along the left-right axis, for all midlines at
    once, is then the convolution of the rows with themselves: one FFT.

    Shapes: ``image`` of the grid's shape, values of the background near 0.
    Units: the contrast is a difference of two cosine similarities, 0 for a disc or a ball, 1 at most.
    """
    axes = SCAN_DEG[len(grid.shape)]
    tilts = np.array([*itertools.product(*axes)])
    scores, offsets_mm = _scan(image, grid, tilts)
    best = scores.max(axis=1)
    table = best.reshape([len(axis) for axis in axes])
    # Local maxima over neighbouring tilts: one start a valley, not three from the same one.
    peaks = np.flatnonzero(table >= ndimage.maximum_filter(table, 3, mode="constant", cval=-np.inf))
    ranked = peaks[np.argsort(-best[peaks])][:3]
    mirrors = [reflection(tilts[k], offsets_mm[scores[k].argmax()]) for k in ranked]
    return mirrors, float(best.max() - best.min())


def _scan(image: np.ndarray, grid: Grid, tilts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the similarity of the image with its reflection, tilts x midline offsets, and the offsets in mm."""
    cells, axes = CELLS[len(grid.shape)], len(grid.shape)
    cell_mm = max(n * s for n, s in zip(grid.shape, grid.spacing_mm, strict=True)) / cells
    sigma_vox = [max(0.0, cell_mm / s / 2) for s in grid.spacing_mm]
    smooth = ndimage.gaussian_filter(np.asarray(image, np.float32), sigma_vox)[..., None]
    points = Grid.centred((cells,) * axes, (cell_mm,) * axes).points()
    # Rows of the turned image run left-right, so a midline is one offset along them.
    turned = [sample(smooth, grid.voxels(points @ _frame(tilt))).reshape(cells, -1) for tilt in tilts]
    stack = np.stack(turned)
    # A row convolved with itself holds, at lag 2m, the sum of f(x) f(2m - x): its likeness to the mirror across m.
    # Twice the length keeps the convolution from wrapping around.
    spectrum = np.fft.rfft(stack, n=2 * cells, axis=1)
    folded = np.fft.irfft(spectrum**2, n=2 * cells, axis=1).sum(axis=2)[:, : 2 * cells - 1]
    # Divided by the energy it is a cosine similarity, comparable between tilts.
    energy = np.maximum((stack**2).sum(axis=(1, 2)), np.finfo(np.float32).tiny)
    return folded / energy[:, None], (np.arange(2 * cells - 1) - (cells - 1)) * cell_mm / 2


def _frame(tilts_deg: np.ndarray) -> np.ndarray:
    """Return the head's axes as rows: left-right, back-front (and up)."""
    across, angle = axis_of(tilts_deg), np.radians(tilts_deg[0])
    if len(across) == 2:
        return np.array([across, (-np.sin(angle), np.cos(angle))])
    front = np.array([-np.sin(angle), np.cos(angle), 0.0])
    return np.array([across, front, np.cross(across, front)])


@dataclass(frozen=True)
class Level:
    """Hold one resolution of a head: the smoothed image, its slopes, and the points of the head to compare.

    A difference in intensity is divided by the local slope, which gives the distance in mm that would explain it. The
    edges of skull and ventricles then have equal weight. A lesion, large in value but flat, counts as far away.

    Shapes: ``channels (*S, (1 + n) C)``: values, then slopes along each of the n axes ``S``; ``here (P, (1 + n) C)``
        the same at ``points (P, n)``.
    Units: values 0 to 1, slopes per mm, points in mm.
    Source: ours; ``tests/transforms/test_alignment.py``. Distance by the slope: Thirion's demons, 1998.
    """

    grid: Grid
    channels: np.ndarray
    points: np.ndarray
    here: np.ndarray

    @classmethod
    def of(cls, image: np.ndarray, grid: Grid, *, sigma_mm: float) -> Level:
        """Build a level from ``image (*S, C)``, smoothed along the axes of the grid by ``sigma_mm``."""
        axes = range(len(grid.shape))
        smooth = ndimage.gaussian_filter(np.asarray(image, np.float32), [*(sigma_mm / s for s in grid.spacing_mm), 0])
        slopes = np.gradient(smooth, *grid.spacing_mm, axis=tuple(axes))
        inside = np.flatnonzero(ndimage.binary_dilation((smooth > TISSUE).any(axis=-1), iterations=2))
        # More points change the fit by less than its own error and cost time in proportion.
        inside = inside[:: 1 + len(inside) // 60_000]
        channels = np.concatenate([smooth, *slopes], axis=-1)
        return cls(grid, channels, grid.points()[inside], channels.reshape(-1, channels.shape[-1])[inside])

    @property
    def smooth(self) -> np.ndarray:
        """Return the smoothed image, ``(*S, C)``."""
        return self.channels[..., : self.channels.shape[-1] // (1 + len(self.grid.shape))]

    def compare(self, mirror: Mirror) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return distances in mm ``(P, C)``, how they change in mm per mm ``(P, n, C)``, and which points are in view.

        Points whose counterpart lies outside the image are left out.
        """
        parts, voxels = 1 + len(self.grid.shape), self.grid.voxels(mirror(self.points))
        seen = np.all((voxels >= 0) & (voxels <= np.array(self.grid.shape) - 1), axis=1)
        value, *own = np.split(self.here[seen], parts, axis=1)
        other, *slopes = np.split(sample(self.channels, voxels[seen]), parts, axis=1)
        # Both slopes count, of the head and of its image; the constant keeps flat tissue from dividing by 0.
        local = np.sqrt(sum(slope**2 for slope in (*own, *slopes)) / 2 + _FLAT_PER_MM**2)
        return (other - value) / local, np.stack(slopes, axis=1) / local[:, None], seen

    def residual_mm(self, mirror: Mirror) -> float:
        """Return the robust root mean square distance of the head from its mirror image, infinite without overlap."""
        return _REACH_MM * float(np.sqrt(_cost(self.compare(mirror)[0] / _REACH_MM)))


def _cost(distances: np.ndarray) -> float:
    return float(np.log1p(distances**2).mean()) if distances.size else np.inf


def refine(level: Level, start: Mirror, *, degrees: str = "rigid", reach_mm: float) -> Mirror:
    """Return the mirror near ``start`` with the least robust residual (least squares with Cauchy's loss).

    A rigid mirror has one tilt and an offset in plane, two tilts and an offset in space; an affine one has 6 or 12
    numbers.

    Source: ours; Cauchy's loss as in Holland & Welsch 1977, doi:10.1080/03610927708827533.
    """
    made = _rigid if degrees == "rigid" else _affine
    # Residual and Jacobian of the same numbers come from one comparison.
    compared = functools.lru_cache(maxsize=1)(lambda key: level.compare(made(np.frombuffer(key))))

    def distances(numbers: np.ndarray) -> np.ndarray:
        """Return all distances divided by the reach; a point out of view counts as the mean of the others."""
        result, _, seen = compared(numbers.tobytes())
        ratios = result / reach_mm
        # Cauchy's cost of this value is the mean cost of the points in view: leaving the array neither helps nor hurts.
        out = np.full((len(seen), ratios.shape[1]), np.sqrt(np.expm1(min(_cost(ratios), 20.0))))
        out[seen] = ratios
        return out.ravel()

    def slopes(numbers: np.ndarray) -> np.ndarray:
        """Return the derivatives of the distances; the motion of the points is by central differences."""
        _, change, seen = compared(numbers.tobytes())
        points, steps = level.points[seen], 1e-3 * np.eye(len(numbers))
        ends = [(made(numbers + step)(points), made(numbers - step)(points)) for step in steps]
        moved = np.stack([after - before for after, before in ends], axis=-1) / (2e-3 * reach_mm)
        out = np.zeros((len(seen), change.shape[2], len(numbers)))
        out[seen] = change.transpose(0, 2, 1) @ moved
        return out.reshape(-1, len(numbers))

    stop: dict[str, Any] = {"xtol": 1e-3, "ftol": 1e-4, "gtol": None, "max_nfev": 20}
    result = optimize.least_squares(distances, _numbers(start, degrees), jac=slopes, loss="cauchy", **stop)
    return made(result.x)


def _numbers(mirror: Mirror, degrees: str) -> np.ndarray:
    """Return the free parameters of a mirror in mm: how far each moves a point at the head's surface."""
    if degrees == "affine":
        return np.append(mirror.matrix * _RIM_MM, mirror.shift_mm)
    # Angles are scaled to mm at the rim, so that one step of the optimiser means one distance in every number.
    tilts = np.radians([mirror.angle_deg, mirror.roll_deg][: len(mirror.shift_mm) - 1])
    return np.append(tilts * _RIM_MM, mirror.offset_mm)


def _rigid(numbers: np.ndarray) -> Mirror:
    return reflection(np.degrees(numbers[:-1] / _RIM_MM), float(numbers[-1]))


def _affine(numbers: np.ndarray) -> Mirror:
    axes = 2 if len(numbers) == 6 else 3
    return Mirror(numbers[:-axes].reshape(axes, axes) / _RIM_MM, numbers[-axes:])


def itk_mirror(image: np.ndarray, grid: Grid, start: Mirror) -> Mirror:
    """Find a mirror near ``start`` with ITK: Mattes mutual information, regular-step gradient descent.

    The image is flipped along its first axis and registered to the original, affinely in plane, rigidly in space; flip
    and registration together are the map. The first call loads ITK's registration classes, about ten seconds.

    Shapes: ``image`` of the grid's shape, values about 0 to 1. Units: mm.

    Source: Clèrigues 2019, doi:10.1016/j.compbiomed.2019.103487; Clèrigues 2020, doi:10.1016/j.cmpb.2020.105521
    (FLIRT there); Mattes 2003, doi:10.1109/TMI.2003.809072; ``tests/transforms/test_registration.py``.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # ITK's own; raised as errors they crash Python
        import itk

        flip = np.diag([-1.0, *[1.0] * (len(grid.shape) - 1)])
        last = grid.origin_mm[0] + (grid.shape[0] - 1) * grid.spacing_mm[0]
        fixed = _itk_image(itk, image, grid, grid.origin_mm)
        moving = _itk_image(itk, image[::-1], grid, (-last, *grid.origin_mm[1:]))
        transform = _itk_transform(itk, Mirror(flip @ start.matrix, flip @ start.shift_mm))
        _itk_register(itk, fixed, moving, transform)
        matrix = itk.array_from_matrix(transform.GetMatrix())
        return Mirror(flip @ matrix, flip @ np.array(list(transform.GetOffset())))


def _itk_image(itk: Any, values: np.ndarray, grid: Grid, origin_mm: tuple[float, ...]) -> Any:
    image = itk.image_from_array(np.ascontiguousarray(values.T, np.float32) * np.float32(1000.0))
    image.SetSpacing([float(s) for s in grid.spacing_mm])
    image.SetOrigin([float(o) for o in origin_mm])
    return image


def _itk_transform(itk: Any, start: Mirror) -> Any:
    """Return ITK's transform of a point of the head into the flipped head, beginning at ``start``."""
    axes, matrix = len(start.shift_mm), itk.matrix_from_array(start.matrix)
    transform = itk.AffineTransform[itk.D, 2].New() if axes == 2 else itk.Euler3DTransform[itk.D].New()
    transform.SetMatrix(matrix) if axes == 2 else transform.SetMatrix(matrix, 1e-6)
    transform.SetTranslation([float(v) for v in start.shift_mm])
    return transform


def _itk_register(itk: Any, fixed: Any, moving: Any, transform: Any) -> None:
    kind = type(fixed)
    metric = itk.MattesMutualInformationImageToImageMetricv4[kind, kind].New(NumberOfHistogramBins=32)
    metric.SetMaximumNumberOfWorkUnits(1)
    optimiser = itk.RegularStepGradientDescentOptimizerv4[itk.D].New(
        LearningRate=1.0,
        MinimumStepLength=1e-3,
        RelaxationFactor=0.6,
        NumberOfIterations=200,
        ReturnBestParametersAndValue=True,
    )
    optimiser.SetScalesEstimator(itk.RegistrationParameterScalesFromPhysicalShift[type(metric)].New(Metric=metric))
    optimiser.SetDoEstimateLearningRateOnce(False)
    optimiser.SetDoEstimateLearningRateAtEachIteration(False)
    registration = itk.ImageRegistrationMethodv4[kind, kind].New(
        FixedImage=fixed,
        MovingImage=moving,
        Metric=metric,
        InitialTransform=transform,
        InPlace=True,
        Optimizer=optimiser,
    )
    registration.SetNumberOfWorkUnits(1)
    registration.SetNumberOfLevels(2)
    registration.SetShrinkFactorsPerLevel([2, 1])
    registration.SetSmoothingSigmasPerLevel([2.0, 1.0])
    registration.Update()
