"""Commands in child processes, limited, timed and measured."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
HANGS_AFTER_S = 90.0
"""A child is killed after this; ``gates`` judges the seconds of the processor, which a busy machine does not change."""
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT)}


@dataclass(frozen=True)
class Shown:
    """What a command returned, printed and cost.

    Units: ``seconds`` on the clock, ``cpu_seconds`` of the processor, ``peak_mib`` resident.
    """

    code: int
    text: str
    words: tuple[str, ...]
    late: bool = False
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_mib: float = 0.0


@dataclass
class Child:
    """A command that runs."""

    forks: Forks
    pid: int
    said: Path
    words: tuple[str, ...]

    def text(self) -> str:
        """Return what it printed so far."""
        return self.said.read_text(encoding="utf-8", errors="replace")

    def kill(self, number: int = signal.SIGKILL) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self, seconds: float = HANGS_AFTER_S) -> Shown:
        """Return how it ended; killed when it takes longer than ``seconds``."""
        cost = self.forks.ask({"do": "wait", "pid": self.pid, "seconds": seconds})
        shown = Shown(text=self.text(), words=self.words, **cost)
        self.forks.seen(shown)
        return shown

    def wait_until(self, there: Callable[[], object], seconds: float = HANGS_AFTER_S) -> None:
        """Wait until ``there()`` is true; fail when that takes longer than ``seconds``."""
        end = time.monotonic() + seconds
        while not there():
            assert time.monotonic() < end, f"still waiting after {seconds} s; it said {self.text()}"
            time.sleep(0.003)


@dataclass
class Forks:
    """The door to the process of ``forks.py``."""

    folder: Path
    seen: Callable[[Shown], None] = field(default=lambda shown: None)

    def __post_init__(self) -> None:
        self._errors = (self.folder / "server").open("wb")
        self._server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("forks.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            bufsize=1,
            cwd=ROOT,
            env={**os.environ, **_ENVIRONMENT},
        )
        self._count = 0
        self._read()

    def close(self) -> None:
        self._server.stdin.close()
        self._server.stdout.close()
        self._server.wait(timeout=30)
        self._errors.close()

    def ask(self, request: dict) -> dict:
        self._server.stdin.write(json.dumps(request) + "\n")
        return self._read()

    def start(
        self,
        *words: object,
        program: str = "monai-isles",
        folder: Path = ROOT,
        memory_bytes: int | None = None,
        file_bytes: int | None = None,
        bound_by_permissions: bool = False,
        network: bool = False,
        variables: Mapping[str, str | None] | None = None,
    ) -> Child:
        """Start a command.

        Args:
            program: ``monai-isles``, or a module that ``python -m`` runs.
            folder: where it runs.
            memory_bytes: address space it may take beside what the imports take.
            file_bytes: most bytes of a file, as on a disk that is full.
            bound_by_permissions: file permissions hold for it, even for the superuser.
            network: whether it may ask for one.
            variables: of its environment; None takes one away.
        """
        self._count += 1
        said = self.folder / f"said-{self._count}"
        given = tuple(str(word) for word in words)
        answer = self.ask({
            "do": "start", "words": given, "program": program, "folder": str(folder), "said": str(said),
            "memory_bytes": memory_bytes, "file_bytes": file_bytes, "bound_by_permissions": bound_by_permissions,
            "network": network, "variables": dict(variables or {}),
        })  # fmt: skip
        said.touch()
        return Child(self, answer["pid"], said, given)

    def run(self, *words: object, **how: object) -> Shown:
        """Run a command to its end."""
        return self.start(*words, **how).wait()

    def bundle_run(self, *words: object, **variables: str) -> Shown:
        """Run ``python -m monai.bundle run`` from the root, with no data set in the environment but those given."""
        missing = dict.fromkeys(("ISLES2018_DIR", "ISLES2015_SISS_DIR", "ISLES2015_SPES_DIR"))
        return self.run("run", *words, program="monai.bundle", variables=missing | variables)

    def _read(self) -> dict:
        line = self._server.stdout.readline()
        assert line, (self.folder / "server").read_text(encoding="utf-8", errors="replace")
        return json.loads(line)
