"""Run one function on every case, in this process or on a cluster."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future as Later
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar, Unpack

from monai_isles.cohort.task import Place, Record, Task, attempt, is_spread, require_own_names, require_place
from monai_isles.errors import refused
from monai_isles.progress import progress

if TYPE_CHECKING:
    from distributed import Client, Future

log = logging.getLogger(__name__)
Item = TypeVar("Item")
Read = TypeVar("Read")
Worked = TypeVar("Worked")
Result = TypeVar("Result")
MOST_DEATHS = 3
BATCH = 1000


def _records(
    client: Client, submit: Callable[[Sequence[Task]], dict[Future, Task]], tasks: Sequence[Task]
) -> Iterator[tuple[Task, Record]]:
    """Yield each task with its record as it ends; cases whose worker died are repeated, at last one at a time."""
    from distributed import KilledWorker, as_completed

    running, alone = submit(tasks), list[Task]()
    ended = as_completed(list(running), loop=client.loop)
    while running or alone:
        if not running:
            running = submit([alone.pop()])
            ended.update(list(running))
        future = next(ended)
        task = running.pop(future)
        try:
            yield task, future.result()
        except KilledWorker as error:
            again = replace(task, again=task.again + 1)
            if again.again == MOST_DEATHS:
                found = f"{error.last_worker.address} died while it ran alone, as others had before"
                yield task, {"outcome": "failed", "error": str(refused("E-COH-05", where=task.case, found=found))}
                continue
            log.warning("a worker died while it worked on %s, which is done again", task.case)
            if again.again == MOST_DEATHS - 1:
                alone.append(again)
            else:
                repeated = submit([again])
                running |= repeated
                ended.update(list(repeated))


def _submit(
    client: Client, work: Callable[[Task], Record], needs: Mapping[str, float], tasks: Sequence[Task]
) -> dict[Future, Task]:
    """Submit tasks to the scheduler, which compares ``needs`` with its workers; return them by their futures."""
    futures = client.map(work, tasks, pure=False, batch_size=BATCH, resources=dict(needs) or None)
    return dict(zip(futures, tasks, strict=True))


def run_cases(
    work: Callable[[Task], Record],
    tasks: Sequence[Task],
    *,
    title: str = "cases",
    unit: str = "case",
    strict: bool = False,
    **place: Unpack[Place],
) -> dict[str, Record]:
    """Run ``work`` on every task and return its records by case, in the order of ``tasks``.

    A fault of one case is its record, ``{"outcome": "failed", "error": ...}``. A case whose worker dies is repeated
    by another one, finally with no other case running; if that worker dies too, the case is recorded as failed and the
    others continue. ``work`` is a function of a module, so that other processes find it by name; it publishes its
    results itself (``monai_isles.io.publish``) and returns a small record.

    Raises: ``E-COH-02`` two cases of one name, ``E-COH-03`` no answer, ``E-COH-07`` no large worker, and others.
    """
    require_place(place)
    require_own_names((task.case for task in tasks), "E-COH-02", where="cohort")
    if not tasks:
        return {}
    if not is_spread(place):
        return {task.case: attempt(work, task, strict=strict) for task in progress(tasks, title, unit=unit)}
    from monai_isles.cohort.clusters import GPU, MEMORY, open_client

    wanted = {GPU: float(place.get("gpus", 0)), MEMORY: float(place.get("memory_gb", 0))}
    needs = {name: value for name, value in wanted.items() if value > 0}
    with open_client(needs, tasks, place) as client:
        from distributed.client import FutureCancelledError, FuturesCancelledError

        # Dask compares what the workers of a running cluster declare, and only that.
        workers = client.scheduler_info(n_workers=-1)["workers"].values() if place.get("cluster") else ()
        declared = {name for worker in workers for name in worker.get("resources") or {}}
        compared = {name: value for name, value in needs.items() if name in declared}
        submit = partial(_submit, client, partial(attempt, work, strict=strict), compared)
        done = progress(_records(client, submit, tasks), title, total=len(tasks), unit=unit)
        try:
            records = {task.case: record for task, record in done}
        except (FutureCancelledError, FuturesCancelledError, OSError) as error:
            found = next(iter(str(error).splitlines()), type(error).__name__)
            raise refused("E-COH-04", where="cluster", found=found) from error
    return {task.case: records[task.case] for task in tasks}


def overlap(
    items: Iterable[Item],
    read: Callable[[Item], Read],
    work: Callable[[Read], Worked],
    write: Callable[[Worked], Result],
) -> Iterator[Result]:
    """Yield ``write(work(read(item)))`` of every item in order; three items at most are in memory.

    ``read`` and ``write`` have one thread each, ``work`` runs in the caller's; an exception in any ends the iteration.
    """
    with ThreadPoolExecutor(1, "read") as reader, ThreadPoolExecutor(1, "write") as writer:
        for thread in (reader, writer):
            thread.submit(int).result()  # started now: later there may be no memory for it
        reads = (reader.submit(read, item) for item in items)
        reading, writing = next(reads, None), list[Later[Result]]()
        while reading is not None:
            value, reading = reading.result(), next(reads, None)
            worked = work(value)
            yield from (last.result() for last in writing)
            writing = [writer.submit(write, worked)]
        yield from (last.result() for last in writing)
