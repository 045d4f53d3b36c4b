"""Thin MONAI metrics over the plain functions, with the written rules for empty masks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from ignite.exceptions import NotComputableError
from ignite.metrics import Metric
from ignite.metrics.metric import reinit__is_reduced, sync_all_reduce
from monai.data import MetaTensor
from monai.metrics import CumulativeIterationMetric
from torch import Tensor

from monai_isles.errors import IslesError
from monai_isles.metrics.overlap import dsc
from monai_isles.metrics.surface import hd_mm


class L1ErrorRate(Metric):
    """Average ``|softmax(logits) - one-hot|`` over voxels and classes and add ``1 - accuracy`` of the argmax.

    Lower is better, 0..2. Sums run over voxels in float64, so the result does not depend on how patches were batched.

    Shapes: ``update((logits, label))`` with logits ``(N, K, ...)`` and label ``(N, 1, ...)`` or ``(N, ...)``.
    Units: none.

    Args:
        output_transform: turns the engine's output into ``(logits, label)``.
        device: where the sums live; the processor by default, float64 being unknown to some accelerators.

    Raises:
        IslesError: ``E-MET-05`` shapes, ``E-MET-06`` a label that is not a class, ``E-MET-07`` logits not finite.
        NotComputableError: ``compute`` before any ``update``.

    Source: Clerigues 2019, section 3.3; the sum and its averaging as in ``docs/evaluation.md``.
    """

    def __init__(self, output_transform: Callable = lambda output: output, device: str | torch.device = "cpu") -> None:
        super().__init__(output_transform=output_transform, device=device)

    @reinit__is_reduced
    def reset(self) -> None:
        """Forget every batch."""
        self._l1 = torch.zeros((), dtype=torch.float64, device=self._device)
        self._wrong = torch.zeros((), dtype=torch.float64, device=self._device)
        self._voxels = torch.zeros((), dtype=torch.float64, device=self._device)

    @reinit__is_reduced
    def update(self, output: tuple[Tensor, Tensor]) -> None:
        """Add one batch of ``(logits, label)``."""
        logits, label = (torch.as_tensor(part).detach() for part in output)
        label = _classes(logits, label)
        probability = torch.softmax(logits.float(), dim=1)
        of_truth = probability.gather(1, label[:, None])[:, 0]
        on_truth = label.numel() - of_truth.sum(dtype=torch.float64)
        elsewhere = probability.sum(dtype=torch.float64) - of_truth.sum(dtype=torch.float64)
        l1 = (on_truth + elsewhere) / logits.shape[1]
        if not bool(torch.isfinite(l1)):
            raise IslesError(
                "E-MET-07",
                "logits are not finite",
                where="L1ErrorRate",
                found=f"{int((~torch.isfinite(logits)).sum())} values",
                fix="stop the training and go back to the last good checkpoint",
            )
        self._l1 += l1.to(self._device)
        self._wrong += (logits.argmax(dim=1) != label).sum().to(self._device)
        self._voxels += label.numel()

    @sync_all_reduce("_l1", "_wrong", "_voxels")
    def compute(self) -> float:
        """Return the value over every voxel seen since ``reset``."""
        if self._voxels == 0:
            raise NotComputableError("L1ErrorRate needs at least one batch before compute")
        return float((self._l1 + self._wrong) / self._voxels)


def _classes(logits: Tensor, label: Tensor) -> Tensor:
    if label.ndim == logits.ndim and label.shape[1] == 1:
        label = label[:, 0]
    if logits.ndim < 2 or label.shape != logits.shape[:1] + logits.shape[2:]:
        raise IslesError(
            "E-MET-05",
            "logits and label do not fit",
            where="L1ErrorRate",
            found=f"{tuple(logits.shape)} and {tuple(label.shape)}",
            fix="give logits (N, K, ...) and one class index a voxel",
        )
    whole = label.long()
    if not bool(((whole == label) & (whole >= 0) & (whole < logits.shape[1])).all()):
        raise IslesError(
            "E-MET-06",
            "label is not a class index",
            where="L1ErrorRate",
            found=f"values {float(label.min()):.6g} to {float(label.max()):.6g}",
            fix=f"use whole numbers 0..{logits.shape[1] - 1}",
        )
    return whole.to(logits.device)


class VoxelAccuracy(L1ErrorRate):
    """Share of voxels whose argmax is the label: the accuracy of the paper's Figure 3.

    Shapes, units and errors: as ``L1ErrorRate``.
    """

    @sync_all_reduce("_wrong", "_voxels")
    def compute(self) -> float:
        """Return the value over every voxel seen since ``reset``."""
        if self._voxels == 0:
            raise NotComputableError("VoxelAccuracy needs at least one batch before compute")
        return 1.0 - float(self._wrong / self._voxels)


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
