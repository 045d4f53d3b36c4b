"""The parts learn one after another, each from the full learning rate, and the best epoch is one of the last stage."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine
from torch import nn

from monai_isles.errors import IslesError
from monai_isles.losses import PseudoDWILoss
from monai_isles.networks import PseudoDWINet
from monai_isles.training import Checkpoints, SequentialStages

PAIR = (("extractor", "generator"), ("segmenter",))


class Memory:
    def __init__(self) -> None:
        self.forgot: list[int] = []
        self.engine: Engine | None = None

    def forget_best(self) -> None:
        self.forgot.append(self.engine.state.epoch)


def run(max_epochs: int, **settings: object) -> tuple[list[tuple], Memory, list[set[str]]]:
    network = PseudoDWINet(base_channels=2, return_aux=True)
    loss = PseudoDWILoss(encoder=network.context_encoder)
    optimizer = torch.optim.RMSprop(network.parameters(), lr=2e-3)
    seen, moved, memory = [], [], Memory()

    def step(engine: Engine, batch: int) -> None:
        before = {name: value.clone() for name, value in network.state_dict().items()}
        network.train()
        optimizer.zero_grad()
        loss(network(torch.randn(2, 11, 32, 32)), torch.rand(2, 3, 32, 32).round()).backward()
        optimizer.step()
        after = network.state_dict()
        moved.append({name.split(".")[0] for name in after if not torch.equal(before[name], after[name])})
        seen.append((engine.state.epoch, loss.parts, round(optimizer.param_groups[0]["lr"], 6)))

    engine = Engine(step)
    memory.engine = engine
    SequentialStages(network, loss, optimizer, memory, max_epochs=max_epochs, **settings).attach(engine)
    engine.run([0], max_epochs=max_epochs)
    return seen, memory, moved


def test_thirds_of_the_epochs_move_one_part_each() -> None:
    seen, memory, moved = run(6, decay_at=0.5)
    high, low = 2e-3, 4e-4
    assert seen == [
        (1, ("extractor",), high), (2, ("extractor",), low),
        (3, ("generator",), high), (4, ("generator",), low),
        (5, ("segmenter",), high), (6, ("segmenter",), low),
    ]  # fmt: skip
    assert memory.forgot == [5]
    made = [{"extractor", "context_encoder"}] * 2 + [{"generator", "context_encoder"}] * 2 + [{"segmenter"}] * 2
    assert moved == made  # weights and running statistics alike


def test_two_stages_share_the_epochs_in_halves() -> None:
    seen, memory, moved = run(4, stages=PAIR)
    assert [parts for _, parts, _ in seen] == [("extractor", "generator")] * 2 + [("segmenter",)] * 2
    assert memory.forgot == [3] and moved[0] == {"extractor", "generator", "context_encoder"}


@pytest.mark.parametrize("max_epochs", [3, 7, 100, 300])
def test_every_epoch_belongs_to_one_stage_and_the_stages_keep_their_order(max_epochs: int) -> None:
    network = PseudoDWINet(base_channels=2)
    stages = SequentialStages(network, PseudoDWILoss(), None, Memory(), max_epochs=max_epochs)
    places = [stages.place(epoch) for epoch in range(1, max_epochs + 1)]
    order = [stages.stages.index(stage) for stage, _ in places]
    assert order == sorted(order) and set(order) == {0, 1, 2} and all(0 <= share < 1 for _, share in places)
    if max_epochs == 300:
        late = [epoch for epoch, (_, share) in enumerate(places, start=1) if share >= 0.6]
        assert late == [*range(61, 101), *range(161, 201), *range(261, 301)]


def test_parts_that_the_network_lacks_are_passed_over() -> None:
    network = PseudoDWINet(base_channels=2, high_level=False)
    stages = SequentialStages(network, PseudoDWILoss(), None, Memory(), max_epochs=9)
    assert stages.stages == [("generator",), ("segmenter",)]


@pytest.mark.parametrize("max_epochs", [9, 2])
def test_stages_that_cannot_be_are_refused(max_epochs: int) -> None:
    network = nn.Identity() if max_epochs == 9 else PseudoDWINet(base_channels=2)
    with pytest.raises(IslesError, match=r"E-TRAIN-30.*one after another"):
        SequentialStages(network, PseudoDWILoss(), None, Memory(), max_epochs=max_epochs)


def test_checkpoints_forget_their_best_in_either_direction(tmp_path: Path) -> None:
    for mode, worst in (("max", -math.inf), ("min", math.inf)):
        kept = Checkpoints(str(tmp_path), nn.Identity(), Engine(lambda engine, batch: None), "m", {}, {}, mode=mode)
        kept.best, kept.best_epoch = 0.5, 7
        kept.forget_best()
        assert (kept.best, kept.best_epoch) == (worst, 0)
