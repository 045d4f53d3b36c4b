"""Xavier initialisation draws from Glorot's range and zeroes biases."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from monai_isles.errors import IslesError
from monai_isles.networks import SLNet, xavier_


@pytest.mark.parametrize(
    ("layer", "fans"),
    [
        (nn.Conv2d(8, 16, 3), (8 + 16) * 9),
        (nn.ConvTranspose2d(32, 16, 2), (32 + 16) * 4),
        (nn.Conv3d(4, 8, 3), (4 + 8) * 27),
        (nn.Linear(60, 40), 100),
    ],
)
def test_weights_fill_glorots_range_and_biases_are_zero(layer: nn.Module, fans: int) -> None:
    torch.manual_seed(0)
    limit = (6 / fans) ** 0.5
    assert xavier_(layer) is layer
    assert limit * 0.97 < layer.weight.abs().max() <= limit
    assert layer.weight.std().item() == pytest.approx(limit / 3**0.5, rel=0.05)
    assert not layer.bias.any()


def test_normalisations_and_missing_biases_are_left_alone() -> None:
    module = xavier_(nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.BatchNorm2d(2)))
    assert torch.equal(module[1].weight, torch.ones(2))


def test_a_network_is_initialised_as_asked() -> None:
    biases = {init: SLNet(base_channels=2, init=init).head.bias.abs().sum().item() for init in ("xavier", "torch")}
    assert biases["xavier"] == 0 < biases["torch"]


def test_an_unknown_initialisation_is_refused() -> None:
    with pytest.raises(IslesError, match="E-NET-40: unknown initialisation\n.*SLNet\n.*'kaiming'"):
        SLNet(base_channels=2, init="kaiming")
