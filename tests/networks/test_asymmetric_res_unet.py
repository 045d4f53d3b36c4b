"""The asymmetric residual network has the papers' sizes and behaviour."""

from __future__ import annotations

import pytest
import torch

from monai_isles.errors import IslesError
from monai_isles.networks import AsymmetricResUNet, Cascade
from monai_isles.networks.blocks import PredictionDropout


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
    scripted = torch.jit.script(network)
    torch.testing.assert_close(scripted(x), network(x))


def test_an_input_that_cannot_be_halved_is_refused() -> None:
    with pytest.raises(IslesError, match=r"E-NET-02.*\n.*\n.*40, not a multiple of 16"):
        AsymmetricResUNet(2, 1)(torch.zeros(1, 1, 64, 40))


@pytest.mark.parametrize("bad", [{"spatial_dims": 1}, {"levels": 1}, {"in_channels": 0}])
def test_an_impossible_network_is_refused(bad: dict[str, int]) -> None:
    with pytest.raises(IslesError, match="E-NET-01.*\n.*AsymmetricResUNet"):
        AsymmetricResUNet(**bad)


def test_the_second_network_of_a_cascade_sees_the_first_one_s_lesion_probability() -> None:
    network = Cascade(2, 5).eval()
    assert count(network) == 592_250 + 592_250 + 9 * 8  # one more channel into the second one's first convolution
    seen: list[torch.Tensor] = []
    hook = network.second.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    x = torch.randn(1, 5, 48, 48)
    out, first = network(x), network.first(x)
    probability = torch.sigmoid(first[:, 1] - first[:, 0])
    torch.testing.assert_close(seen[0], torch.cat([x, probability[:, None]], dim=1))
    hook.remove()
    torch.testing.assert_close(torch.jit.script(network)(x), out)


def test_while_the_first_network_learns_its_logits_are_the_output() -> None:
    network, x = Cascade(2, 3, base_channels=2), torch.randn(2, 3, 32, 32)
    network.train_only("first")
    assert not network.second.training and not any(p.requires_grad for p in network.second.parameters())
    network.eval()
    torch.testing.assert_close(network(x), network.first(x))
    network.train_only("second")
    network.train()(x).sum().backward()
    assert all(p.grad is None for p in network.first.parameters())
    assert not torch.equal(network.eval()(x), network.first(x))


def test_alpha_dropout_by_a_mask_is_torch_s_own() -> None:
    site, x = PredictionDropout(), torch.randn(200_000)
    site.active, site.alpha, site.rate = True, True, 0.1
    torch.manual_seed(3)
    drawn = site(x)
    saturated = -1.7580993 * 0.9 / (0.9 * (1 + 0.1 * 1.7580993**2)) ** 0.5  # a dropped element, scaled and moved
    kept = (drawn - saturated).abs() > 1e-5
    assert 0.895 < kept.float().mean() < 0.905
    torch.testing.assert_close(site.apply_mask(x, kept / 0.9), drawn)
    assert abs(drawn.mean()) < 0.01 and abs(drawn.std() - 1) < 0.01
    site.alpha = False
    torch.testing.assert_close(site.apply_mask(x, kept / 0.9), torch.where(kept, x / 0.9, 0.0))
