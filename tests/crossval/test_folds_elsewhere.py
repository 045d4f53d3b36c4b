"""Folds as a cohort: side by side, alone in their failures, what is done is not done again."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from monai_isles.cohort.task import Task
from monai_isles.crossval import run as crossval_cohort
from monai_isles.crossval.run import Step, run_fold, run_folds


def step(folder: Path, name: str, script: str, done: Path | None = None) -> Step:
    return Step(name, [sys.executable, "-S", "-c", f"import os, sys, time; {script}"], folder / f"{name}.log", done)


@pytest.mark.long
def test_folds_run_on_two_workers_and_one_that_fails_takes_no_other_along(tmp_path: Path, warm_workers: None) -> None:
    def meet(own: str, other: str) -> str:
        return (
            f"open({str(tmp_path)!r} + '/{own}', 'w').close()\nend = time.monotonic() + 20\n"
            f"while not os.path.exists({str(tmp_path)!r} + '/{other}'):\n"
            f"    time.sleep(0.02); assert time.monotonic() < end"
        )

    fault = r"sys.stderr.write('E-INF-11: no weights there\n  where x\n  found y\n  fix   z\n'); sys.exit(4)"
    steps = {
        2: [step(tmp_path, "x", meet("a", "b"))],
        0: [step(tmp_path, "y", meet("b", "a"))],
        3: [step(tmp_path, "bad", fault), step(tmp_path, "never", f"open({str(tmp_path / 'never')!r}, 'w')")],
    }
    records = run_folds(steps, place={"workers": 2})
    assert [(fold, one["outcome"]) for fold, one in records.items()] == [
        (2, "ok"), (0, "ok"), (3, "failed"),
    ]  # fmt: skip
    assert records[3]["step"] == "bad" and "E-INF-11: no weights there" in records[3]["error"]
    assert not (tmp_path / "never").exists()


def test_a_step_that_is_done_is_not_run_again(tmp_path: Path) -> None:
    (tmp_path / "run.json").touch()
    steps = [step(tmp_path, "training", "sys.exit(9)", tmp_path / "run.json"), step(tmp_path, "prediction", "pass")]
    assert run_fold(Task("fold 0", (os.getcwd(), steps)))["outcome"] == "ok"


def test_a_fold_that_comes_again_waits_for_the_lock_of_its_dead_worker(tmp_path: Path) -> None:
    lock = tmp_path / "run.lock"
    lock.write_text(json.dumps({"pid": os.getpid(), "host": os.uname().nodename}))
    threading.Timer(0.5, lock.unlink).start()
    started = time.monotonic()
    steps = [step(tmp_path, "training", f"sys.exit(os.path.exists({str(lock)!r}))")]
    assert run_fold(Task("fold 0", (os.getcwd(), steps), again=1))["outcome"] == "ok"
    assert time.monotonic() - started > 0.4


def test_a_lock_of_another_host_is_nobodys_after_the_grace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crossval_cohort, "GRACE_S", -4.8)
    (tmp_path / "run.lock").write_text(json.dumps({"pid": 1, "host": "elsewhere"}))
    assert run_fold(Task("f", (os.getcwd(), [step(tmp_path, "training", "pass")]), again=1))["outcome"] == "ok"
    assert not (tmp_path / "run.lock").exists()


def test_a_failing_step_of_another_folder_is_explained_by_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")  # a worker need not be in the folder of the command
    failing = step(Path("fold_0"), "training", "print('E-TRAIN-02: done'); sys.exit(4)")
    record = run_fold(Task("fold 0", (str(tmp_path), [failing])))
    assert record["outcome"] == "failed" and record["step"] == "training"
    assert record["error"] == f"ended with code 4, see {tmp_path}/fold_0/training.log\nE-TRAIN-02: done"
