"""Where sliding windows lie, how many there are, and how many fit into one forward pass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from monai_isles.errors import IslesError

COVERS = ("centre", "touch")


def window_starts(foreground: np.ndarray, roi: Sequence[int], step: Sequence[int], cover: str = "centre") -> np.ndarray:
    """Return the first voxel of every window of a regular grid that is worth its time.

    The grid has one window a step-sized cell, centred on the cell and shifted inwards at the border, so each voxel is
    covered whatever the step, and between neighbouring windows lies exactly ``step``.

    Shapes: ``foreground`` (H, W, D); (n, 3) out, in the order of the array.
    Args:
        cover: ``"centre"`` takes the windows whose cell holds foreground; ``"touch"`` takes every window that reaches a
            voxel of the foreground: there the average over these windows is the average over all of the grid.
    Raises:
        IslesError: ``E-INF-02`` when the volume is smaller than a window, ``E-INF-03`` for a step that leaves gaps,
            ``E-INF-20`` for another cover.
    Source: ours (MONAI turns an overlap into ``int(roi * (1 - overlap))``, off by one for a quarter of the steps);
    ``tests/inference/test_windows.py``, ``tests/inference/test_windows_plan.py``.
    """
    size, roi_, step_ = np.array(foreground.shape), np.array(roi), np.array(step)
    if (size < roi_).any():
        raise IslesError(
            "E-INF-02",
            "volume smaller than the window",
            where="StepSlidingWindowInferer",
            found=f"{tuple(size.tolist())} voxels against a window of {tuple(roi_.tolist())}",
            fix="pad the volume by half a window first (BorderPadd)",
        )
    require_no_gaps(roi, step)
    require_cover(cover)
    if cover == "touch":
        return _touching(foreground, roi, step)
    cells = np.unique(np.argwhere(foreground) // step_, axis=0)
    return np.clip(cells * step_ + step_ // 2 - roi_ // 2, 0, size - roi_)


def count_windows(foreground: np.ndarray, roi: Sequence[int], step: Sequence[int], cover: str | None = "centre") -> int:
    """Return how many windows ``window_starts`` gives; None as ``cover`` counts the whole grid.

    Raises:
        IslesError: as ``window_starts``.
    Source: ours; ``tests/inference/test_windows_plan.py``.
    """
    if cover is None:
        return int(np.prod([len(grid_axis(n, r, s)) for n, r, s in zip(foreground.shape, roi, step, strict=True)]))
    return len(window_starts(foreground, roi, step, cover))


def grid_axis(size: int, roi: int, step: int) -> np.ndarray:
    """Return where the windows of the regular grid start along one axis."""
    cells = np.arange(-(-size // step))
    return np.unique(np.clip(cells * step + step // 2 - roi // 2, 0, size - roi))


def _touching(foreground: np.ndarray, roi: Sequence[int], step: Sequence[int]) -> np.ndarray:
    reached = np.asarray(foreground, bool)
    axes = [grid_axis(n, r, s) for n, r, s in zip(foreground.shape, roi, step, strict=True)]
    for axis, (starts, width) in enumerate(zip(axes, roi, strict=True)):
        along = np.moveaxis(reached, axis, 0)
        reached = np.moveaxis(np.stack([along[a : a + width].any(axis=0) for a in starts]), 0, axis)
    found = np.argwhere(reached)
    return np.stack([starts[found[:, axis]] for axis, starts in enumerate(axes)], axis=1)


def windows_at_once(network: nn.Module, window: Tensor, *, most: int, memory_mb: float) -> int:
    """Return how many windows a forward pass may take: ``most``, or fewer where their layers' outputs need the memory.

    One window goes through the network once; what every layer puts out is added up, an upper bound of what lives at
    the same time.

    Shapes: ``window`` (1, C, *roi). Units: ``memory_mb`` in MB, 1e6 bytes.
    Source: ours; ``tests/inference/test_windows_plan.py``.
    """
    need = [window.numel() * window.element_size()]

    def note(module: nn.Module, inputs: object, output: object) -> None:
        if isinstance(output, Tensor):
            need.append(output.numel() * output.element_size())

    leaves = [module for module in network.modules() if not any(True for _ in module.children())]
    handles = [module.register_forward_hook(note) for module in leaves]
    try:
        with torch.inference_mode():
            network(window)
    finally:
        for handle in handles:
            handle.remove()
    return int(min(most, max(1, memory_mb * 1e6 // sum(need))))


def require_no_gaps(roi: Sequence[int], step: Sequence[int]) -> None:
    """Refuse a step below 1 or above the window (``E-INF-03``)."""
    if any(not 1 <= s <= r for s, r in zip(step, roi, strict=True)):
        raise IslesError(
            "E-INF-03",
            "windows would leave gaps",
            where="StepSlidingWindowInferer",
            found=f"a step of {tuple(step)} with a window of {tuple(roi)}",
            fix="take a step of at least 1 and at most the window on every axis",
        )


def require_cover(cover: str) -> None:
    """Refuse a choice of windows that is not known (``E-INF-20``)."""
    if cover not in COVERS:
        raise IslesError(
            "E-INF-20",
            "choice of windows not known",
            where="StepSlidingWindowInferer",
            found=repr(cover),
            fix=f"use one of {', '.join(COVERS)}",
        )
