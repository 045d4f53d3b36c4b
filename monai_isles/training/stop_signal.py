"""Handle SIGTERM: stop where the run can be saved."""

from __future__ import annotations

import json
import logging
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import cast

from ignite.engine import Engine, Events

from monai_isles.errors import refused

EXIT_TERMINATED = 143


def exit_on_sigterm() -> None:
    """Let SIGTERM end this process with exit code 143."""
    signal.signal(signal.SIGTERM, _terminate)


def exits_on_sigterm() -> bool:
    """Return whether ``exit_on_sigterm`` holds in this process."""
    return signal.getsignal(signal.SIGTERM) is _terminate


def _terminate(number: int, frame: FrameType | None) -> None:
    raise SystemExit(EXIT_TERMINATED)


def require_unfinished(folder: Path) -> None:
    """Refuse a folder with the ``run.json`` of a finished run."""
    done = folder / "run.json"
    if done.exists():
        raise refused("E-TRAIN-02", where=str(folder), found=json.loads(done.read_text(encoding="utf-8"))["outcome"])


log = logging.getLogger(__name__)


class StopSignal:
    """Note a SIGTERM while an engine runs, so that the engine's handlers can save and stop.

    The first one is noted; the second ends the process at once. Without an earlier ``plain_exits`` this has no effect.
    """

    def __init__(self) -> None:
        self.requested = False

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self._watch)
        engine.add_event_handler(Events.COMPLETED, self._leave)

    def stop(self) -> None:
        """End the process if a SIGTERM came: its state is saved."""
        if self.requested:
            raise SystemExit(EXIT_TERMINATED)

    def _watch(self, engine: Engine) -> None:
        if exits_on_sigterm():
            signal.signal(signal.SIGTERM, self._note)

    def _leave(self, engine: Engine) -> None:
        if signal.getsignal(signal.SIGTERM) == self._note:
            signal.signal(signal.SIGTERM, _terminate)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise SystemExit(EXIT_TERMINATED)
        self.requested = True
        log.warning("SIGTERM received: saving at the end of this iteration, or of the current validation")


def start_within(engine: Engine, iterations: int, then: Callable[[], None]) -> None:
    """Let the first epoch of ``engine`` start after that many iterations: their batches are skipped."""
    waiting = [then]

    def pass_over(engine: Engine) -> None:
        if waiting:
            batches = cast(Iterator[object], engine._dataloader_iter)
            for _ in range(iterations):
                next(batches)
            waiting.pop()()

    engine.add_event_handler(Events.GET_BATCH_STARTED, pass_over)
