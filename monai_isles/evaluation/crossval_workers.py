"""Run the steps of every fold in child processes, as many folds at once as there are devices, behind one bar."""

from __future__ import annotations

import os
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from monai_isles.cohort.devices import visible_devices

__all__ = ["Step", "last_words", "run_steps", "visible_devices"]
PAUSE_S = 0.2
_GRACE_S = 20.0


@dataclass(frozen=True)
class Step:
    """Name one child process: ``title`` for the bar, its command, and the file its output goes to.

    ``done`` is a file that is there once the step need not be run again; None where nothing tells.
    """

    title: str
    command: list[str]
    log: Path
    done: Path | None = None


@dataclass
class _Running:
    fold: int
    waiting: deque[Step]
    started: float = 0.0
    step: Step | None = None
    process: subprocess.Popen | None = None


def run_steps(
    steps: Mapping[int, Sequence[Step]],
    devices: Sequence[str | None],
    *,
    watch: Callable[[Mapping[int, str]], None] = lambda titles: None,
) -> dict[int, dict[str, object]]:
    """Run the steps of each fold one after another, one fold a device, and return a record a fold.

    A step that ends with another code than 0 ends its fold and no other. On the way out, by whatever error, the
    children are told to end and are waited for.

    Args:
        steps: by fold; none at all means that the fold was done before.
        devices: GPU names; None leaves the choice to the child.
        watch: called a few times a second with the running steps' titles by fold.
    Source: ours; ``tests/evaluation/test_crossval_workers.py``.
    """
    records: dict[int, dict[str, object]] = {
        fold: {"outcome": "done before"} for fold, mine in steps.items() if not mine
    }
    queue = deque(_Running(fold, deque(mine)) for fold, mine in steps.items() if mine)
    running: dict[int, _Running] = {}
    try:
        while queue or running:
            for slot, device in enumerate(devices):
                if slot not in running and queue:
                    running[slot] = queue.popleft()
                    running[slot].started = time.monotonic()
                if slot in running:
                    record = _advance(running[slot], device)
                    if record is not None:
                        records[running.pop(slot).fold] = record
            watch({one.fold: one.step.title for one in running.values() if one.step})
            if running:
                time.sleep(PAUSE_S)
    finally:
        _end([one.process for one in running.values() if one.process is not None])
    return dict(sorted(records.items()))


def _advance(one: _Running, device: str | None) -> dict[str, object] | None:
    """Start the fold's next step when none runs; return its record when the last one has ended."""
    code = None if one.process is None else one.process.poll()
    if one.process is not None and code is None:
        return None
    seconds = round(time.monotonic() - one.started, 1)
    if code:
        return {
            "outcome": "failed",
            "step": one.step.title,
            "error": last_words(one.step.log, code),
            "seconds": seconds,
        }
    if not one.waiting:
        return {"outcome": "ok", "seconds": seconds}
    one.step = one.waiting.popleft()
    one.step.log.parent.mkdir(parents=True, exist_ok=True)
    chosen = {} if device is None else {"CUDA_VISIBLE_DEVICES": device}
    with one.step.log.open("wb") as log:
        one.process = subprocess.Popen(
            one.step.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **chosen}
        )
    return None


def last_words(log: Path, code: int) -> str:
    """Return the last error of ours in a log, else its last line."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    starts = [n for n, line in enumerate(lines) if line.startswith("E-") and ": " in line]
    said = lines[starts[-1] : starts[-1] + 4] if starts else [line for line in lines if line.strip()][-1:]
    return "\n".join([f"ended with code {code}, see {log}", *said])


def _end(processes: Sequence[subprocess.Popen]) -> None:
    for process in processes:
        process.terminate()
    until = time.monotonic() + _GRACE_S
    for process in processes:
        try:
            process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
