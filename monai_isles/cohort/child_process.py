"""Run a command that ends when its parent process ends for any reason."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

GRACE_S, PAUSE_S = 20.0, 0.2


def run_with_parent(
    command: Sequence[str],
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    stop: threading.Event | None = None,
) -> int:
    """Run ``command`` with its output in ``log`` and return its exit code; it does not outlive this process.

    A watcher process holds the read end of a pipe, which closes when this process ends, also when it is killed.
    Another thread ends the command by ``stop``.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    watcher = [sys.executable, "-S", str(Path(__file__).resolve()), *command]
    variables = {**os.environ, **(environment or {})}
    with log.open("wb") as out:
        process = subprocess.Popen(watcher, stdin=subprocess.PIPE, stdout=out, stderr=out, env=variables, cwd=folder)
        try:
            while process.poll() is None and not (stop is not None and stop.is_set()):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(PAUSE_S)
        finally:
            if process.stdin is not None:
                process.stdin.close()
            code = process.wait()
    return code


def _watch(child: subprocess.Popen) -> None:
    while os.read(0, 1):
        pass
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            child.kill()


def _main() -> int:
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda number, frame: child.terminate())
    threading.Thread(target=_watch, args=(child,), daemon=True).start()
    return 128 - code if (code := child.wait()) < 0 else code


if __name__ == "__main__":
    sys.exit(_main())
