"""Plan sliding windows: their places, their number, and how many fit into one forward pass."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from monai_isles.errors import refused
from monai_isles.networks.blocks import PredictionDropout


def brain_box(mask: np.ndarray, margin_vox: Sequence[int]) -> tuple[slice, slice]:
    """Return rows and columns of the brain of a mask (H, W, D) with a margin, within the image; all without brain."""
    box = []
    for axis, margin in enumerate(margin_vox):
        held = np.flatnonzero(mask.any(axis=(1 - axis, 2)))
        first, last = (held[0], held[-1]) if len(held) else (0, mask.shape[axis] - 1)
        box.append(slice(max(0, int(first) - margin), min(mask.shape[axis], int(last) + margin + 1)))
    return box[0], box[1]


def filled_up(image: Tensor, mask: np.ndarray, divisor: int) -> tuple[Tensor, np.ndarray]:
    """Return image and mask padded with zeros at the ends of rows and columns to multiples of ``divisor``."""
    lack = [-size % divisor for size in image.shape[1:3]]
    image = F.pad(image, (0, 0, 0, lack[1], 0, lack[0]))
    return image, np.pad(mask, ((0, lack[0]), (0, lack[1]), (0, 0)))


class WindowCutter:
    """Cut windows from a volume stored channels last, and slices first for windows of one slice.

    Shapes: image ``(C, H, W, D)``; windows come as ``(n, C, *roi)`` channels-last, without the axis of a single slice.
    Args:
        roi: three sizes, in the order of the image.
        flat: windows are one slice thick, for networks of two dimensions.
    """

    def __init__(self, image: Tensor, roi: Sequence[int], *, flat: bool) -> None:
        self.axes = (2, 0, 1) if flat else (0, 1, 2)
        self.flat, self.roi = flat, tuple(roi[axis] for axis in self.axes)
        self.volume = image.permute(*(axis + 1 for axis in self.axes), 0).contiguous()
        *sizes, channels = self.volume.shape
        strides = self.volume.stride()[:3]
        run = (*self.roi[:2], self.roi[2] * channels)
        places = [size - width + 1 for size, width in zip(sizes, self.roi, strict=True)]
        self._at = self.volume.as_strided((*places, *run), (*strides, *strides[:2], 1))

    def cut(self, starts: np.ndarray) -> Tensor:
        """Return the windows whose first voxels are ``starts`` (n, 3), in the order of the image's axes."""
        place = torch.from_numpy(np.ascontiguousarray(starts[:, self.axes])).to(self.volume.device)
        windows = self._at[place[:, 0], place[:, 1], place[:, 2]]
        windows = windows.view(len(starts), *self.roi, -1).movedim(-1, 1)
        return windows[:, :, 0] if self.flat else windows


_BITS = 16


class WindowMasks:
    """Draw the dropout masks of a group of windows, all passes at once, and assign them to the sites of a network.

    Each element uses sixteen random bits. Every window has its own generator, seeded with its first voxel, so the masks
    do not depend on the windows per pass, the cover or other windows. Networks of an ensemble share them.

    Args:
        sizes: shape of the input of each site for one window, ``(C, *spatial)``.
    """

    def __init__(self, sizes: Sequence[Sequence[int]], passes: int, rate: float, seed: int) -> None:
        self.sizes, self.passes, self.rate, self.seed = [tuple(s) for s in sizes], passes, rate, seed
        self.ends = np.cumsum([int(np.prod(s)) for s in self.sizes]).tolist()
        self.dropped = round(rate * 2**_BITS) - 2 ** (_BITS - 1)  # signed numbers below this are dropped

    def draw(self, starts: np.ndarray) -> Tensor:
        """Return the bits of windows that start there, ``(n, passes, elements)`` of int16."""
        wanted = self.passes * self.ends[-1]
        # Seeded by place: a window has the same masks whatever group or order it comes in.
        words = [np.random.SFC64([self.seed, *start]).random_raw(-(-wanted // 4)) for start in starts.tolist()]
        bits = np.stack(words).view(np.int16)[:, :wanted]
        return torch.from_numpy(bits).reshape(len(starts), self.passes, -1)

    def lay(self, bits: Tensor, turn: int, sites: Sequence[PredictionDropout]) -> None:
        """Assign the masks of pass ``turn`` to the sites."""
        kept = torch.empty(bits[:, turn].shape, dtype=torch.float32)
        # Kept elements are scaled up, so that the expectation is that of the network without dropout.
        masks = torch.ge(bits[:, turn], self.dropped, out=kept).mul_(1 / (1 - self.rate))
        for site, size, end in zip(sites, self.sizes, self.ends, strict=True):
            part = masks[:, end - int(np.prod(size)) : end]
            # Drawn channels last, as the layers hold them in memory.
            site.mask = part.unflatten(1, (*size[1:], size[0])).movedim(-1, 1)


def _outputs(network: nn.Module, window: Tensor, layers: Iterable[nn.Module]) -> list[tuple[tuple[int, ...], int]]:
    """Return the shape, without the batch axis, and the bytes of each output of ``layers`` for one window."""
    seen: list[tuple[tuple[int, ...], int]] = []

    def note(_: nn.Module, given: object, output: object) -> None:
        if isinstance(output, Tensor):
            seen.append((tuple(output.shape[1:]), output.numel() * output.element_size()))

    handles = [layer.register_forward_hook(note) for layer in layers]
    try:
        with torch.inference_mode():
            network(window)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def site_sizes(network: nn.Module, window: Tensor) -> list[tuple[int, ...]]:
    """Return the shape of the input of each dropout site for one window (1, C, *spatial), without the batch axis."""
    sites = [module for module in network.modules() if isinstance(module, PredictionDropout)]
    return [shape for shape, _ in _outputs(network, window, sites)]


COVERS = ("centre", "touch")


def window_starts(foreground: np.ndarray, roi: Sequence[int], step: Sequence[int], cover: str = "centre") -> np.ndarray:
    """Return the first voxel of every window of a regular grid that covers the foreground.

    The grid has one window per step-sized cell, centred on the cell and shifted inwards at the border. So each voxel is
    covered at any step, and neighbouring windows are exactly ``step`` apart.

    Shapes: ``foreground`` (H, W, D); (n, 3) out, in the order of the array.
    Args:
        cover: ``"centre"`` takes the windows whose cell holds foreground; ``"touch"`` takes every window that reaches a
            voxel of the foreground: there the average over these windows is the average over all of the grid.
    Source: ours (MONAI turns an overlap into ``int(roi * (1 - overlap))``, off by one for a quarter of the steps).
    """
    size, roi_, step_ = np.array(foreground.shape), np.array(roi), np.array(step)
    if (size < roi_).any():
        found = f"{tuple(size.tolist())} voxels against a window of {tuple(roi_.tolist())}"
        raise refused("E-INF-02", where="StepSlidingWindowInferer", found=found)
    if cover == "touch":
        return _touching(foreground, roi, step)
    # One window a step-sized cell that holds brain; clipped at the border, so the last ones overlap more.
    cells = np.unique(np.argwhere(foreground) // step_, axis=0)
    return np.clip(cells * step_ + step_ // 2 - roi_ // 2, 0, size - roi_)


def grid_axis(size: int, roi: int, step: int) -> np.ndarray:
    """Return the starts of the windows of the regular grid along one axis."""
    cells = np.arange(-(-size // step))
    return np.unique(np.clip(cells * step + step // 2 - roi // 2, 0, size - roi))


def _touching(foreground: np.ndarray, roi: Sequence[int], step: Sequence[int]) -> np.ndarray:
    reached = np.asarray(foreground, bool)
    axes = [grid_axis(n, r, s) for n, r, s in zip(foreground.shape, roi, step, strict=True)]
    # Axis by axis: a window reaches foreground if its row of cells, then its plane, does.
    for axis, (starts, width) in enumerate(zip(axes, roi, strict=True)):
        along = np.moveaxis(reached, axis, 0)
        reached = np.moveaxis(np.stack([along[a : a + width].any(axis=0) for a in starts]), 0, axis)
    result = np.argwhere(reached)
    return np.stack([starts[result[:, axis]] for axis, starts in enumerate(axes)], axis=1)


def windows_at_once(network: nn.Module, window: Tensor, *, most: int, memory_mb: float) -> int:
    """Return how many windows fit into a forward pass: ``most``, or fewer to limit the memory of the layers' outputs.

    One window runs through the network once; the sum of all layers' outputs is an upper bound of the memory in use.

    Shapes: ``window`` (1, C, *roi). Units: ``memory_mb`` in MB, 1e6 bytes.
    """
    leaves = [module for module in network.modules() if not any(True for _ in module.children())]
    need = window.numel() * window.element_size() + sum(size for _, size in _outputs(network, window, leaves))
    return int(min(most, max(1, memory_mb * 1e6 // need)))
