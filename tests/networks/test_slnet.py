"""SLNet has the sizes of Table 3, takes any slice, and can lose each of its two parts."""

from __future__ import annotations

import pytest
import torch

from monai_isles.errors import IslesError
from monai_isles.networks import SLNet, SqueezeExcitation, SwitchableNorm2d


def millions(network: torch.nn.Module) -> float:
    return sum(p.numel() for p in network.parameters()) / 1e6


@pytest.mark.parametrize(
    ("settings", "published"),
    [({}, 33.84), ({"squeeze_excitation": False}, 31.04), ({"norm": "batch"}, 33.84)],
)
def test_table_3_is_met(settings: dict[str, object], published: float) -> None:
    with torch.device("meta"):
        network = SLNet(4, **settings)
    assert millions(network) == pytest.approx(published, abs=0.01)


def test_calibration_ends_each_encoder_block_and_each_convolution_is_normalised() -> None:
    network = SLNet(4, base_channels=2)
    assert [isinstance(block[-1], SqueezeExcitation) for block in network.encoder] == [True] * 5
    assert sum(isinstance(m, SqueezeExcitation) for m in network.modules()) == 5
    assert sum(isinstance(m, SwitchableNorm2d) for m in network.modules()) == 18


@pytest.mark.parametrize(
    ("norm", "calibrated", "norms"), [("batch", True, torch.nn.BatchNorm2d), ("none", False, torch.nn.Identity)]
)
def test_each_part_can_be_left_out(norm: str, calibrated: bool, norms: type) -> None:
    network = SLNet(1, norm=norm, squeeze_excitation=calibrated, base_channels=2)
    modules = list(network.modules())
    assert sum(isinstance(m, norms) for m in modules) == 18
    assert not any(isinstance(m, SwitchableNorm2d) for m in modules)
    assert any(isinstance(m, SqueezeExcitation) for m in modules) == calibrated


@pytest.mark.parametrize("size", [(240, 200), (33, 17), (1, 1)])
@pytest.mark.parametrize("training", [True, False])
def test_any_slice_alone_in_its_batch_gives_logits_of_its_size(size: tuple[int, int], training: bool) -> None:
    logits = SLNet(4, base_channels=2).train(training)(torch.randn(1, 4, *size))
    assert logits.shape == (1, 2, *size) and logits.isfinite().all()


def test_the_network_survives_torchscript() -> None:
    network, x = SLNet(3, base_channels=2).eval(), torch.randn(2, 3, 30, 48)
    torch.testing.assert_close(torch.jit.script(network)(x), network(x))


def test_an_unknown_normalisation_is_refused() -> None:
    with pytest.raises(
        IslesError, match="E-NET-41: unknown normalisation\n.*SLNet\n.*'group'\n.*switchable, batch, none"
    ):
        SLNet(1, norm="group")
