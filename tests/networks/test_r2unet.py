"""R2U-Net has Table 3's size, and its recurrent convolutions unroll as published."""

from __future__ import annotations

import pytest
import torch

from monai_isles.networks import R2UNet
from monai_isles.networks.unets import RecurrentBlock, RecurrentConv


def test_table_3_is_met_whatever_the_steps() -> None:
    for steps in (1, 2, 3):
        with torch.device("meta"):
            network = R2UNet(4, steps=steps)
        assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(39.09, abs=0.01)


def test_a_recurrent_convolution_takes_its_result_back_twice() -> None:
    layer, x = RecurrentConv(3, steps=2).eval(), torch.randn(2, 3, 6, 6)
    first = layer.conv(x)
    torch.testing.assert_close(layer(x), layer.conv(x + layer.conv(x + first)))


def test_a_level_adds_its_entry_to_two_recurrent_convolutions() -> None:
    block, x = RecurrentBlock(2, 3, steps=2).eval(), torch.randn(1, 2, 6, 6)
    entry = block.entry(x)
    torch.testing.assert_close(block(x), entry + block.path[1](block.path[0](entry)))


@pytest.mark.parametrize("size", [(240, 200), (33, 17), (1, 1)])
def test_any_slice_alone_in_its_batch_gives_logits_of_its_size(size: tuple[int, int]) -> None:
    logits = R2UNet(4, base_channels=2)(torch.randn(1, 4, *size))
    assert logits.shape == (1, 2, *size) and logits.isfinite().all()


def test_the_network_survives_torchscript() -> None:
    network, x = R2UNet(2, base_channels=2).eval(), torch.randn(2, 2, 30, 40)
    torch.testing.assert_close(torch.jit.script(network)(x), network(x))
