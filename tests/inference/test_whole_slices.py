"""Whole slices go through the network one by one, volumes at once, and further maps come back by name."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from monai.data import MetaTensor
from torch import Tensor, nn

from monai_isles.errors import IslesError
from monai_isles.inference import WholeSliceInferer


class Pair(NamedTuple):
    logits: Tensor
    sharp: Tensor


class Steep(nn.Module):
    """Two classes whose log-odds are the first channel times ``slope``."""

    def __init__(self, slope: float, *, more: bool = False) -> None:
        super().__init__()
        self.slope, self.more, self.shapes = slope, more, []

    def forward(self, x: Tensor) -> Tensor | Pair:
        self.shapes.append(tuple(x.shape))
        logits = torch.cat([torch.zeros_like(x[:, :1]), self.slope * x[:, :1]], 1)
        return Pair(logits, 3 * x[:, 1:2]) if self.more else logits


@pytest.mark.parametrize("slices", [1, 2, 22])
def test_each_slice_gets_its_own_softmax(slices: int) -> None:
    image, network = torch.randn(1, 2, 12, 10, slices), Steep(2.0)
    result = WholeSliceInferer(batch_size=4).infer(image, network)
    assert torch.allclose(result.probability[:, 1], torch.sigmoid(2 * image[:, 0]), atol=1e-6)
    assert torch.allclose(result.probability.sum(1), torch.ones(1, 12, 10, slices))
    assert all(len(shape) == 4 and shape[0] <= 4 for shape in network.shapes) and result.windows == slices


def test_a_volume_goes_through_a_3d_network_whole() -> None:
    image, network = torch.randn(2, 1, 6, 5, 3), Steep(1.0)
    probability = WholeSliceInferer(spatial_dims=3)(image, network)
    assert network.shapes == [(1, 1, 6, 5, 3)] * 2
    assert torch.allclose(probability[:, 1], torch.sigmoid(image[:, 0]), atol=1e-6)


def test_named_fields_come_back_as_maps_behind_the_classes() -> None:
    image = MetaTensor(torch.randn(1, 2, 6, 5, 3))
    joined = WholeSliceInferer(extras=("sharp",))(image, Steep(1.0, more=True))
    assert isinstance(joined, MetaTensor) and joined.shape == (1, 3, 6, 5, 3)
    assert torch.allclose(joined[:, 2], 3 * image[:, 1])


def test_an_ensemble_is_the_mean_and_its_spread_the_deviation_of_its_networks() -> None:
    image = torch.randn(1, 2, 6, 5, 2)
    result = WholeSliceInferer().infer(image, [Steep(1.0), Steep(3.0)])
    one, three = torch.sigmoid(image[:, 0]), torch.sigmoid(3 * image[:, 0])
    assert torch.allclose(result.probability[:, 1], (one + three) / 2, atol=1e-6)
    assert torch.allclose(result.uncertainty[:, 0], (one - three).abs() / 2, atol=1e-4)


def test_wrong_settings_and_missing_fields_are_refused() -> None:
    with pytest.raises(IslesError, match=r"(?s)E-INF-05.*spatial_dims 4"):
        WholeSliceInferer(spatial_dims=4)
    with pytest.raises(IslesError, match=r"(?s)E-INF-06.*Steep.*no logits, sharp"):
        WholeSliceInferer(extras=("sharp",))(torch.zeros(1, 2, 4, 4, 1), Steep(1.0))


class First(nn.Module):
    """Log-odds of the lowest neighbour's first channel, and of how far left a pixel lies."""

    def forward(self, x: Tensor) -> Tensor:
        place = torch.arange(x.shape[2], dtype=x.dtype)[:, None].expand(x.shape[2:])
        return torch.stack([torch.zeros_like(x[:, 0]), x[:, 0] + place], 1)


def test_a_slice_comes_with_its_neighbours() -> None:
    image = torch.randn(1, 2, 4, 3, 3)
    found = WholeSliceInferer(neighbours=1).infer(image, First()).probability[0, 1]
    place = torch.arange(4.0)[:, None, None]
    below = image[0, 0][..., [0, 0, 1]]
    assert torch.allclose(found, torch.sigmoid(below + place), atol=1e-6)


def test_mirrored_is_the_mean_of_both_sides_views() -> None:
    image = torch.randn(1, 1, 4, 3, 2)
    found = WholeSliceInferer(mirrored=True).infer(image, First()).probability[0, 1]
    place = torch.arange(4.0)[:, None, None]
    there, back = torch.sigmoid(image[0, 0] + place), torch.sigmoid(image[0, 0] + 3 - place)
    assert torch.allclose(found, (there + back) / 2, atol=1e-6)
