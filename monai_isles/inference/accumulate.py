"""Sums over overlapping windows, kept in place: their memory depends on the volume, not on how many windows come."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class PassSums:
    """Add up the softmax of several passes over the same windows, before they go to their places.

    Of two classes only the last is kept: the sigmoid of the difference of the logits, which is the softmax.

    Shapes: logits ``(n, K, *roi)`` in; ``total`` (n, parts, *roi): K classes, or the last of two, the square of the
    last, and how many passes came.
    Source: ours; ``tests/inference/test_accumulate.py``.
    """

    def __init__(self) -> None:
        self.total: Tensor | None = None

    def add(self, logits: Tensor) -> None:
        """Add one pass."""
        logits = logits.float()
        if logits.shape[1] == 2:
            probability = torch.sub(logits[:, 1], logits[:, 0]).sigmoid_()[:, None]
        else:
            probability = logits.softmax(1)
        if self.total is None:
            parts = probability.shape[1] + 2
            self.total = probability.new_zeros(len(logits), parts, *logits.shape[2:])
        self.total[:, :-2] += probability
        self.total[:, -2].addcmul_(probability[:, -1], probability[:, -1])
        self.total[:, -1] += 1


class WindowSums:
    """Add up the sums of windows, voxel by voxel.

    Shapes: a volume ``(H, W, D)``; windows ``(n, parts, *roi)`` of ``PassSums``; K + 2 volumes of float32 are held, 3
    where there are two classes.
    Args:
        flat: windows are one slice thick.
    Source: ours; ``tests/inference/test_accumulate.py``.
    """

    def __init__(self, space: Sequence[int], device: torch.device, *, flat: bool = False) -> None:
        self.axes = (2, 0, 1) if flat else (0, 1, 2)
        self.flat, self.device = flat, device
        self.space = tuple(space[axis] for axis in self.axes)
        self._sums: Tensor | None = None

    def add(self, starts: np.ndarray, parts: Tensor) -> None:
        """Add windows whose first voxels are ``starts`` (n, 3)."""
        if self._sums is None:
            self._sums = torch.zeros(parts.shape[1], *self.space, device=self.device)
        roi = parts.shape[2:]
        for (i, j, k), part in zip(starts[:, self.axes].tolist(), parts.to(self.device), strict=True):
            if self.flat:
                self._sums[:, i, j : j + roi[0], k : k + roi[1]] += part
            else:
                self._sums[:, i : i + roi[0], j : j + roi[1], k : k + roi[2]] += part

    def close(self) -> tuple[Tensor, Tensor]:
        """Return the mean ``(K, H, W, D)`` and the standard deviation ``(1, H, W, D)`` of the last class; 0 unvisited.

        The sums become the results: nothing may be added afterwards. Without any window there are two classes.
        """
        sums = torch.zeros(3, *self.space, device=self.device) if self._sums is None else self._sums
        seen = sums[-1:] > 0
        sums[:-1] /= sums[-1].clamp_min(1)
        mean, square = sums[:-2], sums[-2:-1]
        deviation = square.sub_(mean[-1:] ** 2).clamp_min_(0).sqrt_()
        mean = torch.cat([torch.where(seen, 1 - mean, 0), mean]) if len(mean) == 1 else mean
        back = [1 + self.axes.index(axis) for axis in range(3)]
        return mean.permute(0, *back).contiguous(), deviation.permute(0, *back).contiguous()
