"""How the present batch is divided among the processes of a training: process-wide, like the process group itself."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


class BatchShare:
    """What this process holds of the present batch.

    ``here`` of the ``total`` items are its own: those at ``rank``, ``rank + world`` and so on. A process that the last
    batch of an epoch leaves without any computes on a stand-in, so that all take part in what they do together; the
    stand-in ``counts`` nowhere: not in the loss, not in the gradients, not in any statistics.
    """

    def __init__(self) -> None:
        self.rank, self.world, self.here, self.total = 0, 1, 0, 0

    def divide(self, here: int, total: int) -> None:
        """State the division of the next batch."""
        self.rank, self.world = dist.get_rank(), dist.get_world_size()
        self.here, self.total = here, total

    def rest(self) -> None:
        """Return to a process that has its batches to itself."""
        self.__init__()

    @property
    def counts(self) -> bool:
        """False while this process computes on a stand-in."""
        return self.here > 0

    @property
    def weight(self) -> float:
        """What the mean over this process's items is multiplied by, so that the mean over the processes is the mean
        over all items: ``here * world / total``."""
        return self.here * self.world / self.total if self.world > 1 else 1.0


SHARE = BatchShare()


class GroupSum(torch.autograd.Function):
    """Sum a tensor over all processes, in the order of their ranks: the same bits everywhere; gradients likewise."""

    @staticmethod
    def forward(ctx: object, values: Tensor) -> Tensor:
        return gathered(values).sum(0)

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return gathered(gradient).sum(0)


def gathered(values: Tensor) -> Tensor:
    """Return the tensors of all processes, which have one shape: ``(world, *values.shape)``."""
    parts = [torch.empty_like(values, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, values.contiguous())
    return torch.stack(parts)
