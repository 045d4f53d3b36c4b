"""The fully convolutional network has Table 3's size, VGG16's encoder and additive skips."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from monai_isles.errors import IslesError
from monai_isles.networks import StrokeFCN


def test_table_3_is_met_and_the_encoder_is_vgg16s() -> None:
    with torch.device("meta"):
        network, colour = StrokeFCN(4), StrokeFCN(3)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(18.64, abs=0.01)
    assert sum(p.numel() for p in colour.stages.parameters()) == 14_714_688  # VGG16's, published
    assert sum(isinstance(m, nn.Conv2d) for m in network.stages.modules()) == 13


@pytest.mark.parametrize("size", [(240, 200), (33, 17), (1, 1)])
def test_any_slice_alone_in_its_batch_gives_logits_of_its_size(size: tuple[int, int]) -> None:
    logits = StrokeFCN(4, base_channels=2)(torch.randn(1, 4, *size))
    assert logits.shape == (1, 2, *size) and logits.isfinite().all()


def test_pooled_features_are_added_at_each_of_four_scales() -> None:
    network, x = StrokeFCN(1, base_channels=2).eval(), torch.randn(1, 1, 64, 64)
    pooled: list[torch.Tensor] = []
    entering: list[torch.Tensor] = []
    for stage in network.stages:
        stage.register_forward_hook(lambda m, i, o: pooled.append(o))
    for grow in network.up:
        grow.register_forward_hook(lambda m, i, o: entering.append((i[0], o)))
    network(x)
    assert torch.equal(entering[0][0], pooled[4])
    for step in range(1, 5):
        torch.testing.assert_close(entering[step][0], entering[step - 1][1] + pooled[4 - step])


def test_the_network_survives_torchscript() -> None:
    network, x = StrokeFCN(2, base_channels=2).eval(), torch.randn(2, 2, 30, 40)
    torch.testing.assert_close(torch.jit.script(network)(x), network(x))


@pytest.mark.parametrize("bad", [{"in_channels": 0}, {"base_channels": 1}])
def test_an_impossible_network_is_refused(bad: dict[str, int]) -> None:
    with pytest.raises(IslesError, match="E-NET-42: sizes of the network are not valid\n.*StrokeFCN"):
        StrokeFCN(**bad)
