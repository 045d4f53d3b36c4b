"""The linear registration of the flipped volume with ITK's framework, rigid in three dimensions."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from monai_isles.transforms.mirror import Grid, VolumeMirror

_FLIP = np.diag([-1.0, 1.0, 1.0])
_GREY_LEVELS = 1000.0


def itk_volume_mirror(volume: np.ndarray, grid: Grid, start: VolumeMirror, *, steps: int = 100) -> VolumeMirror:
    """Return the mirror ITK finds near ``start``: Mattes mutual information, regular-step gradient descent.

    The volume is flipped along its first axis and registered rigidly to the original; flip and registration together
    are the map. The first call loads ITK's registration classes, about ten seconds.
    Shapes: ``volume (H, W, D)``, values about 0 to 1, at reduced resolution. Units: mm.
    Args:
        start: a mirror within a few mm.
        steps: most iterations of the optimiser at each of two levels.

    Source: Clèrigues 2020, doi:10.1016/j.cmpb.2020.105521, section 3.1 (linear registration, FLIRT there);
    Mattes 2003, doi:10.1109/TMI.2003.809072; ``tests/transforms/test_registration_volume.py``.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # ITK's own; raised as errors they crash Python
        import itk

        return _registered(itk, volume, grid, start, steps)


def _registered(itk: Any, volume: np.ndarray, grid: Grid, start: VolumeMirror, steps: int) -> VolumeMirror:
    kind = itk.Image[itk.F, 3]
    last = grid.origin_mm[0] + (grid.shape[0] - 1) * grid.spacing_mm[0]
    fixed = _image(itk, volume, grid, grid.origin_mm)
    moving = _image(itk, volume[::-1], grid, (-last, *grid.origin_mm[1:]))
    transform = itk.Euler3DTransform[itk.D].New()
    transform.SetMatrix(itk.matrix_from_array(_FLIP @ start.matrix), 1e-6)
    transform.SetTranslation([float(v) for v in _FLIP @ start.shift_mm])
    metric = itk.MattesMutualInformationImageToImageMetricv4[kind, kind].New(NumberOfHistogramBins=32)
    metric.SetMaximumNumberOfWorkUnits(1)
    registration = itk.ImageRegistrationMethodv4[kind, kind].New(
        FixedImage=fixed,
        MovingImage=moving,
        Metric=metric,
        InitialTransform=transform,
        InPlace=True,
        Optimizer=_optimiser(itk, metric, steps),
    )
    registration.SetNumberOfWorkUnits(1)
    registration.SetNumberOfLevels(2)
    registration.SetShrinkFactorsPerLevel([2, 1])
    registration.SetSmoothingSigmasPerLevel([2.0, 1.0])
    registration.Update()
    matrix = itk.array_from_matrix(transform.GetMatrix())
    return VolumeMirror(_FLIP @ matrix, _FLIP @ np.array(list(transform.GetOffset())))


def _image(itk: Any, values: np.ndarray, grid: Grid, origin_mm: tuple[float, ...]) -> Any:
    image = itk.image_from_array(np.ascontiguousarray(values.T, np.float32) * np.float32(_GREY_LEVELS))
    image.SetSpacing([float(s) for s in grid.spacing_mm])
    image.SetOrigin([float(o) for o in origin_mm])
    return image


def _optimiser(itk: Any, metric: Any, steps: int) -> Any:
    scales = itk.RegistrationParameterScalesFromPhysicalShift[type(metric)].New(Metric=metric)
    optimiser = itk.RegularStepGradientDescentOptimizerv4[itk.D].New(
        LearningRate=1.0,
        MinimumStepLength=1e-3,
        RelaxationFactor=0.6,
        NumberOfIterations=steps,
        ReturnBestParametersAndValue=True,
    )
    optimiser.SetScalesEstimator(scales)
    optimiser.SetDoEstimateLearningRateOnce(False)
    optimiser.SetDoEstimateLearningRateAtEachIteration(False)
    return optimiser
