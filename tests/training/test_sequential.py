"""The parts learn one after another, each from the full learning rate, and the best epoch is one of the last stage."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Engine
from torch import nn

from monai_isles.errors import IslesError
from monai_isles.losses import PseudoDWILoss, SynthesisLoss
from monai_isles.networks import PseudoDWINet
from monai_isles.training import Checkpoints, EarlyStop, SequentialStages

PAIR = (("extractor", "generator"), ("segmenter",))


class Memory:
    def __init__(self) -> None:
        self.forgot: list[int] = []
        self.objects: dict[str, object] = {}
        self.engine: Engine | None = None

    def forget_best(self) -> None:
        self.forgot.append(self.engine.state.epoch)


def run(max_epochs: int, **settings: object) -> tuple[list[tuple], Memory, list[set[str]]]:
    network = PseudoDWINet(base_channels=2, return_aux=True)
    loss = PseudoDWILoss(synthesis=SynthesisLoss(encoder=network.context_encoder))
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
    order = [number for number, _ in places]
    assert order == sorted(order) and set(order) == {0, 1, 2} and all(0 <= share < 1 for _, share in places)
    if max_epochs == 300:
        late = [epoch for epoch, (_, share) in enumerate(places, start=1) if share >= 0.6]
        assert late == [*range(61, 101), *range(161, 201), *range(261, 301)]


def test_stages_may_have_their_own_epochs_each_with_the_paper_s_schedule() -> None:
    seen, memory, _ = run(9, stages=PAIR, epochs=[5, 4])
    assert [parts for _, parts, _ in seen] == [("extractor", "generator")] * 5 + [("segmenter",)] * 4
    assert [lr for _, _, lr in seen] == [2e-3] * 3 + [4e-4] * 2 + [2e-3] * 3 + [4e-4]  # at 60 % of each
    assert memory.forgot == [6]


class Scores(nn.Module):
    """A network of two parts, one weight each, which ``train`` sets to the number of the epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.generator, self.segmenter = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)

    def parts(self) -> dict[str, nn.Module]:
        return dict(self.named_children())

    def train_only(self, *names: str) -> None:
        self.learns = names[0]


def handing_on(scores: list[float], epochs: int = 99) -> tuple[Scores, SequentialStages]:
    network, memory = Scores(), Memory()
    evaluator = SimpleNamespace(state=SimpleNamespace(metrics={}, epoch=0))

    def epoch(engine: Engine, batch: int) -> None:
        network.get_submodule(network.learns).weight.data.fill_(engine.state.epoch)
        evaluator.state.metrics["val_loss"] = scores[engine.state.epoch - 1]
        evaluator.state.epoch = engine.state.epoch

    engine = memory.engine = Engine(epoch)
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    settings = {"stages": (("generator",), ("segmenter",)), "epochs": [3, 2], "evaluator": evaluator}
    stages = SequentialStages(network, PseudoDWILoss(), optimizer, memory, max_epochs=5, **settings)
    stages.attach(engine)
    engine.run([0], max_epochs=min(epochs, 5))
    return network, stages


def test_the_best_weights_of_a_stage_are_handed_to_the_next() -> None:
    network, stages = handing_on([0.5, 0.2, 0.9, 7.0, 8.0])
    assert network.generator.weight.item() == 2  # the second epoch had the least loss, not the third
    assert network.segmenter.weight.item() == 5 and stages.best == 7.0  # a new stage counts anew


def test_a_resumed_stage_knows_its_best_weights() -> None:
    _, stopped = handing_on([0.5, 0.2, 0.9, 7.0, 8.0], epochs=3)
    assert stopped.checkpoints.objects["stages"] is stopped
    network, resumed = handing_on([0.5, 0.2, 0.9, 7.0, 8.0], epochs=1)
    resumed.load_state_dict(stopped.state_dict())
    resumed(SimpleNamespace(state=SimpleNamespace(epoch=4)))
    assert network.generator.weight.item() == 2


def ended_early(scores: list[float], patience: int) -> tuple[list[int], SequentialStages]:
    """Run two stages of at most five epochs each under an early stop; return the epochs in which each part learnt."""
    network, memory = Scores(), Memory()
    evaluator = Engine(lambda engine, batch: None)
    learnt: list[str] = []

    def epoch(engine: Engine, batch: int) -> None:
        learnt.append(network.learns)
        network.get_submodule(network.learns).weight.data.fill_(engine.state.epoch)
        evaluator.state.metrics["m"] = scores[engine.state.epoch - 1]
        evaluator.state.epoch = engine.state.epoch

    engine = memory.engine = Engine(epoch)
    early = EarlyStop(evaluator, "m", patience=patience)
    stages = SequentialStages(
        network, None, torch.optim.SGD(network.parameters(), lr=1.0), memory, max_epochs=10, epochs=[5, 5],
        stages=(("generator",), ("segmenter",)), evaluator=evaluator, metric="m", early_stop=early,
    )  # fmt: skip
    stages.attach(engine)
    early.attach(engine)
    engine.run([0], max_epochs=10)
    return [learnt.count("generator"), learnt.count("segmenter")], stages


def test_a_stage_that_gets_no_better_gives_way_to_the_next_with_its_best_weights() -> None:
    lengths, stages = ended_early([0.5, 0.6, 0.7, 0.9, 0.8, 0.95, 0.99, 0.1], patience=2)
    assert lengths == [3, 4]  # 0.5, then two worse; the next counts anew: 0.9, 0.8, then two worse end the training
    assert stages.network.generator.weight.item() == 1 and stages.checkpoints.forgot == [4]
    assert stages.state_dict()["lengths"] == [3, 5]


def test_stages_that_never_wait_take_all_their_epochs_and_a_shortened_one_ends_the_training_sooner() -> None:
    falling = [1 - 0.01 * n for n in range(10)]
    assert ended_early(falling, patience=2)[0] == [5, 5]
    assert ended_early([0.5, 0.6, 0.7, *falling], patience=2)[0] == [3, 5]


def test_parts_that_the_network_lacks_are_passed_over() -> None:
    network = PseudoDWINet(base_channels=2, high_level=False)
    stages = SequentialStages(network, PseudoDWILoss(), None, Memory(), max_epochs=9)
    assert stages.stages == [("generator",), ("segmenter",)]


@pytest.mark.parametrize("epochs", [[4, 4], [3, 3, 2], [9, 0, 0], [3]])
def test_epochs_that_do_not_fit_the_stages_are_refused(epochs: list[int]) -> None:
    network = PseudoDWINet(base_channels=2)
    with pytest.raises(IslesError, match=r"E-TRAIN-30(?s:.*)divided"):
        SequentialStages(network, PseudoDWILoss(), None, Memory(), max_epochs=9, epochs=epochs)


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
