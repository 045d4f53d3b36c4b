"""Dropout masks that depend on the seed, the window's place and the pass alone, at an eighth of torch's price."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from monai_isles.networks.blocks import PredictionDropout

_BITS = 16


class WindowMasks:
    """Draw the masks of a group of windows, all passes at once, and lay them into the sites of a network.

    Sixteen random bits decide an element. Every window has a generator of its own, seeded with its first voxel, so the
    masks do not change with the windows a pass, the cover or the other windows; networks of an ensemble share them.

    Args:
        sizes: shape of what enters each site for one window, ``(C, *spatial)``.
        passes: forward passes a window.
        rate: probability of dropping one element.
    Source: ours; ``tests/inference/test_window_masks.py``.
    """

    def __init__(self, sizes: Sequence[Sequence[int]], passes: int, rate: float, seed: int) -> None:
        self.sizes, self.passes, self.rate, self.seed = [tuple(s) for s in sizes], passes, rate, seed
        self.ends = np.cumsum([int(np.prod(s)) for s in self.sizes]).tolist()
        self.dropped = round(rate * 2**_BITS) - 2 ** (_BITS - 1)  # signed numbers below this are dropped

    def draw(self, starts: np.ndarray) -> Tensor:
        """Return the bits of windows that start there, ``(n, passes, elements)`` of int16."""
        wanted = self.passes * self.ends[-1]
        words = [np.random.SFC64([self.seed, *start]).random_raw(-(-wanted // 4)) for start in starts.tolist()]
        bits = np.stack(words).view(np.int16)[:, :wanted]
        return torch.from_numpy(bits).reshape(len(starts), self.passes, -1)

    def lay(self, bits: Tensor, turn: int, sites: Sequence[PredictionDropout]) -> None:
        """Give the sites the masks of pass ``turn``."""
        kept = torch.empty(bits[:, turn].shape, dtype=torch.float32)
        masks = torch.ge(bits[:, turn], self.dropped, out=kept).mul_(1 / (1 - self.rate))
        for site, size, end in zip(sites, self.sizes, self.ends, strict=True):
            part = masks[:, end - int(np.prod(size)) : end]
            site.mask = part.unflatten(1, (*size[1:], size[0])).movedim(-1, 1)


def site_sizes(network: nn.Module, window: Tensor) -> list[tuple[int, ...]]:
    """Return the shape of what enters each dropout site of a network for one window, without the batch axis.

    Shapes: ``window`` (1, C, *spatial).
    """
    sizes: list[tuple[int, ...]] = []
    sites = [module for module in network.modules() if isinstance(module, PredictionDropout)]
    handles = [s.register_forward_pre_hook(lambda _, given: sizes.append(tuple(given[0].shape[1:]))) for s in sites]
    try:
        network(window)
    finally:
        for handle in handles:
            handle.remove()
    return sizes
