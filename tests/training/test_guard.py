"""A loss that is not a number stops the run, at once or one iteration later, and before anything is saved."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents

from monai_isles.errors import IslesError
from monai_isles.training import FiniteGuard


def stops_in(losses: list[float], late: bool | None) -> tuple[int, list[str]]:
    """Return the iteration in which the guard raised, 0 for the epoch's end, and what was saved."""
    guard, saved = FiniteGuard(SimpleNamespace(names=["a", "b"]), late=late), []

    def step(engine: Engine, batch: dict) -> None:
        engine.state.output = {"loss": torch.tensor(losses[engine.state.iteration - 1])}
        engine.fire_event(IterationEvents.LOSS_COMPLETED)
        steps.append(engine.state.iteration)

    steps: list[int] = []
    engine = Engine(step)
    engine.register_events(*IterationEvents)
    guard.attach(engine)
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: saved.append("checkpoint"))
    with pytest.raises(IslesError, match=r"E-TRAIN-03.*\n.*cases b\n.*nan in epoch 1, iteration 2"):
        engine.run([{"case": torch.tensor([i % 2])} for i in range(len(losses))], max_epochs=1)
    return len(steps) + 1, saved


def test_it_stops_before_the_backward_pass() -> None:
    assert stops_in([1.0, float("nan"), 1.0], late=None) == (2, [])


def test_looking_late_stops_one_iteration_later_and_names_the_right_one() -> None:
    assert stops_in([1.0, float("nan"), 1.0, 1.0], late=True) == (3, [])


def test_the_last_loss_of_an_epoch_is_looked_at_before_anything_is_saved() -> None:
    assert stops_in([1.0, float("nan")], late=True) == (3, [])
