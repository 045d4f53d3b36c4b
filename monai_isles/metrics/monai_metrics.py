"""Wrap the plain metric functions as MONAI metrics, with the same rules for empty masks."""

from __future__ import annotations

import numpy as np
import torch
from ignite.exceptions import NotComputableError
from ignite.metrics import Metric
from ignite.metrics.metric import reinit__is_reduced, sync_all_reduce
from monai.metrics import CumulativeIterationMetric
from torch import Tensor

from monai_isles.errors import refused
from monai_isles.metrics.overlap import dsc


class L1ErrorRate(Metric):
    """Average ``|softmax(logits) - one-hot|`` over voxels and classes and add ``1 - accuracy`` of the argmax.

    Lower is better, 0..2. Sums run over voxels in float64, so the result does not depend on how patches were batched.

    Shapes: ``update((logits, label))`` with logits ``(N, K, ...)`` and label ``(N, 1, ...)`` or ``(N, ...)``.
    Args:
        output_transform, device: as for ignite's ``Metric``; the default is the CPU, as some accelerators lack float64.
    Raises:
        IslesError: ``E-MET-05`` shapes, ``E-MET-06`` a label that is not a class, ``E-MET-07`` logits not finite.
        NotComputableError: ``compute`` before any ``update``.
    Source: Clerigues 2019, section 3.3; the sum and its averaging as in ``docs/evaluation.md``.

    >>> rate = L1ErrorRate()
    >>> rate.update((torch.tensor([[[20.0], [-20.0]]]), torch.tensor([[[0.0]]])))
    >>> round(float(rate.compute()), 4)
    0.0
    """

    @reinit__is_reduced
    def reset(self) -> None:
        self._l1, self._wrong, self._voxels = torch.zeros(3, dtype=torch.float64, device=self._device)

    @reinit__is_reduced
    def update(self, output: tuple[Tensor, Tensor]) -> None:
        logits, label = (torch.as_tensor(part).detach() for part in output)
        label = _classes(logits, label)
        probability = torch.softmax(logits.float(), dim=1)
        # |p - one-hot| is 1 - p in the true class and p in every other, so no one-hot tensor is needed
        of_truth = probability.gather(1, label[:, None])[:, 0]
        on_truth = label.numel() - of_truth.sum(dtype=torch.float64)
        elsewhere = probability.sum(dtype=torch.float64) - of_truth.sum(dtype=torch.float64)
        l1 = (on_truth + elsewhere) / logits.shape[1]
        if not bool(torch.isfinite(l1)):
            raise refused("E-MET-07", where="L1ErrorRate", found=f"{int((~torch.isfinite(logits)).sum())} values")
        self._l1 += l1.to(self._device)
        self._wrong += (logits.argmax(dim=1) != label).sum().to(self._device)
        self._voxels += label.numel()

    @sync_all_reduce("_l1", "_wrong", "_voxels")
    def compute(self) -> float:
        """Return the value over every voxel seen since ``reset``."""
        if self._voxels == 0:
            raise NotComputableError(f"{type(self).__name__} needs at least one batch before compute")
        return self._value()

    def _value(self) -> float:
        return float((self._l1 + self._wrong) / self._voxels)


def _classes(logits: Tensor, label: Tensor) -> Tensor:
    if label.ndim == logits.ndim and label.shape[1] == 1:
        label = label[:, 0]
    if logits.ndim < 2 or label.shape != logits.shape[:1] + logits.shape[2:]:
        raise refused("E-MET-05", where="L1ErrorRate", found=f"{tuple(logits.shape)} and {tuple(label.shape)}")
    # a label may come as float32: compare it with its integer part before it serves as an index
    whole = label.long()
    if not bool(((whole == label) & (whole >= 0) & (whole < logits.shape[1])).all()):
        found = f"values {float(label.min()):.6g} to {float(label.max()):.6g}"
        raise refused("E-MET-06", where="L1ErrorRate", found=found, logits=logits.shape[1] - 1)
    return whole.to(logits.device)


class VoxelAccuracy(L1ErrorRate):
    """Compute the share of voxels whose argmax is the label: the accuracy of the paper's Figure 3.

    Shapes, units and errors: as ``L1ErrorRate``.

    >>> accuracy = VoxelAccuracy()
    >>> accuracy.update((torch.tensor([[[2.0, 2.0], [-2.0, -2.0]]]), torch.tensor([[[0.0, 1.0]]])))
    >>> accuracy.compute()
    0.5
    """

    def _value(self) -> float:
        return 1.0 - float(self._wrong / self._voxels)


class LesionDice(CumulativeIterationMetric):
    """Average the Dice of the lesion over cases; both empty 1, one empty 0, no case dropped.

    Shapes: prediction and label ``(N, 1, H, W, D)`` or ``(N, 1, H, W)``, binary; ``(N, 1)`` a call, one number from
    ``aggregate``.
    Raises: ``E-MET-02`` not binary, ``E-MET-08`` shapes, ``E-MET-09`` ``aggregate`` before any case.
    Source: ``monai_isles.metrics.dsc``.

    >>> dice = LesionDice()
    >>> _ = dice(torch.ones(1, 1, 2, 2), torch.tensor([[[[1.0, 1.0], [0.0, 0.0]]]]))
    >>> round(float(dice.aggregate()), 4)
    0.6667
    """

    def _compute_tensor(self, y_pred: Tensor, y: Tensor | None = None, **kwargs: object) -> Tensor:
        if y is None or y.shape != y_pred.shape or y_pred.ndim < 4 or y_pred.shape[1] != 1:
            found = f"{tuple(y_pred.shape)} and {None if y is None else tuple(y.shape)}"
            raise refused("E-MET-08", where="prediction against label", found=found)
        # case by case, because the rules for empty masks hold for one pair and not for a batch
        masks = (np.asarray(part.detach().cpu()) for part in (y_pred, y))
        scores = [dsc(pred, ref) for pred, ref in zip(*masks, strict=True)]
        return torch.tensor(scores, dtype=torch.float64).reshape(-1, 1)

    def aggregate(self) -> Tensor:
        scores = self.get_buffer()
        if not isinstance(scores, Tensor):
            raise refused("E-MET-09", where=type(self).__name__, found="no case since the last reset")
        return scores.mean()
