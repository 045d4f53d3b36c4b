"""Channel arithmetic along rows is what torch does channel by channel."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from monai_isles.inference.cpu.folded_res_unet import RowAffine, RowPReLU, as_rows, from_rows


@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (2, 3, 4, 5, 6), (1, 1, 2, 2)])
def test_affine_and_prelu_are_those_of_every_channel(shape: tuple[int, ...]) -> None:
    x, scale, shift, slope = torch.randn(shape), *torch.randn(3, shape[1])
    x = x.movedim(1, -1).contiguous().movedim(-1, 1)
    per_channel = (1, -1, *[1] * (len(shape) - 2))
    torch.testing.assert_close(RowAffine(scale, shift)(x), x * scale.view(per_channel) + shift.view(per_channel))
    torch.testing.assert_close(RowPReLU(slope)(x), F.prelu(x, slope))


def test_rows_are_a_view_of_a_channels_last_tensor_and_come_back() -> None:
    x = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    rows = as_rows(x)
    assert rows.shape == (8, 15) and rows.data_ptr() == x.data_ptr()
    assert torch.equal(from_rows(rows, x), x) and torch.equal(rows[1, 3:6], x[0, :, 1, 1])
