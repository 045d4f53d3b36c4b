"""A process that has imported everything and forks a child a command, so that a hundred cold starts become one.

Requests come as JSON lines on standard input, answers go to standard output. The child is a process of its own: it can
be limited, killed and measured, and what it does to itself ends with it.
"""

from __future__ import annotations

import atexit
import ctypes
import importlib
import json
import os
import pkgutil
import resource
import runpy
import signal
import sys
import time
from contextlib import suppress
from typing import TextIO

_HEAVY = (
    "fire", "highdicom", "matplotlib.pyplot", "monai.bundle.scripts", "monai.engines", "monai.handlers",
    "scipy.ndimage", "skimage.measure",
)  # fmt: skip
ASKED_FOR_A_NETWORK = "asked for a network"
_NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.sendmsg")
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH, _CAP_VERSION_3, _SYS_CAPSET, _SYS_CAPGET = 1, 2, 0x20080522, 126, 125


def serve() -> None:
    """Answer requests until standard input ends; no child outlives this process."""
    answers, children = os.fdopen(os.dup(1), "w", buffering=1), {}
    os.dup2(2, 1)
    _import_everything()
    print(json.dumps({"ready": os.getpid()}), file=answers)
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "start":
            pid = _fork(request, answers)
            children[pid] = time.monotonic()
            print(json.dumps({"pid": pid}), file=answers)
        else:
            started = children.pop(request["pid"])
            print(json.dumps(_wait(request["pid"], started, request["seconds"])), file=answers)
    for pid in children:
        os.killpg(pid, signal.SIGKILL)


def _import_everything() -> None:
    import monai_isles

    for name in _HEAVY:
        importlib.import_module(name)
    for module in pkgutil.walk_packages(monai_isles.__path__, "monai_isles."):
        with suppress(ImportError):  # what a command needs and cannot have, it says itself
            importlib.import_module(module.name)
    # a command without --threads gets one: the processes of a test run share the processors, and would wait
    importlib.import_module("monai_isles.inference.malloc").allowed_threads = lambda *_: 1


def _fork(request: dict, answers: TextIO) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setpgid(0, 0)
        answers.close()
        _redirect(request["said"])
        _set_variables(request["variables"])
        importlib.import_module("torch").set_num_threads(
            1
        )  # its pool, made anew after a fork, before threads ask for it
        _limit(request)
        code = _run(request)
    finally:
        os._exit(code)


def _set_variables(variables: dict[str, str | None]) -> None:
    for name, value in variables.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


def _redirect(said: str) -> None:
    nothing, file = os.open(os.devnull, os.O_RDONLY), os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(nothing, 0)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.stdout.reconfigure(line_buffering=True)


def _limit(request: dict) -> None:
    if request["memory_bytes"] is not None:
        pages = int(open("/proc/self/statm", encoding="ascii").read().split()[0])
        most = pages * os.sysconf("SC_PAGE_SIZE") + request["memory_bytes"]
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    if request["file_bytes"] is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_bytes"], request["file_bytes"]))
    if request["bound_by_permissions"]:
        _forget_root()
    if not request["network"]:
        sys.addaudithook(_refuse_network)


def _forget_root() -> None:
    """Give up the superuser's right to pass over file permissions, so that a read-only folder is one."""

    class Header(ctypes.Structure):
        _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))

    class Data(ctypes.Structure):
        _fields_ = tuple((name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable"))

    libc, header, data = ctypes.CDLL(None, use_errno=True), Header(_CAP_VERSION_3, 0), (Data * 2)()
    if libc.capget(ctypes.byref(header), data) == 0:
        data[0].effective &= ~(1 << _CAP_DAC_OVERRIDE | 1 << _CAP_DAC_READ_SEARCH)
        libc.capset(ctypes.byref(header), data)


def _refuse_network(event: str, arguments: tuple) -> None:
    if event in _NETWORK:
        os.write(2, f"{ASKED_FOR_A_NETWORK}: {event} {arguments[1:]!r}\n".encode())
        raise ConnectionRefusedError(ASKED_FOR_A_NETWORK)


def _run(request: dict) -> int:
    """Run the command as ``python -m`` or the console script would, down to what an uncaught error prints."""
    os.chdir(request["folder"])
    sys.path[0] = request["folder"]
    try:
        if request["program"] == "monai-isles":
            sys.argv = ["monai-isles", *request["words"]]
            code: object = importlib.import_module("monai_isles.cli.main").main(request["words"])
        else:
            sys.argv = ["-m", *request["words"]]
            if not hasattr(sys.modules.get(request["program"]), "__path__"):
                sys.modules.pop(request["program"], None)  # runs anew, as the main module
            runpy.run_module(request["program"], run_name="__main__", alter_sys=True)
            code = 0
    except SystemExit as stop:
        code = stop.code
    except BaseException:
        code = _uncaught()
    if not isinstance(code, int | None):
        print(code, file=sys.stderr)
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return int(code or 0)


def _uncaught() -> object:
    try:
        sys.excepthook(*sys.exc_info())
    except SystemExit as stop:
        return stop.code
    return 1


def _wait(pid: int, started: float, seconds: float) -> dict:
    """Return how a child ended: exit code (negative for a signal), whether it was killed for being late, its cost."""
    late = False
    while True:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        now = time.monotonic()
        if done:
            break
        if now - started > seconds and not late:
            late = True
            os.killpg(pid, signal.SIGKILL)
        time.sleep(0.003)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "late": late,
        "seconds": round(now - started, 3),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 3),
        "peak_mib": round(usage.ru_maxrss / 1024, 1),
    }


if __name__ == "__main__":
    serve()
    os._exit(0)  # no time for taking down what was imported
