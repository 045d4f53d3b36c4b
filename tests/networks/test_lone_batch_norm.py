"""A batch with one value a channel neither fails nor erases itself."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from monai_isles.networks.blocks import LoneBatchNorm2d, LoneBatchNorm3d


@pytest.mark.parametrize(("ours", "theirs", "shape"), [
    (LoneBatchNorm2d, nn.BatchNorm2d, (4, 3, 5, 6)),
    (LoneBatchNorm2d, nn.BatchNorm2d, (2, 3, 1, 1)),
    (LoneBatchNorm3d, nn.BatchNorm3d, (1, 3, 5, 6, 2)),
])  # fmt: skip
def test_ordinary_batches_are_normalised_as_torch_does(ours: type, theirs: type, shape: tuple[int, ...]) -> None:
    a, b = ours(3), theirs(3)
    for _ in range(3):
        x = 2 + 3 * torch.randn(shape)
        torch.testing.assert_close(a(x), b(x))
    torch.testing.assert_close(a.state_dict(), b.state_dict())
    torch.testing.assert_close(a.eval()(x), b.eval()(x))


def test_a_single_value_is_normalised_by_the_running_statistics_and_leaves_them() -> None:
    norm, x = LoneBatchNorm2d(2), torch.tensor([3.0, -1.0]).reshape(1, 2, 1, 1)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        nn.BatchNorm2d(2)(x)
    norm.running_mean.copy_(torch.tensor([1.0, 1.0]))
    norm.running_var.copy_(torch.tensor([4.0, 16.0]))
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    y = norm(x)
    torch.testing.assert_close(y.flatten(), torch.tensor([1.0, -0.5]), atol=1e-5, rtol=0)
    torch.testing.assert_close(norm.state_dict(), before, rtol=0, atol=0)
    y.sum().backward()
    assert norm.bias.grad is not None
