"""Cut many windows out of a volume at once, in long runs of memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class WindowCutter:
    """A volume with its channels last, slices first when they are what a window sees.

    Shapes: image ``(C, H, W, D)``; windows come as ``(n, C, *roi)`` channels-last, without the axis of a single slice.
    Args:
        roi: three sizes, in the order of the image.
        flat: windows are one slice thick, for networks of two dimensions.
    Source: ours; ``tests/inference/test_window_cutter.py``.
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
