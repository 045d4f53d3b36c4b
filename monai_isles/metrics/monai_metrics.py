"""Thin MONAI metrics over the plain functions, with the written rules for empty masks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from monai.data import MetaTensor
from monai.metrics import CumulativeIterationMetric
from torch import Tensor

from monai_isles.errors import IslesError
from monai_isles.metrics.overlap import dsc
from monai_isles.metrics.surface import hd_mm


class LesionDice(CumulativeIterationMetric):
    """Average the Dice of the lesion over cases; both empty 1, one empty 0, no case dropped.

    Shapes: prediction and label ``(N, 1, H, W, D)`` or ``(N, 1, H, W)``, binary; ``(N, 1)`` a call, one number from
    ``aggregate``.

    Raises:
        IslesError: ``E-MET-02`` not binary, ``E-MET-08`` shapes, ``E-MET-09`` ``aggregate`` before any case.

    Source: ``monai_isles.metrics.dsc``.
    """

    def _compute_tensor(self, y_pred: Tensor, y: Tensor | None = None, **kwargs: object) -> Tensor:
        return _score_each(y_pred, y, lambda pred, ref: dsc(_plain(pred), _plain(ref)))

    def aggregate(self) -> Tensor:
        """Return the mean over all cases."""
        return _all_scores(self).mean()


class LesionHausdorff(CumulativeIterationMetric):
    """Average the Hausdorff distance of the lesion in mm over the cases that have one.

    Spacing comes from the label's ``MetaTensor.pixdim``, 1 mm without it. A case with one empty mask has no distance:
    nan in ``get_buffer()``, counted by ``undefined()``.

    Shapes and raises: ``LesionDice``. Units: mm.
    Source: ``monai_isles.metrics.hd_mm``.
    """

    def _compute_tensor(self, y_pred: Tensor, y: Tensor | None = None, **kwargs: object) -> Tensor:
        return _score_each(y_pred, y, lambda pred, ref: hd_mm(_plain(pred)[0], _plain(ref)[0], _spacing_mm(ref)))

    def aggregate(self) -> Tensor:
        """Return the mean over the cases with a distance, nan when there is none."""
        return _all_scores(self).nanmean()

    def undefined(self) -> int:
        """Count the cases without a distance."""
        return int(_all_scores(self).isnan().sum())


def _score_each(y_pred: Tensor, y: Tensor | None, score: Callable[[Tensor, Tensor], float]) -> Tensor:
    if y is None or y.shape != y_pred.shape or y_pred.ndim < 4 or y_pred.shape[1] != 1:
        raise IslesError(
            "E-MET-08",
            "one lesion channel wanted",
            where="prediction against label",
            found=f"{tuple(y_pred.shape)} and {None if y is None else tuple(y.shape)}",
            fix="binarise the lesion probability first, both (N, 1, H, W, D)",
        )
    scores = [score(pred, ref) for pred, ref in zip(y_pred, y, strict=True)]
    return torch.tensor(scores, dtype=torch.float64).reshape(-1, 1)


def _all_scores(metric: CumulativeIterationMetric) -> Tensor:
    scores = metric.get_buffer()
    if not isinstance(scores, Tensor):
        raise IslesError(
            "E-MET-09",
            "nothing was scored",
            where=type(metric).__name__,
            found="no case since the last reset",
            fix="give the metric at least one batch before aggregate",
        )
    return scores


def _spacing_mm(ref: Tensor) -> list[float]:
    ndim = ref.ndim - 1
    return [float(size) for size in ref.pixdim[:ndim]] if isinstance(ref, MetaTensor) else [1.0] * ndim


def _plain(tensor: Tensor) -> np.ndarray:
    return np.asarray(tensor.detach().cpu())
