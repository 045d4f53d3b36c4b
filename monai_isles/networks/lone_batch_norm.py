"""Batch normalisation that survives a batch with one value a channel."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class _Lone:
    def forward(self, x: Tensor) -> Tensor:
        from_batch = self.training and x.numel() > x.shape[1]
        if from_batch and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        momentum = 0.1 if self.momentum is None else self.momentum
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, from_batch, momentum, self.eps
        )


class LoneBatchNorm2d(_Lone, nn.BatchNorm2d):
    """Normalise a batch that holds a single value a channel by the running statistics, also while training.

    One value has no variance: torch refuses it, and its own mean would erase it. Such a batch (one slice pooled to 1x1)
    is normalised as in evaluation and leaves the statistics as they are; if every batch is one, they stay at mean 0 and
    variance 1, in training as in evaluation, and scale and shift alone are learned.

    Shapes: ``(N, C, H, W)`` in and out. Equal to ``torch.nn.BatchNorm2d`` wherever ``N * H * W > 1``.
    Source: ours; ``tests/networks/test_lone_batch_norm.py``.
    """


class LoneBatchNorm3d(_Lone, nn.BatchNorm3d):
    """Do for volumes what ``LoneBatchNorm2d`` does for slices. Shapes: ``(N, C, H, W, D)`` in and out."""
