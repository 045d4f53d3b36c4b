"""Windows cut at once are those cut one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_isles.inference.windows_plan import WindowCutter


@pytest.mark.parametrize(
    ("roi", "flat"), [((4, 6, 1), True), ((4, 6, 3), False), ((9, 8, 7), False), ((9, 8, 1), True)]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_window_is_the_slice_of_the_image(roi: tuple[int, int, int], flat: bool, channels: int) -> None:
    image = torch.randn(channels, 9, 8, 7)
    limits = [n - r + 1 for n, r in zip(image.shape[1:], roi, strict=True)]
    starts = np.stack([np.random.default_rng(0).integers(0, n, 11) for n in limits], 1)
    windows = WindowCutter(image, roi, flat=flat).cut(starts)
    plain = [image[:, i : i + roi[0], j : j + roi[1], k : k + roi[2]] for i, j, k in starts]
    assert torch.equal(windows, torch.stack([one[..., 0] if flat else one for one in plain]))
    assert windows.is_contiguous(memory_format=torch.channels_last if flat else torch.channels_last_3d)
