"""Run a function in a forked child with limits, so that hangs, crashes, kills and a full disk can be tested."""

from __future__ import annotations

import importlib
import logging
import os
import pkgutil
import resource
import signal
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

POLL_S = 0.002


@dataclass(frozen=True)
class Finished:
    """How a child ended.

    Units: ``seconds`` of wall clock; ``peak_mb`` of resident memory, libraries that the parent has loaded included.
    Args:
        code: exit code, or minus the signal that ended it, as ``subprocess`` tells it.
        text: what it printed, both streams together.
        timed_out: it was still running after ``limit_s``.
    """

    code: int
    text: str
    seconds: float
    peak_mb: float
    timed_out: bool = False

    @property
    def killed(self) -> bool:
        """Tell whether a signal ended it."""
        return self.code < 0


def run_forked(
    function: Callable[..., object],
    *args: object,
    limit_s: float,
    memory_mb: float | None = None,
    kill_after_s: float | None = None,
    kill_when: Callable[[], bool] | None = None,
    kill_signal: int = signal.SIGKILL,
    file_bytes: int | None = None,
) -> Finished:
    """Call ``function(*args)`` in a child of this process and wait for its end.

    A child starts in milliseconds with everything the parent has imported. The parent must have called
    ``torch.set_num_threads(1)`` before any arithmetic, and must not have trained: threads do not survive a fork.
    The child's exit code is what ``function`` returns (None is 0), what ``SystemExit`` holds, or 1 with a traceback.

    Args:
        limit_s: seconds after which the child and its children are killed.
        memory_mb: address space it may take beyond what it is born with (``RLIMIT_AS``); MemoryError follows.
        kill_after_s: send ``kill_signal`` that long after the start, or after ``kill_when`` was first true.
        kill_when: asked every few milliseconds; the signal is sent once it is true.
        kill_signal: SIGKILL unless told; SIGTERM to ask for a stop.
        file_bytes: largest file it can write (``RLIMIT_FSIZE``): the disk seems full, ``OSError`` follows.
    Source: ours; ``tests/test_forked.py``.
    """
    with tempfile.TemporaryFile() as out:
        sys.stdout.flush()
        sys.stderr.flush()
        started = time.monotonic()
        child = os.fork()
        if child == 0:
            _be_child(function, args, out, memory_mb, file_bytes)
        try:
            status, usage, timed_out = _wait(child, started, limit_s, kill_after_s, kill_when, kill_signal)
        except BaseException:
            _signal(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise
        seconds = time.monotonic() - started
        out.seek(0)
        text = out.read().decode("utf-8", "replace")
    return Finished(os.waitstatus_to_exitcode(status), text, seconds, usage.ru_maxrss / 1024, timed_out)


def import_package(name: str) -> None:
    """Import every module of a package, so that children find them in memory."""
    package = importlib.import_module(name)
    for one in pkgutil.walk_packages(package.__path__, f"{name}."):
        importlib.import_module(one.name)


def _wait(
    child: int,
    started: float,
    limit_s: float,
    kill_after_s: float | None,
    kill_when: Callable[[], bool] | None,
    kill_signal: int,
) -> tuple[int, resource.struct_rusage, bool]:
    since = started if kill_when is None else None
    wanted, timed_out = kill_after_s is not None or kill_when is not None, False
    while True:
        pid, status, usage = os.wait4(child, os.WNOHANG)
        if pid:
            _signal(child, signal.SIGKILL)  # what it may have left running
            return status, usage, timed_out
        now = time.monotonic()
        if since is None and kill_when is not None and kill_when():
            since = now
        if wanted and since is not None and now - since >= (kill_after_s or 0.0):
            _signal(child, kill_signal)
            wanted = False
        if now - started > limit_s and not timed_out:
            timed_out = True
            _signal(child, signal.SIGKILL)
        time.sleep(POLL_S)


def _signal(child: int, number: int) -> None:
    """Send to the child's whole group; before it has one of its own, or when all have ended, to the child alone."""
    for send in (os.killpg, os.kill):
        try:
            return send(child, number)
        except (ProcessLookupError, PermissionError):
            continue


def _be_child(
    function: Callable[..., object],
    args: tuple[object, ...],
    out: BinaryIO,
    memory_mb: float | None,
    file_bytes: int | None,
) -> None:
    code = 1
    try:
        os.setsid()
        _take_streams(out)
        _take_limits(memory_mb, file_bytes)
        if "torch" in sys.modules:  # its pool is made anew by the first thread that asks: not by two at once
            sys.modules["torch"].set_num_threads(1)
        if "tqdm" in sys.modules:  # its lock is shared between processes: a killed child that held it would stop all
            sys.modules["tqdm"].tqdm.set_lock(threading.RLock())
        code = _called(function, args)
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def _called(function: Callable[..., object], args: tuple[object, ...]) -> int:
    try:
        result = function(*args)
    except SystemExit as stop:
        result = stop.code
        if isinstance(result, str):
            print(result, file=sys.stderr)
            return 1
    return int(result) if isinstance(result, int) else 0


def _take_streams(out: BinaryIO) -> None:
    os.dup2(out.fileno(), 1)
    os.dup2(out.fileno(), 2)
    sys.stdout = open(1, "w", encoding="utf-8", buffering=1, closefd=False)
    sys.stderr = open(2, "w", encoding="utf-8", buffering=1, closefd=False)
    logging.root.handlers.clear()
    warnings.resetwarnings()
    warnings.simplefilter("ignore")


def _take_limits(memory_mb: float | None, file_bytes: int | None) -> None:
    if memory_mb is not None:
        with open("/proc/self/statm", encoding="ascii") as file:
            born = int(file.read().split()[0]) * resource.getpagesize()
        limit = born + int(memory_mb * 2**20)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    if file_bytes is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
