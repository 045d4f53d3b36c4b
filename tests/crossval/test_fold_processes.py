"""Folds run as child processes: one a device, alone in their failures, ended with their parent."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from monai_isles.cohort.clusters import devices_here
from monai_isles.crossval.run import Step, run_steps


def step(tmp_path: Path, name: str, script: str) -> Step:
    return Step(name, [sys.executable, "-S", "-c", f"import os, sys, time; {script}"], tmp_path / f"{name}.log")


def test_steps_of_a_fold_run_in_order(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    steps = [step(tmp_path, name, f"open({str(trace)!r}, 'a').write({name!r})") for name in ("a", "b")]
    records = run_steps({1: steps}, [None])
    assert list(records) == [1] and trace.read_text() == "ab"
    assert records[1]["outcome"] == "ok" and records[1]["seconds"] > 0


def test_a_fold_that_fails_takes_no_other_along_and_says_why_in_four_lines(tmp_path: Path) -> None:
    fault = r"E-INF-11: no weights there\n  where x\n  found y\n  fix   z\nlast"
    bad = step(tmp_path, "training", f"sys.stderr.write('noise\\n{fault}'); sys.exit(4)")
    never = step(tmp_path, "prediction", f"open({str(tmp_path / 'never')!r}, 'w')")
    records = run_steps({0: [bad, never], 1: [step(tmp_path, "good", "pass")]}, [None])
    assert records[1]["outcome"] == "ok" and not (tmp_path / "never").exists()
    assert records[0]["outcome"] == "failed" and records[0]["step"] == "training"
    first, *four = records[0]["error"].splitlines()
    assert first == f"ended with code 4, see {tmp_path / 'training.log'}"
    assert four == ["E-INF-11: no weights there", "  where x", "  found y", "  fix   z"]


def test_a_prediction_that_left_out_cases_is_no_failed_fold(tmp_path: Path) -> None:
    steps = {n: [step(tmp_path, title, "sys.exit(3)")] for n, title in enumerate(("prediction", "training"))}
    assert [record["outcome"] for record in run_steps(steps, [None]).values()] == ["ok", "failed"]


def test_a_remark_is_no_fault(tmp_path: Path) -> None:
    script = r"sys.stderr.write('E-VAL-19: mostly noise: case_1: found it\nKilled'); sys.exit(137)"
    records = run_steps({0: [step(tmp_path, "prediction", script)]}, [None])
    assert records[0]["error"].splitlines()[1:] == ["Killed"]


def test_another_fault_is_told_by_its_last_line(tmp_path: Path) -> None:
    records = run_steps({0: [step(tmp_path, "training", "raise MemoryError('full')")]}, [None])
    assert records[0]["error"].splitlines()[1:] == ["MemoryError: full"]


def test_folds_run_side_by_side_one_on_each_device(tmp_path: Path) -> None:
    def meet(own: str, other: str) -> str:
        return (
            f"open({str(tmp_path)!r} + '/{own}', 'w').write(os.environ['CUDA_VISIBLE_DEVICES'])\n"
            f"end = time.monotonic() + 20\n"
            f"while not os.path.exists({str(tmp_path)!r} + '/{other}'):\n"
            f"    time.sleep(0.02); assert time.monotonic() < end"
        )

    steps = {0: [step(tmp_path, "x", meet("a", "b"))], 1: [step(tmp_path, "y", meet("b", "a"))]}
    records = run_steps(steps, ["4", "7"])
    assert {record["outcome"] for record in records.values()} == {"ok"}
    assert ((tmp_path / "a").read_text(), (tmp_path / "b").read_text()) == ("4", "7")


def test_children_end_when_the_parent_is_stopped(tmp_path: Path) -> None:
    pid = tmp_path / "pid"

    def stop(titles: dict[int, str]) -> None:
        if pid.exists() and pid.read_text():
            assert titles == {0: "long"}
            raise KeyboardInterrupt

    script = f"open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    with pytest.raises(KeyboardInterrupt):
        run_steps({0: [step(tmp_path, "long", script)]}, [None], watch=stop)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


@pytest.mark.parametrize(
    ("count", "given", "devices"),
    [(0, "", [None]), (1, "3", [None]), (2, "", ["0", "1"]), (2, "5,2", ["5", "2"]), (2, "5,2,1", ["5", "2"])],
)
def test_one_device_or_none_means_one_fold_at_a_time_and_a_given_choice_is_kept(
    count: int, given: str, devices: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert devices_here() == devices
