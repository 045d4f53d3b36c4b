"""The running average of weights by hand, and a resumed one against one that never stopped."""

from __future__ import annotations

import copy

import pytest
import torch
from ignite.engine import Engine, Events
from torch import nn

from monai_isles.training import WeightAverage


def stepped(average: WeightAverage, network: nn.Linear, steps: int) -> None:
    """Add one to the weight at every step, by an engine."""

    def step(engine: Engine, batch: int) -> None:
        with torch.no_grad():
            network.weight += 1

    engine = Engine(step)
    average.attach(engine)
    engine.run(range(steps))


def network() -> nn.Linear:
    made = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(made.weight)
    return made


def test_by_hand() -> None:
    trained = network()
    average = WeightAverage(trained, share=0.25)
    stepped(average, trained, 3)  # weights 1, 2, 3; shares 1, 10/11, 10/12
    second = 1 + 10 / 11
    assert average.kept.weight.item() == pytest.approx(second + (3 - second) * 10 / 12)
    assert average.validated is average.kept and trained.weight.item() == 3.0
    stepped(average, trained, 200)  # 10 / (10 + n) is below a quarter by now: a ramp is followed 3 steps behind
    assert average.kept.weight.item() == pytest.approx(203 - 3, abs=1e-3)


def test_off_it_is_the_network_itself() -> None:
    trained, wrapper = network(), nn.Sequential(network())
    average = WeightAverage(trained, wrapper, share=0.0)
    engine = Engine(lambda engine, batch: None)
    average.attach(engine)
    assert average.kept is trained and average.validated is wrapper
    assert not engine.has_event_handler(average, Events.ITERATION_COMPLETED) and average.state_dict() == {}


def test_running_statistics_are_averaged_and_counts_taken_over() -> None:
    trained = nn.BatchNorm1d(2)
    average = WeightAverage(trained, share=0.5)
    average()
    trained.running_mean += 4.0
    trained.num_batches_tracked += 7
    average.steps = 1000
    average()
    assert average.kept.running_mean.tolist() == [2.0, 2.0] and int(average.kept.num_batches_tracked) == 7


def test_a_resumed_average_goes_on_as_if_it_had_not_stopped() -> None:
    whole, first = network(), network()
    straight, begun = WeightAverage(whole, share=0.1), WeightAverage(first, share=0.1)
    stepped(straight, whole, 20)
    stepped(begun, first, 8)
    saved, kept = copy.deepcopy(begun.state_dict()), copy.deepcopy(begun.kept.state_dict())
    again = network()
    resumed = WeightAverage(again, share=0.1)
    resumed.kept.load_state_dict(kept)  # what Checkpoints does with the network that it keeps
    resumed.load_state_dict(saved)
    stepped(resumed, again, 12)
    assert torch.equal(resumed.kept.weight, straight.kept.weight) and torch.equal(again.weight, whole.weight)


def test_an_average_may_begin_in_a_run_that_had_none() -> None:
    first, again = network(), network()
    nn.init.ones_(first.weight)
    resumed = WeightAverage(again, share=0.1)
    resumed.kept.load_state_dict(first.state_dict())
    resumed.load_state_dict(WeightAverage(first, share=0.0).state_dict())
    assert torch.equal(again.weight, first.weight)
    stepped(resumed, again, 1)
    assert torch.equal(resumed.kept.weight, again.weight)
