"""Switchable normalisation follows its definition in training and evaluation, for batches of one too."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_isles.networks import SwitchableNorm2d


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max())
    return powers / powers.sum()


def by_definition(
    x: np.ndarray, layer: SwitchableNorm2d, batch: tuple[np.ndarray, np.ndarray] | None = None
) -> np.ndarray:
    """Write out Luo 2018: statistics over (H, W), over (C, H, W), over (N, H, W); each kind counted on its own."""
    axes = {"instance": (2, 3), "layer": (1, 2, 3), "batch": (0, 2, 3)}
    means = [np.broadcast_to(x.mean(axis=a, keepdims=True), x.shape) for a in axes.values()]
    variances = [np.broadcast_to(x.var(axis=a, keepdims=True), x.shape) for a in axes.values()]
    if batch is not None:
        means[2], variances[2] = (np.broadcast_to(b[None, :, None, None], x.shape) for b in batch)
    weight, bias, mean_weight, var_weight = (p.detach().numpy().astype(np.float64) for p in layer.parameters())
    mean = sum(share * m for share, m in zip(softmax(mean_weight), means, strict=True))
    var = sum(share * v for share, v in zip(softmax(var_weight), variances, strict=True))
    return (x - mean) / np.sqrt(var + layer.eps) * weight[:, None, None] + bias[:, None, None]


def unequal(channels: int) -> SwitchableNorm2d:
    layer = SwitchableNorm2d(channels)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, mean=1.0)
    return layer


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("shape", [(5, 3, 6, 7), (1, 4, 5, 5), (2, 1, 3, 4), (1, 3, 1, 1)])
def test_training_follows_the_definition(shape: tuple[int, ...]) -> None:
    layer, x = unequal(shape[1]), torch.randn(shape) * 3 + 10
    expected = by_definition(x.double().numpy(), layer)
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("images", [1, 4])
def test_evaluation_takes_the_batch_statistics_from_the_moving_averages(images: int) -> None:
    layer, x = unequal(3), torch.randn(images, 3, 6, 5) + torch.tensor([1.0, -2.0, 5.0]).view(1, 3, 1, 1)
    mean, var = np.zeros(3), np.ones(3)
    for _ in range(4):
        batch = torch.randn(2, 3, 4, 4) * 2 + 1
        layer(batch)
        mean += 0.1 * (batch.double().numpy().mean(axis=(0, 2, 3)) - mean)
        var += 0.1 * (batch.double().numpy().var(axis=(0, 2, 3)) - var)
    before = layer.running_mean.clone()
    out = layer.eval()(x)
    np.testing.assert_allclose(layer.running_mean.numpy(), mean, rtol=1e-5)
    np.testing.assert_allclose(layer.running_var.numpy(), var, rtol=1e-5)
    np.testing.assert_allclose(
        out.detach().numpy(), by_definition(x.double().numpy(), layer, (mean, var)), rtol=1e-4, atol=1e-5
    )
    assert torch.equal(layer.running_mean, before)


@pytest.mark.parametrize(
    ("kind", "reference"),
    [
        (0, torch.nn.InstanceNorm2d(4)),
        (1, torch.nn.GroupNorm(1, 4)),
        (2, torch.nn.BatchNorm2d(4)),
    ],
)
def test_one_share_alone_is_pytorchs_normalisation(kind: int, reference: torch.nn.Module) -> None:
    layer, x = SwitchableNorm2d(4), torch.randn(3, 4, 8, 8)
    with torch.no_grad():
        layer.mean_weight[kind] = layer.var_weight[kind] = 100.0
    torch.testing.assert_close(layer(x), reference(x), rtol=1e-4, atol=1e-5)


def test_the_three_statistics_start_with_equal_shares() -> None:
    layer = SwitchableNorm2d(2)
    for weight in (layer.mean_weight, layer.var_weight):
        torch.testing.assert_close(torch.softmax(weight, dim=0), torch.full((3,), 1 / 3))


def test_a_large_offset_does_not_drown_the_variance() -> None:
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(SwitchableNorm2d(3)(x + 1000), SwitchableNorm2d(3)(x), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("training", [True, False])
def test_gradients_are_those_of_finite_differences(training: bool) -> None:
    layer = unequal(3).double().train(training)
    x = torch.randn(2, 3, 3, 2, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in layer.named_parameters()]

    def run(image: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (image,))

    assert torch.autograd.gradcheck(run, (x, *layer.parameters()))


def test_half_precision_is_normalised_in_single() -> None:
    x = torch.randn(2, 3, 8, 8) + 300
    layer = SwitchableNorm2d(3)
    out = layer(x.half())
    assert out.dtype == torch.float16
    torch.testing.assert_close(out.float(), layer(x.half().float()), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("training", [True, False])
def test_the_layer_survives_torchscript(training: bool) -> None:
    layer, x = unequal(3).train(training), torch.randn(2, 3, 5, 4)
    scripted = torch.jit.script(layer)
    torch.testing.assert_close(scripted(x), layer(x))
