"""The asymmetric residual network has the papers' sizes and behaviour."""

from __future__ import annotations

import pytest
import torch

from monai_isles.errors import IslesError
from monai_isles.networks import AsymmetricResUNet, PredictionDropout


def count(*modules: torch.nn.Module) -> int:
    return sum(p.numel() for m in modules for p in m.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("dims", "channels", "base", "levels", "parameters"),
    [(2, 10, 8, 5, 592_610), (2, 5, 8, 5, 592_250), (3, 8, 32, 4, 7_037_122), (3, 14, 32, 4, 7_042_306)],
)
def test_the_papers_parameter_counts_are_met(dims: int, channels: int, base: int, levels: int, parameters: int) -> None:
    assert count(AsymmetricResUNet(dims, channels, base_channels=base, levels=levels)) == parameters


def test_the_encoder_holds_three_quarters_of_the_parameters() -> None:
    network = AsymmetricResUNet(2, 10)
    assert count(network.first, network.encoder, network.down) / count(network) == pytest.approx(0.751, abs=5e-4)


@pytest.mark.parametrize(("dims", "size", "latent"), [(2, (64, 64), (4, 4)), (3, (24, 24, 16), (3, 3, 2))])
def test_the_latent_space_has_the_papers_size_and_the_logits_the_inputs(
    dims: int, size: tuple[int, ...], latent: tuple[int, ...]
) -> None:
    network = AsymmetricResUNet(dims, 2, base_channels=2, levels=5 if dims == 2 else 4).eval()
    seen: list[torch.Size] = []
    network.encoder[-1].register_forward_hook(lambda m, i, o: seen.append(o.shape[2:]))
    assert network(torch.randn(1, 2, *size)).shape == (1, 2, *size)
    assert tuple(seen[0]) == latent


def test_dropout_sites_lie_in_the_deepest_three_levels() -> None:
    network = AsymmetricResUNet(2, 10)
    sites = [name for name, m in network.named_modules() if isinstance(m, PredictionDropout)]
    assert [s.rsplit(".", 2)[0] for s in sites] == ["encoder.2", "encoder.3", "encoder.4", "decoder.0", "decoder.1"]
    channel = [name for name, m in network.named_modules() if isinstance(m, torch.nn.Dropout2d)]
    assert [c.split(".")[1] for c in channel] == ["2", "3", "4"]


@pytest.mark.parametrize("momentum", [0.01, 0.1])
def test_running_statistics_take_their_share_of_each_batch(momentum: float) -> None:
    network = AsymmetricResUNet(2, 1, base_channels=1, levels=2, norm_momentum=momentum)
    norm = next(m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d))
    seen: list[torch.Tensor] = []
    norm.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].detach()))
    network(torch.randn(4, 1, 8, 8))
    assert norm.running_mean == pytest.approx(momentum * seen[0].mean((0, 2, 3)), abs=1e-6)


def test_fixed_and_noisy_part_make_the_whole() -> None:
    network, x = AsymmetricResUNet(2, 3).eval(), torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(network.noisy_part(*network.fixed_part(x)), network(x))


def test_the_network_survives_torchscript() -> None:
    network, x = AsymmetricResUNet(2, 3).eval(), torch.randn(1, 3, 48, 32)
    with pytest.warns(DeprecationWarning, match="torch.jit.script"):
        scripted = torch.jit.script(network)
    torch.testing.assert_close(scripted(x), network(x))


def test_an_input_that_cannot_be_halved_is_refused() -> None:
    with pytest.raises(IslesError, match=r"E-NET-02.*\n.*\n.*40, not a multiple of 16"):
        AsymmetricResUNet(2, 1)(torch.zeros(1, 1, 64, 40))


@pytest.mark.parametrize("bad", [{"spatial_dims": 1}, {"levels": 1}, {"in_channels": 0}])
def test_an_impossible_network_is_refused(bad: dict[str, int]) -> None:
    with pytest.raises(IslesError, match="E-NET-01.*\n.*AsymmetricResUNet"):
        AsymmetricResUNet(**bad)
