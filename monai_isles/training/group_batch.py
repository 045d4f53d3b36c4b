"""One batch over several processes: who computes what, and what each loss weighs."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from monai.engines.utils import default_prepare_batch
from torch import Tensor, nn

from monai_isles.networks.batch_share import SHARE


class GroupBatch:
    """Prepare a process's part of a batch as MONAI does, and tell the shared layers how the batch is divided.

    A process without any item of the batch computes on the first item it ever had, which ``batch_share`` counts
    nowhere. Give it to the trainer as ``prepare_batch``; evaluators take MONAI's own.

    Source: ours; ``tests/training/test_two_processes.py``.
    """

    def __init__(self) -> None:
        self._spare: tuple[Tensor, Tensor] | None = None

    def __call__(
        self,
        batch: Mapping[str, Tensor],
        device: torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: object,
    ) -> tuple[Tensor, Tensor]:
        image, label = default_prepare_batch(batch, device, non_blocking, **kwargs)
        if "total" not in batch:
            SHARE.rest()
            return image, label
        SHARE.divide(len(image), int(batch["total"]))
        if self._spare is None:
            self._spare = image[:1].clone(), label[:1].clone()
        return (image, label) if SHARE.counts else self._spare


class GroupLoss(nn.Module):
    """Weigh a loss that averages over items, so that the mean over the processes is that over the whole batch.

    A loss that is no such average (one pooled over the batch) becomes the mean of the processes' pooled losses.

    Args:
        loss: the loss of one process.
    Source: ours; ``tests/training/test_two_processes.py``.
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, output: object, target: Tensor) -> Tensor:
        return self.loss(output, target) * SHARE.weight
