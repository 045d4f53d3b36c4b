"""What several processes decide, they decide alike, and what they count, they count once."""

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
from monai_isles.networks.batch_share import SHARE
from monai_isles.training import (
    Curves,
    EarlyStop,
    GroupBatch,
    GroupLoss,
    SharedNetwork,
    agreed,
    join_group,
    leave_group,
    shard,
    shared,
    world_size,
)


def batch(*rows: float, total: int | None = None) -> dict[str, object]:
    image = torch.tensor(rows).reshape(-1, 1, 1, 1)
    return {"image": image, "label": image.clone()} | ({} if total is None else {"total": total})


def test_alone_nothing_is_exchanged() -> None:
    GroupBatch()(batch(1.0))
    assert agreed(0.25) == 0.25 and world_size() == 1 and SHARE.weight == 1.0
    assert shard([1, 2, 3]) is not None and len(shard([1, 2, 3])) == 3


def test_the_first_process_s_score_decides_for_all(in_group: Callable) -> None:
    def waited(rank: int) -> tuple[int, float]:
        evaluator = SimpleNamespace(state=SimpleNamespace(metrics={"m": 1.0}))
        stop = EarlyStop(evaluator, "m", patience=9, min_delta=0.1)
        for score in (1.0, 0.5 if rank == 0 else 1.0, 0.6):
            evaluator.state.metrics["m"] = score
            stop(SimpleNamespace(terminate=lambda: None))
        return stop.waited, stop.best

    assert in_group(waited) == [(1, 0.5), (1, 0.5)]


def test_a_process_left_without_items_takes_part_with_a_stand_in_that_weighs_nothing(in_group: Callable) -> None:
    def gradient(rank: int) -> list[float]:
        network, prepare, loss = SharedNetwork(nn.Linear(1, 1, bias=False)), GroupBatch(), GroupLoss(nn.L1Loss())
        nn.init.ones_(network.module.weight)
        found = []
        for mine, total in (([1.0, 3.0] if rank == 0 else [8.0], 3), ([5.0] if rank == 0 else [], 1)):
            image, _ = prepare(batch(*mine, total=total))
            network.zero_grad()
            loss(network(image), torch.zeros_like(image)).backward()
            found.append(float(network.module.weight.grad))
        return found

    assert in_group(gradient) == [pytest.approx([4.0, 5.0])] * 2  # mean of 1, 3 and 8; then 5 alone


def test_the_curve_counts_every_voxel_of_all_processes_once(in_group: Callable) -> None:
    def row(rank: int) -> dict[str, float]:
        curves = Curves("unused", [], writes=False)
        logits = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])[rank :: world_size(), :, None]
        label = torch.ones(3, 1, 1)[rank :: world_size()]
        if world_size() > 1:
            SHARE.divide(len(label), 3)
        loss = torch.tensor([1.0, 2.0, 6.0])[rank :: world_size()].mean() * SHARE.weight
        engine = SimpleNamespace(state=SimpleNamespace(epoch=1))
        engine.state.output = {"pred": logits, "label": label, "loss": loss}
        curves._begin()
        curves._count(engine)
        curves._finish(engine)
        return {name: curves.rows[0][name] for name in ("train_loss", "train_accuracy")}

    wanted = {"train_loss": pytest.approx(3.0), "train_accuracy": pytest.approx(2 / 3)}
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
            SHARE.divide(2, 4)
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
