"""The volume networks step in plane only, so scans of one or two slices survive them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from monai_isles.errors import IslesError
from monai_isles.networks import AnisotropicUNet, AnisotropicVNet

SMALL = [
    pytest.param(AnisotropicUNet, {"base_channels": 2}, id="unet"),
    pytest.param(AnisotropicVNet, {"base_channels": 2}, id="vnet"),
    pytest.param(AnisotropicVNet, {"base_channels": 2, "batch_norm": True}, id="vnet-normalised"),
]


@pytest.mark.parametrize(("kind", "options"), SMALL)
@pytest.mark.parametrize("size", [(33, 20, 1), (16, 16, 2), (17, 16, 22), (240, 200, 2), (8, 8, 1)])
def test_volumes_of_any_depth_and_plane_go_through(kind: type, options: dict, size: tuple[int, ...]) -> None:
    assert kind(5, **options)(torch.randn(1, 5, *size)).shape == (1, 2, *size)


@pytest.mark.parametrize(("kind", "options"), SMALL)
def test_the_depth_is_never_pooled(kind: type, options: dict) -> None:
    network, shapes = kind(1, **options).eval(), []
    for module in network.modules():
        if isinstance(module, (nn.Conv3d, nn.ConvTranspose3d, nn.MaxPool3d)):
            module.register_forward_hook(lambda m, i, o: shapes.append(o.shape[2:]))
    network(torch.randn(1, 1, 32, 32, 3))
    assert {depth for _, _, depth in shapes} == {3}
    assert min(height for height, _, _ in shapes) == 32 // network.multiple[0]


@pytest.mark.parametrize(("kind", "options"), SMALL)
def test_gradients_reach_every_parameter(kind: type, options: dict) -> None:
    torch.manual_seed(0)
    network = kind(2, **{**options, "base_channels": 4})
    network(torch.randn(1, 2, 32, 32, 2)).square().sum().backward()
    assert not [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


def test_the_convolutions_of_the_3d_unet_count_what_its_paper_counts() -> None:
    network = AnisotropicUNet(3, 3)
    kinds = (nn.Conv3d, nn.ConvTranspose3d)
    ours = sum(p.numel() for m in network.modules() if isinstance(m, kinds) for p in m.parameters())
    flattened = sum(4 * width**2 for width in (512, 256, 128))  # our 2x2x1 steps lack half of each 2x2x2 kernel
    assert ours + flattened == 19_069_955


def test_the_vnets_stages_have_the_papers_widths_and_convolutions() -> None:
    network = AnisotropicVNet(5)
    stages = [*network.encoder, *network.decoder]
    convolutions = [[m for m in stage.modules() if isinstance(m, nn.Conv3d)] for stage in stages]
    assert [len(c) for c in convolutions] == [1, 2, 3, 3, 3, 3, 3, 2, 1]
    assert [c[-1].out_channels for c in convolutions] == [16, 32, 64, 128, 256, 256, 128, 64, 32]
    assert {c.kernel_size for stage in convolutions for c in stage} == {(3, 3, 3)}
    steps = [m for part in (network.down, network.up) for m in part.modules() if hasattr(m, "kernel_size")]
    assert len(steps) == 8 and {(m.kernel_size, m.stride) for m in steps} == {((2, 2, 1), (2, 2, 1))}


def test_a_stage_of_the_vnet_adds_its_input_channel_after_channel() -> None:
    stage = AnisotropicVNet(3, base_channels=5).encoder[0]
    nn.init.zeros_(stage.path[-1].weight)
    nn.init.zeros_(stage.path[-1].bias)
    x = torch.rand(1, 3, 4, 4, 2)
    torch.testing.assert_close(stage(x), x[:, [0, 1, 2, 0, 1]])


@pytest.mark.parametrize(("kind", "options"), SMALL)
def test_the_networks_survive_torchscript(kind: type, options: dict) -> None:
    network, x = kind(2, **options).eval(), torch.randn(1, 2, 20, 16, 2)
    scripted = torch.jit.script(network)
    torch.testing.assert_close(scripted(x), network(x))


@pytest.mark.parametrize(
    ("kind", "bad", "code"),
    [(AnisotropicUNet, {"levels": 1}, "E-NET-26"), (AnisotropicVNet, {"base_channels": 0}, "E-NET-27")],
)
def test_an_impossible_volume_network_is_refused(kind: type, bad: dict[str, int], code: str) -> None:
    with pytest.raises(IslesError, match=f"{code}.*\n.*{kind.__name__}"):
        kind(**bad)
