"""Stages overlap, keep their order, and hold three items at most."""

from __future__ import annotations

import threading
import time

import pytest

from monai_isles.cohort.engine import overlap


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_every_item_passes_every_stage_in_order(count: int) -> None:
    out = list(overlap(range(count), lambda n: [n], lambda s: [*s, "work"], lambda s: [*s, "write"]))
    assert out == [[n, "work", "write"] for n in range(count)]


def test_the_next_is_read_and_the_last_written_while_one_is_worked_on() -> None:
    reading, writing = threading.Event(), threading.Event()

    def read(n: int) -> int:
        if n == 2:
            reading.set()
        return n

    def work(n: int) -> int:
        if n == 1:
            assert reading.wait(5) and writing.wait(5)
        return n

    def write(n: int) -> int:
        writing.set()
        return n

    assert list(overlap(range(3), read, work, write)) == [0, 1, 2]


def test_three_items_at_most_are_in_memory() -> None:
    inside, most, lock = 0, 0, threading.Lock()

    def read(n: int) -> int:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        return n

    def write(n: int) -> int:
        nonlocal inside
        time.sleep(0.005)
        with lock:
            inside -= 1
        return n

    list(overlap(range(20), read, lambda n: n, write))
    assert most <= 3


@pytest.mark.parametrize("stage", ["read", "work", "write"])
def test_a_bug_in_a_stage_is_raised(stage: str) -> None:
    def fails(n: int) -> int:
        raise KeyError(stage)

    stages = {name: fails if name == stage else (lambda n: n) for name in ("read", "work", "write")}
    with pytest.raises(KeyError, match=stage):
        list(overlap(range(3), **stages))
