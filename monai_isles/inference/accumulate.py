"""Sums over overlapping windows, kept in place: their memory depends on the volume, not on how many windows come."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class WindowSums:
    """Add up probabilities, the square of the last class and the number of visits, voxel by voxel.

    Shapes: windows ``(B, K, h, w, d)`` at places in a volume ``(H, W, D)``; K + 2 volumes of float32 are held.
    Source: ours; ``tests/inference/test_accumulate.py``.
    """

    def __init__(self, space: Sequence[int], device: torch.device) -> None:
        self.space, self.device = tuple(space), device
        self._sums: Tensor | None = None

    def add(self, places: Sequence[tuple[slice, ...]], probability: Tensor) -> None:
        """Add one window a place."""
        if self._sums is None:
            self._sums = torch.zeros(probability.shape[1] + 2, *self.space, device=self.device)
        probability = probability.to(self.device)
        last = probability[:, -1:]
        parts = torch.cat([probability, last**2, torch.ones_like(last)], 1)
        for place, part in zip(places, parts, strict=True):
            self._sums[(slice(None), *place)] += part

    def close(self) -> tuple[Tensor, Tensor]:
        """Return the mean ``(K, H, W, D)`` and the standard deviation ``(1, H, W, D)`` of the last class; 0 unvisited.

        The sums become the results: nothing may be added afterwards. Without any window there are two classes.
        """
        sums = torch.zeros(4, *self.space, device=self.device) if self._sums is None else self._sums
        sums[:-1] /= sums[-1].clamp_min_(1)
        mean, square = sums[:-2], sums[-2:-1]
        return mean, square.sub_(mean[-1:] ** 2).clamp_min_(0).sqrt_()
