"""FusionNet: shapes, gradients, size, and that what is absent cannot matter."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from monai_isles.errors import IslesError
from monai_isles.networks import FusionNet
from monai_isles.networks.fusion import GROUPS

SMALL = {"widths": (4, 6, 8), "features": 3}
CHANNELS, MARKS = 29, 25
FIRST = {"ct": slice(0, 1), "maps": slice(1, 5), "series": slice(5, 25)}


def image(batch: int = 2, height: int = 20, width: int = 28, seed: int = 0) -> Tensor:
    """Return stacked slices with all groups there."""
    x = torch.randn(batch, 3, CHANNELS, height, width, generator=torch.Generator().manual_seed(seed))
    x[:, :, MARKS:] = 1
    return x.flatten(1, 2)


def marked(x: Tensor, group: str, value: float = 0.0) -> Tensor:
    apart = x.clone().reshape(len(x), 3, CHANNELS, *x.shape[2:])
    apart[:, :, MARKS + GROUPS.index(group)] = value
    return apart.flatten(1, 2)


def view(network: FusionNet, x: Tensor, by_series: float) -> Tensor:
    slices = x.reshape(len(x), 3, CHANNELS, *x.shape[2:])
    return network.join_groups(slices, torch.full((len(x), 1, 1, 1), by_series))


def test_any_size_comes_back_and_training_gives_every_stage() -> None:
    network = FusionNet(**SMALL)
    assert network.train()(image()).shape == (2, 2, 2, 20, 28)
    assert network.eval()(image()).shape == (2, 2, 20, 28)


def test_every_parameter_learns() -> None:
    network = FusionNet(**SMALL).train()
    network(marked(image(), "maps")).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.abs().sum() > 0 for p in network.parameters())


@pytest.mark.parametrize(("how", "least", "most"), [({}, 0.45e6, 0.6e6), (
    {"widths": (24, 48, 96, 160, 224), "features": 16}, 2e6, 3e6)], ids=["small", "full"])  # fmt: skip
def test_the_two_sizes_are_as_stated(how: dict, least: float, most: float) -> None:
    assert least < sum(p.numel() for p in FusionNet(**how).parameters()) < most


@pytest.mark.parametrize("group", ["ct", "maps", "series"])
def test_an_absent_group_gives_the_same_whatever_its_voxels_hold(group: str) -> None:
    network, x = FusionNet(**SMALL).eval(), marked(image(), group)
    other = x.clone().reshape(2, 3, CHANNELS, 20, 28)
    other[:, :, FIRST[group]] = torch.randn_like(other[:, :, FIRST[group]]) * 50
    assert torch.equal(network(x), network(other.flatten(1, 2)))
    there = marked(other.flatten(1, 2), group, 1.0)
    assert not torch.allclose(network(there), network(marked(x, group, 1.0)))


def test_maps_and_series_together_give_the_mean_of_what_each_gives_alone() -> None:
    network, x = FusionNet(**SMALL).eval(), image()
    maps, series, both = (network(one).softmax(1) for one in (marked(x, "series"), marked(x, "maps"), x))
    assert torch.allclose(both, (maps + series) / 2, atol=1e-6) and not torch.allclose(maps, series)


def test_training_takes_the_given_maps_and_without_them_the_series() -> None:
    network, x = FusionNet(**SMALL).train(), image()
    for dropped, by_series in (("series", 0.0), ("maps", 1.0)):
        assert torch.equal(network(marked(x, dropped)), network.stages(view(network, x, by_series)))
    assert torch.equal(network(x), network(marked(x, "series")))


def test_a_turned_slice_without_marks_in_its_corners_is_trained_on_all_that_is_there() -> None:
    network, x = FusionNet(**SMALL).train(), image().unflatten(1, (3, CHANNELS))
    x[:, :, :, :2] = x[:, :, :, :, -3:] = 0  # as an affine move leaves them
    for dropped, by_series in (("series", 0.0), ("maps", 1.0)):
        turned = marked(x.flatten(1, 2), dropped)
        assert torch.equal(network(turned), network.stages(view(network, turned, by_series)))


def test_measured_maps_take_the_place_of_given_ones() -> None:
    network, x = FusionNet(**SMALL).eval(), image()
    swapped = x.clone().reshape(2, 3, CHANNELS, 20, 28)
    swapped[:, :, 1:5], swapped[:, :, 5:9] = swapped[:, :, 5:9].clone(), swapped[:, :, 1:5].clone()
    given, measured = view(network, x, 0.0), view(network, swapped.flatten(1, 2), 1.0)
    assert torch.equal(given[:, :15], measured[:, :15]) and not given[:, 15:18].any() and measured[:, 15:18].any()


def test_without_the_mirror_only_the_own_side_counts() -> None:
    network, x = FusionNet(**SMALL).eval(), image()
    own, other, apart = view(network, marked(x, "mirror"), 1.0).split([18, 18, 3 + 4], 1)
    assert not other.any() and not apart[:, :3].any() and own.any()
    whole = view(network, x, 1.0)
    assert torch.equal(whole[:, 18:36], whole[:, :18].flip(2))  # all marks are 1: the other side is the flip


def test_neighbours_show_images_and_only_the_slice_itself_its_curves() -> None:
    network, x = FusionNet(**SMALL).eval(), image()
    apart = x.clone().reshape(2, 3, CHANNELS, 20, 28)
    apart[:, 0, 9:25] += 7
    assert torch.equal(network(x), network(apart.flatten(1, 2)))
    apart[:, 0, FIRST["maps"]] += 7
    assert not torch.allclose(network(x), network(apart.flatten(1, 2)))


def test_torchscript_agrees() -> None:
    network = FusionNet(**SMALL).eval()
    assert torch.allclose(torch.jit.script(network)(image()), network(image()), atol=1e-6)


@pytest.mark.filterwarnings("ignore")  # PyTorch's notes on its own internals
def test_the_exported_graph_takes_any_number_of_windows() -> None:
    network, free = FusionNet(**SMALL).eval(), torch.export.Dim
    shapes = ({0: free("batch"), 2: 16 * free("height"), 3: 16 * free("width")},)
    window = torch.randn(3, network.in_channels, 80, 48)
    graph = torch.export.export(network, (window,), dynamic_shapes=shapes, strict=False).module()
    assert torch.allclose(graph(window[:1, :, :64, :32]), network(window[:1, :, :64, :32]), atol=1e-5)


@pytest.mark.parametrize("wrong", [{"slices": 2}, {"images": 1}, {"times": 0}, {"widths": (4,)}, {"features": 0}])
def test_sizes_that_make_no_network_are_refused(wrong: dict) -> None:
    with pytest.raises(IslesError, match="E-NET-49"):
        FusionNet(**(SMALL | wrong))


def test_marks_of_a_random_window_as_of_an_export_count_as_0_or_1(monkeypatch: pytest.MonkeyPatch) -> None:
    network = FusionNet(**SMALL).eval()
    views = torch.tensor([[9.0, -9.0], [-9.0, 9.0]]).repeat_interleave(2, 0)[..., None, None].expand(-1, -1, 20, 28)
    monkeypatch.setattr(network, "stages", lambda joined: views)
    whole, odd = marked(image(), "maps"), marked(marked(image(), "maps", -0.7), "series", 1.6)
    assert torch.equal(network(odd), network(whole)) and float(network(odd)[:, 1].min()) > -1e-4
