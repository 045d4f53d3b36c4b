"""Run the folds of a cross-validation as a cohort: each fold on a worker, its steps one after another."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from monai_isles.cohort.place import Place
from monai_isles.cohort.task import Record, Task
from monai_isles.cohort.engine import run_cases
from monai_isles.cohort.child_process import GRACE_S, run_tied
from monai_isles.errors import IslesError
from monai_isles.evaluation.crossval_workers import Step, last_words
from monai_isles.io.locks import LOCK, require_free


def run_folds(
    steps: Mapping[int, Sequence[Step]], *, place: Place, gpus: int = 0, memory_gb: float = 0.0
) -> dict[int, Record]:
    """Run the steps of each fold on a worker of ``place`` and return a record a fold, as ``run_steps`` does.

    A fold whose worker dies goes on elsewhere from its last checkpoint.

    Args:
        steps: by fold; none at all means that the fold was done before.
        gpus, memory_gb: that one fold needs of its worker.
    Raises:
        IslesError: those of ``monai_isles.cohort.run_cases``.
    Source: ours; ``tests/evaluation/test_crossval_cohort.py``.
    """
    names = {f"fold {fold}": fold for fold, mine in steps.items() if mine}
    tasks = [Task(name, (os.getcwd(), list(steps[fold])), gpus, memory_gb) for name, fold in names.items()]
    records: dict[int, Record] = {fold: {"outcome": "done before"} for fold, mine in steps.items() if not mine}
    records |= {names[name]: record for name, record in run_cases(run_fold, tasks, **place, title="folds").items()}
    return dict(sorted(records.items()))


def run_fold(task: Task) -> Record:
    """Run the steps of one fold that are not done; the first that fails ends it."""
    folder, steps = task.about
    started = time.monotonic()
    for step in steps:
        if step.done is not None and (Path(folder) / step.done).is_file():
            continue
        log = Path(folder) / step.log
        if task.again:
            _await_predecessor(log.parent)
        code = run_tied([sys.executable, *step.command[1:]], log, folder=folder)
        if code:
            seconds = round(time.monotonic() - started, 1)
            return {"outcome": "failed", "step": step.title, "error": last_words(step.log, code), "seconds": seconds}
    return {"outcome": "ok", "seconds": round(time.monotonic() - started, 1)}


def _await_predecessor(folder: Path) -> None:
    """Wait until what the dead worker had started has ended; then its lock, of another host or not, is nobody's."""
    until = time.monotonic() + GRACE_S + 5
    while time.monotonic() < until:
        try:
            return require_free(folder)
        except IslesError:
            time.sleep(0.2)
    (folder / LOCK).unlink(missing_ok=True)
