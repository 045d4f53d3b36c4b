"""Read the next case and write the last one while this one is worked on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item, Read, Worked, Result = TypeVar("Item"), TypeVar("Read"), TypeVar("Worked"), TypeVar("Result")


def overlapped(
    items: Iterable[Item],
    read: Callable[[Item], Read],
    work: Callable[[Read], Worked],
    write: Callable[[Worked], Result],
) -> Iterator[Result]:
    """Yield ``write(work(read(item)))`` of every item in order; three items at most are in memory.

    ``read`` and ``write`` have a thread each, ``work`` stays in the caller's; each stage sees the items one by one and
    in order. What a stage raises ends the iteration.

    Source: ours; ``tests/cohort/test_overlap.py``.
    """
    waiting = iter(items)
    with ThreadPoolExecutor(1, "read") as reader, ThreadPoolExecutor(1, "write") as writer:
        for thread in (reader, writer):
            thread.submit(int).result()  # started now: later there may be no memory for it

        def begin() -> Future[Read] | None:
            return next((reader.submit(read, item) for item in waiting), None)

        reading, writing = begin(), None
        while reading is not None:
            there = reading.result()
            reading = begin()
            worked = work(there)
            if writing is not None:
                yield writing.result()
            writing = writer.submit(write, worked)
        if writing is not None:
            yield writing.result()
