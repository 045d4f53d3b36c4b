"""Handle SIGTERM: stop where the run can be saved."""

from __future__ import annotations

import json
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import cast

from ignite.engine import Engine, Events

from monai_isles.errors import arguments_error, find_isles_error, memory_error, refused

EXIT_TERMINATED = 143


def plain_exits(**counts: float) -> None:
    """Print an error of this package as its four lines and exit with its code; exit 143 on SIGTERM.

    Call it first in a bundle's ``initialize``. Other exceptions keep their traceback and exit code 1.

    Args:
        counts: settings that must be whole numbers of at least 1, so that others are refused before any work.
    Raises: ``E-TRAIN-21`` for another setting.

    >>> hook, handler = sys.excepthook, signal.getsignal(signal.SIGTERM)
    >>> plain_exits()
    >>> exits_on_sigterm()
    True
    >>> sys.excepthook, _ = hook, signal.signal(signal.SIGTERM, handler)  # as before
    """
    sys.excepthook = _hook
    signal.signal(signal.SIGTERM, _terminate)
    for name, count in counts.items():
        if not isinstance(count, int | float) or count < 1 or count % 1:
            text = {"fault": "this is no whole number of at least 1", "fix": f"give another {name}"}
            raise refused("E-TRAIN-21", where=name, found=repr(count), **text)


def exits_on_sigterm() -> bool:
    """Return whether ``plain_exits`` handles SIGTERM in this process."""
    return signal.getsignal(signal.SIGTERM) is _terminate


def _hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    ours = find_isles_error(error) or memory_error(error, "this run") or arguments_error(error)
    if ours is None:
        sys.__excepthook__(kind, error, trace)
        return
    print(ours, file=sys.stderr)
    raise SystemExit(ours.exit_code)


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
            plain_exits()

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
