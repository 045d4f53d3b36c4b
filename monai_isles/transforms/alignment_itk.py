"""The same alignment with ITK's registration framework: flip the head, then register it to the original in plane."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from monai_isles.transforms.mirror import Mirror, Plane

_FLIP = np.diag([-1.0, 1.0])
_GREY_LEVELS = 1000.0


def itk_mirror(image: np.ndarray, plane: Plane, start: Mirror, *, steps: int = 200) -> Mirror:
    """Return the affine mirror ITK finds near ``start``: Mattes mutual information, regular-step gradient descent.

    The first call loads ITK's registration classes, about ten seconds.
    Shapes: ``image (H, W)``, values about 0 to 1. Units: mm.
    Args:
        start: a mirror within a few mm.
        steps: most iterations of the optimiser.

    Source: Clèrigues 2019, doi:10.1016/j.compbiomed.2019.103487; Mattes 2003, doi:10.1109/TMI.2003.809072.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # ITK's own; raised as errors they crash Python
        import itk

        return _registered(itk, image, plane, start, steps)


def _registered(itk: Any, image: np.ndarray, plane: Plane, start: Mirror, steps: int) -> Mirror:
    kind = itk.Image[itk.F, 2]
    last = np.array(plane.origin_mm) + (np.array(plane.shape) - 1) * plane.spacing_mm
    fixed = _image(itk, image, plane, plane.origin_mm)
    moving = _image(itk, image[::-1], plane, (-last[0], plane.origin_mm[1]))
    transform = _transform(itk, start)
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
    return Mirror(_FLIP @ matrix, _FLIP @ np.array(list(transform.GetOffset())))


def _image(itk: Any, values: np.ndarray, plane: Plane, origin_mm: tuple[float, float]) -> Any:
    image = itk.image_from_array(np.ascontiguousarray(values.T, np.float32) * np.float32(_GREY_LEVELS))
    image.SetSpacing([float(s) for s in plane.spacing_mm])
    image.SetOrigin([float(o) for o in origin_mm])
    return image


def _transform(itk: Any, start: Mirror) -> Any:
    """Return ITK's transform that takes a point of the head into the flipped head as ``start`` says."""
    transform = itk.AffineTransform[itk.D, 2].New()
    transform.SetMatrix(itk.matrix_from_array(_FLIP @ start.matrix))
    transform.SetTranslation([float(v) for v in _FLIP @ start.shift_mm])
    return transform


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
