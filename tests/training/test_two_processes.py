"""Several processes decide alike, and learn by the mean of their gradients, as DistributedDataParallel promises."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from torch import nn

from monai_isles.errors import IslesError
from monai_isles.networks import PSPNet
from monai_isles.networks.blocks import LoneBatchNorm2d
from monai_isles.training import Curves, EarlyStop, join_group, leave_group, shard, shared, world_size
from monai_isles.training.distributed import from_first


def test_alone_nothing_is_exchanged() -> None:
    assert from_first(0.25) == 0.25 and world_size() == 1
    assert shard([1, 2, 3]) is not None and len(shard([1, 2, 3])) == 3


def test_the_first_process_s_score_decides_for_all(in_group: Callable) -> None:
    def waited(rank: int) -> tuple[int, float]:
        evaluator = SimpleNamespace(state=SimpleNamespace(metrics={"m": 1.0}, epoch=0))
        stop = EarlyStop(evaluator, "m", patience=9, min_delta=0.1)
        for score in (1.0, 0.5 if rank == 0 else 1.0, 0.6):
            evaluator.state.metrics["m"] = score
            stop(SimpleNamespace(state=evaluator.state, terminate=lambda: None))
        return stop.waited, stop.best

    assert in_group(waited) == [(1, 0.5), (1, 0.5)]


def test_the_gradient_is_the_mean_of_both_and_both_go_on_with_the_same_weights(in_group: Callable) -> None:
    def learnt(rank: int) -> tuple[float, float]:
        torch.manual_seed(rank)  # other weights to begin with: the first process's hold
        network = shared(nn.Linear(1, 1, bias=False), torch.device("cpu"))
        optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
        network(torch.tensor([[1.0], [3.0]] if rank == 0 else [[8.0], [8.0]])).mean().backward()
        optimizer.step()
        return network.module.weight.grad.item(), network.module.weight.item()

    (gradient, weight), other = in_group(learnt)
    assert gradient == pytest.approx(5.0) and (gradient, weight) == other  # mean of 2 and 8
    torch.manual_seed(0)
    assert weight == pytest.approx(nn.Linear(1, 1, bias=False).weight.item() - 5.0)


def test_on_a_processor_each_normalises_by_its_own_batch(in_group: Callable) -> None:
    def normalised(rank: int) -> torch.Tensor:
        network = shared(nn.Sequential(LoneBatchNorm2d(1)), torch.device("cpu"))
        network.train()
        return network(torch.tensor([1.0, 3.0]).reshape(2, 1, 1, 1) + 100 * rank).flatten().detach()

    for found in in_group(normalised):
        torch.testing.assert_close(found, torch.tensor([-1.0, 1.0]), atol=1e-4, rtol=0)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_on_gpus_batch_normalisation_is_torch_s_synchronised_one(in_group: Callable) -> None:
    def kinds(rank: int) -> list[str]:
        network = shared(nn.Sequential(LoneBatchNorm2d(1)), torch.device(f"cuda:{rank}"))
        return [type(layer).__name__ for layer in network.module]

    assert in_group(kinds) == [["SyncBatchNorm"]] * 2


def test_the_curve_counts_every_voxel_of_all_processes_once(in_group: Callable) -> None:
    def row(rank: int) -> dict[str, float]:
        curves = Curves("unused", [], writes=False)
        logits = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])[rank :: world_size(), :, None]
        label = torch.ones(4, 1, 1)[rank :: world_size()]
        loss = torch.tensor([1.0, 2.0, 6.0, 3.0])[rank :: world_size()].mean()
        engine = SimpleNamespace(state=SimpleNamespace(epoch=1))
        engine.state.output = {"pred": logits, "label": label, "loss": loss}
        curves._begin()
        curves._count(engine)
        curves._finish(engine)
        return {name: curves.rows[0][name] for name in ("train_loss", "train_accuracy")}

    wanted = {"train_loss": pytest.approx(3.0), "train_accuracy": pytest.approx(3 / 4)}
    assert in_group(row) == [wanted] * 2 and in_group(row, 1) == [wanted]


def test_every_case_is_scored_by_one_process_or_all_by_all(in_group: Callable) -> None:
    assert in_group(lambda rank: [list(shard(list(range(5)))), list(shard([7]))]) == [[[0, 2, 4], [7]], [[1, 3], [7]]]


def test_gradients_follow_what_is_held_and_let_go(in_group: Callable) -> None:
    """Freeze, thaw and freeze again: each time exactly the learning parameters get the mean of both gradients."""
    network = PSPNet(2, base_channels=2, dropout=0.0).double()
    network.pretrained = tuple(name for name, _ in network.named_parameters() if name.startswith("backbone"))
    images = torch.randn(4, 2, 32, 32, dtype=torch.float64)

    def learnt(rank: int) -> list[dict[str, torch.Tensor]]:
        own = shared(copy.deepcopy(network), torch.device("cpu"))
        found = []
        for frozen in (True, False, True):
            own.module.freeze_pretrained(frozen)
            own.train()
            own.zero_grad(set_to_none=True)
            (own(images[rank::2]) ** 2).mean().backward()
            found.append({name: p.grad for name, p in own.module.named_parameters() if p.grad is not None})
        return found

    for one, two in zip(*in_group(learnt), strict=True):
        assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    held, all_of_it, again = in_group(learnt)[0]
    assert held.keys() == again.keys() < all_of_it.keys()
    assert not any(name.startswith("backbone") for name in held)


def test_a_group_is_joined_once_and_left_once(in_group: Callable) -> None:
    def work(rank: int) -> bool:
        join_group()
        leave_group()
        leave_group()
        return dist.is_initialized()

    assert in_group(work) == [False, False]
    os.environ.pop("LOCAL_RANK", None)
    with pytest.raises(IslesError, match="E-RUN-21"):
        join_group()
