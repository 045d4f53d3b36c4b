"""Pad an input to sizes that a network can halve, and crop its output back."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def padded_to(x: Tensor, multiple: list[int]) -> tuple[Tensor, list[int]]:
    """Return ``x`` with zeros after its end, up to the next multiples, and its own sizes for ``cropped_to``.

    Shapes: ``(N, C, *spatial)`` in; out each spatial size is the next multiple of its entry in ``multiple``.
    Args:
        multiple: one number for each spatial axis; 1 leaves that axis as it is.
    Source: ours; ``tests/networks/test_sizes.py``.
    """
    sizes = [x.shape[axis + 2] for axis in range(len(multiple))]
    pad: list[int] = []
    for axis in range(len(multiple) - 1, -1, -1):
        pad += [0, -sizes[axis] % multiple[axis]]
    return F.pad(x, pad), sizes


def cropped_to(x: Tensor, sizes: list[int]) -> Tensor:
    """Return the first ``sizes`` voxels of each spatial axis: the inverse of ``padded_to``.

    Shapes: ``(N, C, *spatial)`` in, ``(N, C, *sizes)`` out.
    """
    for axis, size in enumerate(sizes):
        x = x.narrow(axis + 2, 0, size)
    return x
