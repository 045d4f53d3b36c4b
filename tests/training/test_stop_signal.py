"""SIGTERM in training saves where it can be gone on from, and the run that goes on is the one that was not stopped."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Events

from monai_isles.io import load_state

Build = Callable[..., SimpleNamespace]
pytestmark = pytest.mark.usefixtures("exits")


def terminate(run: SimpleNamespace, event: object, times: int = 1) -> None:
    """Run until ``event``, where the process is asked to stop."""

    def ask(engine: object) -> None:
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGTERM)

    run.trainer.add_event_handler(event, ask)
    with pytest.raises(SystemExit, match="143"):
        run.trainer.run()


def rows(run: SimpleNamespace) -> list[dict[str, float]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in run.curves.rows]


def require_same(one: SimpleNamespace, other: SimpleNamespace) -> None:
    assert rows(one) == rows(other)
    theirs = other.network.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in one.network.state_dict().items())


@pytest.mark.parametrize(
    ("iteration", "name", "epoch"),
    [(5, "checkpoint-0002-000002.pt", 1), (1, "checkpoint-0001-000001.pt", 0), (6, "checkpoint-0002.pt", 2)],
    ids=["within", "in the first epoch", "at the last iteration"],
)
def test_a_stopped_run_goes_on_bit_for_bit(small_run: Build, iteration: int, name: str, epoch: int) -> None:
    whole = small_run(epochs=3, folder="whole")
    whole.trainer.run()
    stopped = small_run(epochs=3)
    terminate(stopped, Events.ITERATION_STARTED(once=iteration))
    assert max(path.name for path in stopped.folder.glob("checkpoint-*.pt")) == name
    assert load_state(stopped.folder / name)["epoch"] == epoch
    resumed = small_run(epochs=3)
    assert resumed.checkpoints.resume(resumed.trainer) == epoch
    resumed.trainer.run()
    require_same(resumed, whole)


def test_a_signal_during_the_validation_waits_for_the_epochs_checkpoint(small_run: Build) -> None:
    run = small_run(epochs=3)
    run.checkpoints.evaluator.add_event_handler(
        Events.STARTED, lambda engine: os.kill(os.getpid(), signal.SIGTERM) if run.trainer.state.epoch == 2 else None
    )
    with pytest.raises(SystemExit, match="143"):
        run.trainer.run()
    assert [p.name for p in sorted(run.folder.glob("check*.pt"))] == ["checkpoint-0001.pt", "checkpoint-0002.pt"]


def test_a_second_signal_ends_at_once(small_run: Build) -> None:
    run = small_run(epochs=3)
    terminate(run, Events.ITERATION_STARTED(once=2), times=2)
    assert list(run.folder.glob("*.pt")) == []


def test_without_plain_exits_the_signal_is_left_alone(small_run: Build) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    small_run(epochs=1).trainer.run()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
