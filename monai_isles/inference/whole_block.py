"""The block of a volume that holds the brain, in sizes that a network can halve."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor
from torch.nn import functional as F


def brain_box(mask: np.ndarray, margin_vox: Sequence[int]) -> tuple[slice, slice]:
    """Return rows and columns of the brain over all slices with a margin, within the image; all without brain.

    Shapes: ``mask`` (H, W, D).
    Source: ours; ``tests/inference/test_whole_block.py``.
    """
    box = []
    for axis, margin in enumerate(margin_vox):
        held = np.flatnonzero(mask.any(axis=(1 - axis, 2)))
        first, last = (held[0], held[-1]) if len(held) else (0, mask.shape[axis] - 1)
        box.append(slice(max(0, int(first) - margin), min(mask.shape[axis], int(last) + margin + 1)))
    return tuple(box)


def filled_up(image: Tensor, mask: np.ndarray, divisor: int) -> tuple[Tensor, np.ndarray]:
    """Return both with zeros after rows and columns up to multiples of ``divisor``.

    Shapes: image ``(C, H, W, D)``, mask ``(H, W, D)``.
    Source: ours; ``tests/inference/test_whole_block.py``.
    """
    lack = [-size % divisor for size in image.shape[1:3]]
    image = F.pad(image, (0, 0, 0, lack[1], 0, lack[0]))
    return image, np.pad(mask, ((0, lack[0]), (0, lack[1]), (0, 0)))
