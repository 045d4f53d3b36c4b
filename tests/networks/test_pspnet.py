"""The pyramid network is equation (1), a dilated ResNet and averages over four grids, for slices of any size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from monai_isles.errors import IslesError
from monai_isles.networks import PSPNet
from monai_isles.networks.pspnet import PyramidPooling


def test_the_initializer_is_equation_1() -> None:
    initializer, x = PSPNet(base_channels=4).initializer, torch.randn(3, 5, 6, 7) * 4 + 10
    nn.init.uniform_(initializer.norm.weight)
    nn.init.normal_(initializer.norm.bias)
    gamma, beta, kernel = (
        initializer.get_parameter(name).detach().double().numpy()
        for name in ("norm.weight", "norm.bias", "conv.weight")
    )
    values = x.double().numpy()
    mean, var = values.mean((0, 2, 3), keepdims=True), values.var((0, 2, 3), keepdims=True)
    standard = (values - mean) / np.sqrt(var + 1e-5) * gamma[:, None, None] + beta[:, None, None]
    expected = np.einsum("nchw,kc->nkhw", standard, kernel[:, :, 0, 0])
    np.testing.assert_allclose(initializer(x).detach().numpy(), expected, atol=1e-5)
    assert [(n, tuple(p.shape)) for n, p in initializer.named_parameters()] == [
        ("norm.weight", (5,)), ("norm.bias", (5,)), ("conv.weight", (3, 5, 1, 1)),
    ]  # fmt: skip


@pytest.mark.parametrize(("backbone", "millions"), [("resnet50", 46.58), ("resnet101", 65.58)])
def test_full_size_widths_are_the_originals(backbone: str, millions: float) -> None:
    network = PSPNet(backbone=backbone)
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert [shapes[f"pyramid.branches.{i}.conv.weight"] for i in range(4)] == [(512, 2048, 1, 1)] * 4
    assert shapes["final.conv.weight"] == (512, 4096, 3, 3) and shapes["classifier.weight"] == (2, 512, 1, 1)
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 2) == millions


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("size", [(256, 256), (240, 200), (33, 47), (3, 1)])
def test_logits_have_the_size_of_any_slice_also_alone_in_a_training_batch(
    size: tuple[int, int], training: bool
) -> None:
    network = PSPNet(base_channels=2).train(training)
    out = network(torch.randn(1, 5, *size))
    assert out.shape == (1, 2, *size) and bool(torch.isfinite(out).all())


def test_the_pyramid_averages_over_its_grids_and_keeps_the_map() -> None:
    pyramid, x = PyramidPooling(8).eval(), torch.rand(2, 8, 12, 18)
    pooled: list[np.ndarray] = []
    for branch in pyramid.branches:
        branch.conv.register_forward_hook(lambda m, i, o: pooled.append(i[0].numpy()))
    with torch.no_grad():
        y = pyramid(x)
    assert y.shape == (2, 16, 12, 18) and torch.equal(y[:, :8], x)
    for found, size in zip(pooled, (1, 2, 3, 6), strict=True):
        cells = x.numpy().reshape(2, 8, size, 12 // size, size, 18 // size)
        np.testing.assert_allclose(found, cells.mean((3, 5)), rtol=1e-5)


@pytest.mark.parametrize("size", [(32, 32), (30, 25), (5, 6), (4, 1), (1, 1), (7, 13)])
def test_the_averages_are_those_of_adaptive_pooling(size: tuple[int, int]) -> None:
    pyramid, x, pooled = PyramidPooling(8).eval(), torch.randn(2, 8, *size), []
    for branch in pyramid.branches:
        branch.conv.register_forward_hook(lambda m, i, o: pooled.append(i[0]))
    pyramid(x)
    for found, bins in zip(pooled, (1, 2, 3, 6), strict=True):
        torch.testing.assert_close(found, nn.functional.adaptive_avg_pool2d(x, bins))


def test_a_slice_alone_gets_the_global_average_by_running_statistics() -> None:
    pyramid, x = PyramidPooling(8), torch.rand(1, 8, 9, 9)
    branch = pyramid.branches[0]
    expected = branch.conv(x.mean((2, 3), keepdim=True)) / np.sqrt(1 + 1e-5)
    torch.testing.assert_close(pyramid(x)[:, 8:10], expected.relu().expand(-1, -1, 9, 9))
    assert int(branch.norm.num_batches_tracked) == 0 and int(pyramid.branches[1].norm.num_batches_tracked) == 1


def test_every_parameter_learns() -> None:
    torch.manual_seed(0)
    network = PSPNet(base_channels=4)
    network(torch.randn(2, 5, 64, 64)).square().sum().backward()
    assert not [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


def test_the_network_survives_torchscript() -> None:
    network, x = PSPNet(base_channels=2).eval(), torch.randn(1, 5, 33, 32)
    scripted = torch.jit.script(network)
    torch.testing.assert_close(scripted(x), network(x))


def test_impossible_channels_are_refused() -> None:
    with pytest.raises(IslesError, match="E-NET-25.*\n.*PSPNet\n.*channels 0, classes 2"):
        PSPNet(0)
