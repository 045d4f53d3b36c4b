"""A U-Net of interchangeable blocks hands each level what its drawing shows."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from monai_isles.errors import IslesError
from monai_isles.networks import R2UNet, WangResUNet
from monai_isles.networks.unets import BlockUNet


def test_each_level_has_one_block_for_its_channels() -> None:
    made: list[tuple[int, int]] = []

    def block(ins: int, outs: int) -> nn.Module:
        made.append((ins, outs))
        return nn.Conv2d(ins, outs, kernel_size=1)

    network = BlockUNet(block, 3, 2, base_channels=4, levels=3)
    assert made == [(3, 4), (4, 8), (8, 16), (16, 8), (8, 4)]
    seen: list[tuple[int, ...]] = []
    for level in (*network.encoder, *network.decoder):
        level.register_forward_hook(lambda m, i, o: seen.append(tuple(i[0].shape[1:])))
    assert network(torch.zeros(1, 3, 15, 9)).shape == (1, 2, 15, 9)
    assert seen == [(3, 16, 12), (4, 8, 6), (8, 4, 3), (16, 8, 6), (8, 16, 12)]


@pytest.mark.parametrize("network", [R2UNet, WangResUNet])
@pytest.mark.parametrize("bad", [{"levels": 1}, {"out_channels": 0}])
def test_an_impossible_network_is_refused(network: type[BlockUNet], bad: dict[str, int]) -> None:
    with pytest.raises(IslesError, match=f"E-NET-43: sizes of the network are not valid\n.*{network.__name__}"):
        network(**bad)
