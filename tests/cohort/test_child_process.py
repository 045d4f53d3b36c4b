"""A tied command ends with the process that started it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from monai_isles.cohort.child_process import run_with_parent

ROOT = Path(__file__).parents[2]


def test_code_and_output_of_the_command_come_back(tmp_path: Path) -> None:
    code = run_with_parent(
        [sys.executable, "-S", "-c", "import os; print(os.environ['A']); raise SystemExit(7)"],
        tmp_path / "logs" / "log",
        environment={"A": "said"},
    )
    assert code == 7 and (tmp_path / "logs" / "log").read_text().strip() == "said"


def test_the_command_ends_when_its_starter_is_killed(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    child = f"import os, time, pathlib; pathlib.Path({str(pid)!r}).write_text(str(os.getpid())); time.sleep(60)"
    starter = (
        "import sys; from pathlib import Path; from monai_isles.cohort.child_process import run_with_parent; "
        f"run_with_parent([sys.executable, '-S', '-c', {child!r}], Path({str(tmp_path / 'log')!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", starter], cwd=ROOT)
    _until(lambda: pid.is_file() and pid.read_text())
    process.kill()
    process.wait()
    _until(lambda: not _alive(int(pid.read_text())))


def _until(true: object) -> None:
    until = time.monotonic() + 20
    while not true():
        assert time.monotonic() < until, "too late"
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
