"""A forked child reports how it ended: its code, its words, a kill, a limit."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.forked import run_forked


def _says(code: int | None) -> int | None:
    print("hello")
    os.write(2, b"from the descriptor\n")
    return code


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (3, 3)])
def test_code_and_words_come_back(returned: int | None, code: int) -> None:
    done = run_forked(_says, returned, limit_s=10)
    assert (done.code, done.timed_out, done.killed) == (code, False, False)
    assert done.text == "hello\nfrom the descriptor\n" and 0 < done.seconds < 10 and done.peak_mb > 1


def test_an_exception_is_code_one_with_a_traceback_and_an_exit_is_its_code() -> None:
    done = run_forked(int, "no number", limit_s=10)
    assert done.code == 1 and "Traceback" in done.text and "ValueError" in done.text
    assert run_forked(sys.exit, 143, limit_s=10).code == 143
    assert run_forked(sys.exit, "why", limit_s=10).text == "why\n"


def test_a_hang_ends_at_the_limit_with_its_own_children(tmp_path: Path) -> None:
    def hang() -> None:
        if os.fork() == 0:
            time.sleep(1.0)
            (tmp_path / "still-there").write_text("")
        time.sleep(60)

    done = run_forked(hang, limit_s=0.3)
    assert done.timed_out and done.code == -signal.SIGKILL and done.seconds < 5
    time.sleep(1.2)
    assert not (tmp_path / "still-there").exists()


def test_a_kill_comes_at_its_instant_or_after_what_it_waits_for(tmp_path: Path) -> None:
    done = run_forked(time.sleep, 60, limit_s=30, kill_after_s=0.2)
    assert done.code == -signal.SIGKILL and done.killed and not done.timed_out and 0.2 <= done.seconds < 5

    def marks() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not a handler left by an earlier test
        time.sleep(0.3)
        (tmp_path / "mark").write_text("")
        time.sleep(60)

    done = run_forked(marks, limit_s=30, kill_when=(tmp_path / "mark").exists, kill_signal=signal.SIGTERM)
    assert done.code == -signal.SIGTERM and 0.3 <= done.seconds < 5


def test_memory_and_files_are_limited(tmp_path: Path) -> None:
    done = run_forked(lambda: len(bytearray(2**30)), limit_s=10, memory_mb=200)
    assert done.code == 1 and "MemoryError" in done.text
    done = run_forked(lambda: (tmp_path / "big").write_bytes(bytes(10_000)) and 0, limit_s=10, file_bytes=4096)
    assert done.code == 1 and "File too large" in done.text and (tmp_path / "big").stat().st_size <= 4096
