"""A cohort gives the same records wherever it runs, and refuses what cannot be before anything starts."""

from __future__ import annotations

import builtins
import json
import socket

import pytest

from monai_isles.cohort import clusters as clusters_module
from monai_isles.cohort import engine
from monai_isles.cohort.engine import run_cases
from monai_isles.cohort.task import HERE, Task, is_spread
from monai_isles.errors import IslesError
from tests.cohort.cases import odd_fails, square, trivial

TASKS = [Task(f"case_{n}", n) for n in (3, 1, 2, 4)]


def test_one_and_two_workers_give_the_same_bytes_in_the_order_of_the_list() -> None:
    one, two = run_cases(square, TASKS), run_cases(square, TASKS, workers=2)
    assert list(one) == ["case_3", "case_1", "case_2", "case_4"] and one["case_4"] == {"outcome": "ok", "value": 16}
    assert json.dumps(one) == json.dumps(two)


def test_a_fault_is_the_record_of_its_case_alone() -> None:
    records = run_cases(odd_fails, TASKS)
    assert [records[name]["outcome"] for name in records] == ["failed", "failed", "ok", "ok"]
    assert records["case_1"]["error"].startswith("E-VAL-04: image is empty\n  where case_1")


def test_no_case_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters_module, "open_client", None)
    assert run_cases(trivial, [], workers=2) == {}


def test_a_bug_is_the_record_of_its_case_too_and_its_traceback_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    records = run_cases(square, [Task("a", "text"), Task("b", 3)])
    assert records["a"]["error"].startswith("TypeError: ") and records["b"] == {"outcome": "ok", "value": 9}
    assert [record.exc_info[0] for record in caplog.records if record.levelname == "ERROR"] == [TypeError]
    with pytest.raises(RuntimeError, match="TypeError"):
        run_cases(square, [Task("a", "text")], strict=True)


@pytest.mark.parametrize(("place", "code"), [({"workers": 0}, "E-USE-60"), ({"cluster": "a", "workers": 2}, "E-USE-61"),
                                             ({"cluster": "a", "slurm": "b.yml"}, "E-USE-61")])  # fmt: skip
def test_places_that_cannot_be_are_refused(place: dict, code: str) -> None:
    words = {"E-USE-60": "the number of workers is not valid", "E-USE-61": "two places to run are given"}[code]
    with pytest.raises(IslesError, match=f"{code}: {words}"):
        run_cases(trivial, TASKS, **place)


def test_two_cases_of_one_name_are_refused() -> None:
    with pytest.raises(IslesError, match=r"E-COH-02: two cases have the same name\n.*\n  found a"):
        run_cases(trivial, [Task("a"), Task("b"), Task("a")])


@pytest.mark.parametrize(("place", "spread"), [
    (HERE, False), ({"workers": 1}, False), ({"workers": 2}, True), ({"cluster": "tcp://h:1"}, True),
    ({"slurm": "p.yml"}, True),
])  # fmt: skip
def test_one_worker_is_no_cluster(place: dict, spread: bool) -> None:
    assert is_spread(place) is spread


def test_without_dask_one_worker_runs_and_two_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *more: object, **named: object) -> object:
        if name.split(".")[0] in ("distributed", "dask", "dask_jobqueue"):
            raise ImportError(f"No module named {name!r}")
        return real(name, *more, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    assert run_cases(square, TASKS)["case_2"]["value"] == 4
    with pytest.raises(IslesError, match=r"E-COH-01: Dask is not installed(?s:.*)pip install dask distributed"):
        run_cases(square, TASKS, workers=2)


def test_a_case_that_needs_more_than_a_worker_has_is_refused() -> None:
    with pytest.raises(IslesError, match=r"E-COH-07: no worker is large enough(?s:.*)needs 0 GPUs and 90000.0 GB"):
        run_cases(square, [Task("big", 1), Task("b", 2)], workers=2, memory_gb=90_000)


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setattr(clusters_module, "CONNECT_S", 1)
    with pytest.raises(IslesError, match=rf"E-COH-03: the scheduler does not answer\n.*{address}"):
        run_cases(square, TASKS, cluster=address)


@pytest.mark.parametrize(("address", "found"), [
    ("10.0.0.5", "missing port"), ("http://h:8786", "unknown address scheme"), ("tcp://h:x", "invalid literal"),
])  # fmt: skip
def test_an_address_that_no_scheduler_has_is_named_without_a_client(
    monkeypatch: pytest.MonkeyPatch, address: str, found: str
) -> None:
    monkeypatch.setattr("distributed.Client", None)
    with pytest.raises(IslesError, match=rf"E-COH-03: the scheduler does not answer(?s:.*)found {found}"):
        run_cases(square, TASKS, cluster=address)


@pytest.mark.parametrize(("worker", "has"), [
    ({"nthreads": 4, "memory_limit": 16e9}, {"MEMORY_GB": 4.0}),
    ({"nthreads": 2, "memory_limit": 16e9, "resources": {"GPU": 1.0}}, {"MEMORY_GB": 8.0, "GPU": 1.0}),
    ({"nthreads": 4, "memory_limit": 16e9, "resources": {"MEMORY_GB": 12.0}}, {"MEMORY_GB": 12.0}),
])  # fmt: skip
def test_a_worker_that_declares_no_memory_has_its_threads_share_of_it_for_a_case(worker: dict, has: dict) -> None:
    assert clusters_module.offer(worker) == has


@pytest.mark.parametrize(("needs", "told"), [({"GPU": 1.0}, {"GPU": 1.0}), ({}, None)], ids=["declared", "none"])
def test_dask_is_told_the_needs_of_the_cases(needs: dict, told: dict | None) -> None:
    class Maps:
        def map(self, work: object, tasks: list[Task], *, resources: dict | None, **named: object) -> list[str]:
            assert resources == told
            return [f"future of {task.case}" for task in tasks]

    cases = [Task("a"), Task("b")]
    assert engine._submit(Maps(), trivial, needs, cases) == {"future of a": cases[0], "future of b": cases[1]}


def test_a_cluster_without_a_worker_is_waited_for_and_said_so(caplog: pytest.LogCaptureFixture) -> None:
    class Empty:
        def wait_for_workers(self, count: int, timeout: float) -> None:
            raise TimeoutError

    clusters_module._await_worker(Empty())
    assert "the cluster has had no worker for 60 s; waiting for one" in caplog.text
