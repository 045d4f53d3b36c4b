"""Layers that look at the whole batch give, divided among processes, what one process gives."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from monai_isles.networks import (
    AnisotropicVNet,
    AsymmetricResUNet,
    PSPNet,
    R2UNet,
    SharedBatchNorm,
    SLNet,
    StrokeFCN,
    SwitchableNorm2d,
    WangResUNet,
    share_layers,
)
from monai_isles.networks.batch_share import SHARE
from monai_isles.networks.norms import LoneBatchNorm2d

TOLERANCE = {"rtol": 1e-6, "atol": 1e-7}  # float64 throughout: sums in another order, over variances of three values


def shares(network: nn.Module, steps: list[Tensor], rank: int, world: int = 2) -> dict[str, Tensor]:
    """Train on the sum of squares of ``rank``'s rows of each batch; return outputs, gradients and statistics."""
    torch.manual_seed(7)
    network.double()
    found: dict[str, Tensor] = {}
    for number, batch in enumerate(steps):
        network.zero_grad()
        mine = batch[rank::world].double()
        if world > 1:
            SHARE.divide(len(mine), len(batch))
        mine = (mine if len(mine) else batch[:1].double() + 100).clone().requires_grad_()
        out = network(mine)
        ((out**2).sum() * (SHARE.counts or world == 1)).backward()
        rows = len(batch[rank::world])
        found |= {f"out {number}": out.detach()[:rows], f"x.grad {number}": mine.grad[:rows]}
        found |= {f"{name} {number}": p.grad.clone() for name, p in network.named_parameters()}
    return found | dict(network.state_dict())


def together(parts: list[dict[str, Tensor]], name: str) -> Tensor:
    one, two = (part[name] for part in parts)
    if name.startswith(("out", "x.grad")):
        whole = one.new_empty(len(one) + len(two), *one.shape[1:])
        whole[0::2], whole[1::2] = one, two
        return whole
    if name[-1].isdigit():
        return one + two  # each process's share of a gradient
    assert torch.equal(one, two), name
    return one


def judged(network: nn.Module, steps: list[Tensor], in_group: Callable) -> None:
    whole = shares(copy.deepcopy(network), steps, 0, world=1)
    parts = in_group(lambda rank: shares(share_layers(copy.deepcopy(network)), steps, rank))
    for name, wanted in whole.items():
        torch.testing.assert_close(together(parts, name), wanted, **TOLERANCE, msg=lambda text, n=name: f"{n}: {text}")


@pytest.mark.parametrize(
    "layer",
    [nn.BatchNorm2d(3), LoneBatchNorm2d(3), SwitchableNorm2d(3), nn.Dropout2d(0.4)],
    ids=["batch", "lone", "switchable", "dropout"],
)
def test_a_layer_over_two_processes_is_the_layer_over_the_whole_batch(layer: nn.Module, in_group: Callable) -> None:
    torch.manual_seed(0)
    steps = [3 + 2 * torch.randn(size, 3, 6, 5) for size in (7, 4, 1)]  # even, uneven, and nothing for the second
    judged(nn.Sequential(nn.Conv2d(3, 3, 3), layer, nn.Conv2d(3, 2, 1)), steps, in_group)


def test_volumes_too(in_group: Callable) -> None:
    torch.manual_seed(0)
    steps = [torch.randn(size, 2, 4, 4, 4) for size in (5, 1)]
    judged(nn.Sequential(nn.Conv3d(2, 3, 1), nn.BatchNorm3d(3), nn.Dropout3d(0.3)), steps, in_group)


@pytest.mark.parametrize(
    "kind",
    [AsymmetricResUNet, PSPNet, SLNet, StrokeFCN, R2UNet, WangResUNet, AnisotropicVNet],
)
def test_a_network_over_two_processes_is_the_network_over_the_whole_batch(kind: type, in_group: Callable) -> None:
    torch.manual_seed(0)
    network = kind(2, 2, base_channels=2) if kind is AsymmetricResUNet else kind(2, base_channels=2)
    deep = (2,) if kind is AnisotropicVNet else ()
    judged(network, [torch.randn(3, 2, 32, 32, *deep, generator=torch.Generator().manual_seed(1))], in_group)


def test_a_lone_value_is_normalised_by_the_running_statistics(in_group: Callable) -> None:
    norm = LoneBatchNorm2d(3)
    norm.running_mean += 5
    lone = torch.randn(1, 3, 1, 1)

    def normalised(rank: int) -> Tensor:
        SHARE.divide(1 - rank, 1)
        return SharedBatchNorm.of(copy.deepcopy(norm))(lone)

    torch.testing.assert_close(in_group(normalised)[0].detach(), norm(lone).detach())


def test_a_shared_network_prints_and_stores_what_the_plain_one_does_and_is_it_in_one_process() -> None:
    torch.manual_seed(0)
    for plain in (AsymmetricResUNet(2, 2, base_channels=2), SLNet(2, base_channels=2), PSPNet(2, base_channels=2)):
        made = share_layers(copy.deepcopy(plain))
        assert repr(made) == repr(plain) and list(made.state_dict()) == list(plain.state_dict())
        image = torch.randn(2, 2, 32, 32)
        for mode in (True, False):
            answers = []
            for network in (plain.train(mode), made.train(mode)):
                torch.manual_seed(1)
                answers.append(network(image))
            assert torch.equal(*answers)


def test_parameters_stay_the_same_objects_so_that_an_optimiser_keeps_them() -> None:
    network = AsymmetricResUNet(2, 2, base_channels=2)
    before = {id(p) for p in network.parameters()}
    assert {id(p) for p in share_layers(network).parameters()} == before
