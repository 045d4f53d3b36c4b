"""Workers and schedulers are killed in the middle of a cohort: everything is done, once, and whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client

from monai_isles.cohort import clusters
from monai_isles.cohort.engine import run_cases
from monai_isles.cohort.task import Task
from monai_isles.errors import IslesError
from tests.cohort.cases import written

ROOT = Path(__file__).parents[2]


def tasks(folder: Path, count: int, seconds: float, **deaths: int) -> list[Task]:
    folder.mkdir(exist_ok=True)
    about = {"folder": str(folder), "seconds": seconds}
    return [Task(f"c{n}", about | {"deaths": deaths.get(f"c{n}", 0)}) for n in range(count)]


def whole(folder: Path, count: int) -> None:
    """All there, none torn, none ended twice."""
    for n in range(count):
        assert (folder / f"c{n}.txt").read_text() == f"c{n}\n" * 1000
        assert len(list(folder.glob(f"ended-c{n}-*"))) <= 1


def test_a_worker_killed_in_the_middle_loses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    def kill() -> None:
        until = time.monotonic() + 30
        while time.monotonic() < until:
            ended = {path.name.split("-")[1] for path in tmp_path.glob("ended-*")}
            busy = [p for p in tmp_path.glob("begun-*") if p.name.split("-")[1] not in ended]
            if len(ended) >= 2 and busy:
                os.kill(int(max(busy, key=lambda p: int(p.name.split("-")[3])).name.split("-")[2]), signal.SIGKILL)
                return
            time.sleep(0.01)

    killer = threading.Thread(target=kill)
    killer.start()
    records = run_cases(written, tasks(tmp_path, 12, 0.2), workers=2)
    killer.join()
    # a record that the dead worker still held is asked for again, and its file is found there
    assert len(records) == 12 and {record["outcome"] for record in records.values()} <= {"ok", "done before"}
    whole(tmp_path, 12)
    assert len(list(tmp_path.glob("begun-*"))) == 13


def test_a_case_that_ends_every_worker_fails_alone(tmp_path: Path) -> None:
    records = run_cases(written, tasks(tmp_path, 6, 0.05, c1=1, c3=9), workers=2)
    assert [name for name, record in records.items() if record["outcome"] == "failed"] == ["c3"] and len(records) == 6
    assert records["c3"]["error"].startswith("E-COH-05: the worker process died on this case\n  where c3")
    assert len(list(tmp_path.glob("begun-c3-*"))) == 3


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen]]:
    """A scheduler and two workers as a user starts them: their own processes."""
    where = {**os.environ, "PYTHONPATH": str(ROOT), "DASK_TEMPORARY_DIRECTORY": str(tmp_path)}
    file, started = tmp_path / "scheduler.json", []
    with (tmp_path / "log").open("wb") as log:

        def start(kind: str, *words: str) -> None:
            command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", "--host", "127.0.0.1", "--no-dashboard"]
            started.append(subprocess.Popen([*command, *words], env=where, stdout=log, stderr=log))

        start("scheduler", "--port", "0", "--scheduler-file", str(file))
        for _ in range(2):
            start("worker", "--scheduler-file", str(file), "--nthreads", "1", "--no-nanny", "--death-timeout", "20")
        until = time.monotonic() + 30
        while not (file.is_file() and file.read_text().strip()) and time.monotonic() < until:
            time.sleep(0.05)
        address = json.loads(file.read_text())["address"]
        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=30)
        yield address, started[0]
        for process in started:
            process.kill()
            process.wait()


def test_a_cluster_is_used_when_it_has_the_same_version_and_room_for_the_cases(
    cluster: tuple[str, subprocess.Popen], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, _ = cluster
    records = run_cases(written, tasks(tmp_path / "out", 4, 0.01), cluster=address)
    assert [record["outcome"] for record in records.values()] == ["ok"] * 4
    with pytest.raises(IslesError, match=r"E-COH-07: no worker is large enough(?s:.*)1 GPUs(?s:.*)dask worker tcp"):
        run_cases(written, [Task("a")], cluster=address, gpus=1)
    monkeypatch.setattr(clusters, "__version__", "0.0")
    with pytest.raises(IslesError, match=r"E-COH-06: the cluster has another version(?s:.*)there, 0.0 here"):
        run_cases(written, [Task("a")], cluster=address)


@pytest.mark.long
def test_after_the_scheduler_was_killed_a_rerun_does_only_the_rest(
    cluster: tuple[str, subprocess.Popen], tmp_path: Path
) -> None:
    (address, scheduler), folder = cluster, tmp_path / "out"
    mine = tasks(folder, 10, 0.3)

    def kill() -> None:
        until = time.monotonic() + 30
        while len(list(folder.glob("ended-*"))) < 3 and time.monotonic() < until:
            time.sleep(0.01)
        scheduler.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(
        IslesError, match=r"E-COH-04: the connection to the scheduler is lost(?s:.*)finished cases are kept"
    ):
        run_cases(written, mine, cluster=address)
    killer.join()
    time.sleep(3)  # what ran then ends or is cut off
    before = {path.name for path in folder.glob("c*.txt")}
    assert 3 <= len(before) < 10
    records = run_cases(written, mine, workers=2)
    assert {name for name, record in records.items() if record["outcome"] == "done before"} == {
        name.removesuffix(".txt") for name in before
    }
    whole(folder, 10)
