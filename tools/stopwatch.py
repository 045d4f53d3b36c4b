"""Time spent in named steps of somebody else's code, each second counted for the innermost step alone."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Stopwatch:
    """Hold seconds and calls by step; steps that run inside others are taken out of them. Threads count alike."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.calls: dict[str, int] = {}
        self._stacks, self._lock = threading.local(), threading.Lock()
        self._wrapped: list[tuple[object, str, Any]] = []

    def push(self, step: str) -> None:
        """Begin a step."""
        self._stack().append([step, time.perf_counter(), 0.0])

    def pop(self) -> None:
        """End the innermost step."""
        stack = self._stack()
        step, begun, inner = stack.pop()
        whole = time.perf_counter() - begun
        with self._lock:
            self.seconds[step] = self.seconds.get(step, 0.0) + whole - inner
            self.calls[step] = self.calls.get(step, 0) + 1
        if stack:
            stack[-1][2] += whole

    def inside(self, prefix: str) -> bool:
        """Return whether a step that begins so is under way in this thread."""
        return any(step.startswith(prefix) for step, *_ in self._stack())

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Measure a block."""
        self.push(step)
        try:
            yield
        finally:
            self.pop()

    def wrap(self, owner: object, name: str, step: str | Callable[..., str]) -> None:
        """Measure every call of ``owner.name`` until ``unwrap``; ``step`` may be made of the call's arguments.

        The calls of one method inside itself, as of a class in its parent, are one step.
        """
        found = getattr(owner, name)
        if getattr(found, "stopwatch", None) is self:
            return

        @functools.wraps(found)
        def measured(*args: Any, **kwargs: Any) -> Any:
            with self(step(*args) if callable(step) else step):
                return found(*args, **kwargs)

        measured.stopwatch = self
        self._wrapped.append((owner, name, vars(owner).get(name)))
        setattr(owner, name, measured)

    def unwrap(self) -> None:
        """Put back everything that ``wrap`` changed."""
        while self._wrapped:
            owner, name, before = self._wrapped.pop()
            if before is None:
                delattr(owner, name)
            else:
                setattr(owner, name, before)

    def clear(self) -> None:
        """Forget what was measured; steps under way begin anew."""
        now = time.perf_counter()
        with self._lock:
            self.seconds, self.calls = {}, {}
        for step in self._stack():
            step[1], step[2] = now, 0.0

    def table(self, wall_s: float, rest: str) -> str:
        """Return step, seconds, share of the wall time and calls, the longest first; ``rest`` is what is left."""
        rows = sorted(self.seconds.items(), key=lambda one: -one[1])
        left = wall_s - sum(self.seconds.values())
        lines = [f"{'step':46} {'s':>9} {'share':>6} {'calls':>7}"]
        lines += [f"{step:46} {s:9.3f} {s / wall_s:6.1%} {self.calls[step]:7d}" for step, s in rows]
        return "\n".join([*lines, f"{rest:46} {left:9.3f} {left / wall_s:6.1%}", f"{'wall':46} {wall_s:9.3f}"])

    def _stack(self) -> list[list[Any]]:
        if not hasattr(self._stacks, "steps"):
            self._stacks.steps = []
        return self._stacks.steps
