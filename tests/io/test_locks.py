"""One run holds a folder; the dead hold nothing."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from monai_isles.errors import IslesError
from monai_isles.io.runs import LOCK, take


def lock(folder: Path, **holder: object) -> None:
    (folder / LOCK).write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()} | holder))


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_live_holder_is_named_with_process_and_host(tmp_path: Path) -> None:
    take(tmp_path)
    with pytest.raises(IslesError, match=rf"E-RUN-01(?s:.*)process {os.getpid()} on {socket.gethostname()}"):
        take(tmp_path)
    assert os.listdir(tmp_path) == [LOCK]


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    lock(tmp_path, pid=dead_pid())
    assert json.loads(take(tmp_path).read_text())["pid"] == os.getpid()
    assert os.listdir(tmp_path) == [LOCK]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs process start times")
def test_a_number_given_to_another_process_since_is_a_dead_holder(tmp_path: Path) -> None:
    lock(tmp_path, born="1")
    assert take(tmp_path).exists()


@pytest.mark.parametrize("holder", [{"host": "elsewhere", "pid": 1}, {"pid": 1}])
def test_other_hosts_and_other_users_are_left_alone(tmp_path: Path, holder: dict) -> None:
    lock(tmp_path, **holder)
    with pytest.raises(IslesError, match="E-RUN-01(?s:.*)process 1"):
        take(tmp_path)


def test_a_lock_that_cannot_be_read_is_stale(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text("{")
    assert take(tmp_path).exists()


def test_of_many_that_want_a_stale_lock_one_gets_it(tmp_path: Path) -> None:
    lock(tmp_path, pid=dead_pid())
    program = f"""
import sys, time
from pathlib import Path
from monai_isles.io.runs import take
from monai_isles.errors import IslesError
while time.time() < float(sys.argv[1]): pass
try: take(Path({str(tmp_path)!r})); print("mine", flush=True); sys.stdin.read()
except IslesError: print("refused", flush=True)
"""
    import time

    start = str(time.time() + 0.7)
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", program, start], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    words = [run.stdout.readline().strip() for run in runs]
    for run in runs:
        run.communicate()
    assert sorted(words) == ["mine", "refused", "refused", "refused"]


@pytest.fixture(params=[errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EIO], ids=lambda code: errno.errorcode[code])
def without_links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without hard links, as the kernel answers for exFAT, SMB shares or FUSE."""

    def link(source: object, target: object, **_: object) -> None:
        raise OSError(request.param, os.strerror(request.param), str(source), None, str(target))

    monkeypatch.setattr(os, "link", link)


@pytest.mark.usefixtures("without_links")
def test_without_hard_links_a_lock_holds_as_well(tmp_path: Path) -> None:
    assert json.loads(take(tmp_path).read_text())["pid"] == os.getpid()
    with pytest.raises(IslesError, match=rf"E-RUN-01(?s:.*)process {os.getpid()}"):
        take(tmp_path)
    assert os.listdir(tmp_path) == [LOCK]


@pytest.mark.usefixtures("without_links")
def test_without_hard_links_the_dead_hold_nothing(tmp_path: Path) -> None:
    lock(tmp_path, pid=dead_pid())
    assert json.loads(take(tmp_path).read_text())["pid"] == os.getpid() and os.listdir(tmp_path) == [LOCK]


def test_a_lock_that_is_being_written_is_not_stale(tmp_path: Path) -> None:
    (tmp_path / LOCK).touch()
    with pytest.raises(IslesError, match=r"E-RUN-01(?s:.*)just starting"):
        take(tmp_path)
    os.utime(tmp_path / LOCK, (1e9, 1e9))
    assert json.loads(take(tmp_path).read_text())["pid"] == os.getpid()
