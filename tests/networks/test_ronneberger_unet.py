"""The 2D U-Net has the published size and takes slices of any size."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from monai_isles.errors import IslesError
from monai_isles.networks import RonnebergerUNet


def test_it_has_the_published_number_of_parameters() -> None:
    count = sum(p.numel() for p in RonnebergerUNet(4).parameters())
    assert count == 31_044_162 and round(count / 1e6, 2) == 31.04


@pytest.mark.parametrize("size", [(16, 16), (33, 47), (240, 200), (1, 1)])
def test_logits_have_the_size_of_any_slice(size: tuple[int, int]) -> None:
    network = RonnebergerUNet(5, base_channels=2)
    assert network(torch.randn(1, 5, *size)).shape == (1, 2, *size)


def test_every_parameter_learns() -> None:
    network = RonnebergerUNet(3, 2, base_channels=4, levels=3)
    network(torch.randn(2, 3, 24, 20)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_the_deepest_level_sees_a_sixteenth_and_skips_carry_the_rest() -> None:
    network = RonnebergerUNet(1, base_channels=2).eval()
    seen: list[torch.Size] = []
    network.encoder[-1].register_forward_hook(lambda m, i, o: seen.append(o.shape[1:]))
    network.decoder[-1].register_forward_hook(lambda m, i, o: seen.append(i[0].shape[1:]))
    network(torch.randn(1, 1, 64, 48))
    assert seen == [(32, 4, 3), (4, 64, 48)]


def test_the_normalisation_is_a_choice() -> None:
    bare = RonnebergerUNet(1, base_channels=2, levels=2, norm="none")
    assert not any("running" in name for name in bare.state_dict())
    made = RonnebergerUNet(1, base_channels=2, levels=2, norm=lambda channels: nn.GroupNorm(1, channels))
    assert sum(isinstance(m, nn.GroupNorm) for m in made.modules()) == 6


def test_the_network_survives_torchscript() -> None:
    network, x = RonnebergerUNet(3, base_channels=2).eval(), torch.randn(1, 3, 33, 32)
    scripted = torch.jit.script(network)
    torch.testing.assert_close(scripted(x), network(x))


@pytest.mark.parametrize("bad", [{"levels": 1}, {"in_channels": 0}, {"norm": "instance"}])
def test_an_impossible_network_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(IslesError, match="E-NET-20.*\n.*RonnebergerUNet"):
        RonnebergerUNet(**bad)
