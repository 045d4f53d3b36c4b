"""Run one function on every case, in this process or on a cluster, with the same records either way."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from monai_isles.cohort.clusters import Crew
from monai_isles.cohort.task import Record, Task, attempt, is_spread, require_names, require_place
from monai_isles.errors import refused
from monai_isles.progress import progress

if TYPE_CHECKING:
    from distributed import Client, Future


log = logging.getLogger(__name__)
WAIT_S = 2.0
MOST_DEATHS = 3


def collected(
    client: Client, work: Callable[[Task], Record], tasks: Sequence[Task], *, redone: int = 0
) -> Iterator[tuple[Task, Record]]:
    """Yield each task with its record as it ends.

    No more cases are handed out than run at once, so a worker that dies takes one with it. That case is done again by
    another worker, the second time with no other case beside it; when it ends that worker too, it is recorded as
    failed. No case fails for the death of a worker that another case caused.

    Args:
        redone: how often the cluster itself gives a case to another worker before it says that the first one died.
    Raises:
        IslesError: ``E-COH-04`` the scheduler is gone.
    Source: ours; ``tests/cohort/test_killed.py``.
    """
    from distributed.client import FutureCancelledError, FuturesCancelledError

    try:
        yield from _Cohort(client, work, tasks, redone).records()
    except (FutureCancelledError, FuturesCancelledError, OSError) as error:
        raise refused(
            "E-COH-04", where="cluster", found=next(iter(str(error).splitlines()), type(error).__name__)
        ) from error


class _Cohort:
    """Hold which cases wait, run, and are suspected of ending their workers."""

    def __init__(self, client: Client, work: Callable[[Task], Record], tasks: Sequence[Task], redone: int) -> None:
        self.client, self.work, self.crew = client, work, Crew(client)
        self.waiting, self.alone = deque(tasks), deque[Task]()
        self.running: dict[Future, Task] = {}
        self.deaths = Counter({task.case: min(redone, MOST_DEATHS - 2) for task in tasks})
        self.run, self.handed = uuid4().hex[:8], 0

    def records(self) -> Iterator[tuple[Task, Record]]:
        while self.waiting or self.alone or self.running:
            while self.waiting and len(self.running) < self.crew.slots(self.waiting[0]):
                self._hand_out(self.waiting.popleft())
            if self.alone and not self.waiting and not self.running and self.crew.slots(self.alone[0]):
                self._hand_out(self.alone.popleft())
            for future in self._ended():
                task = self.running.pop(future)
                record = self._record(future, task)
                if record is not None:
                    yield task, record

    def _hand_out(self, task: Task) -> None:
        self.handed += 1
        name, needs = f"case-{self.run}-{self.handed}", self.crew.wanted(task)
        self.running[self.client.submit(attempt, self.work, task, key=name, pure=False, resources=needs or None)] = task

    def _ended(self) -> list[Future]:
        """Return the futures that ended, waiting a moment where none did."""
        from distributed import wait

        if self.client.status not in ("running", "connecting"):
            raise OSError(f"connection {self.client.status}")
        if not self.running:
            time.sleep(0.05)
            return []
        try:
            with self.client.as_current():
                return list(wait(list(self.running), timeout=WAIT_S, return_when="FIRST_COMPLETED").done)
        except TimeoutError:
            return []

    def _record(self, future: Future, task: Task) -> Record | None:
        """Return what became of a case, None when its worker died and it is to be done again."""
        from distributed import KilledWorker

        try:
            return future.result()
        except KilledWorker as error:
            self.crew.forget()
            self.deaths[task.case] += 1
            if self.deaths[task.case] < MOST_DEATHS:
                log.warning("a worker died while it worked on %s, which is done again", task.case)
                last = self.deaths[task.case] == MOST_DEATHS - 1
                (self.alone.append if last else self.waiting.appendleft)(replace(task, again=task.again + 1))
                return None
            ended = refused(
                "E-COH-05",
                where=task.case,
                found=f"{error.last_worker.address} died while it ran alone, as others had before",
            )
            return {"outcome": "failed", "error": str(ended)}


def run_cases(
    work: Callable[[Task], Record],
    tasks: Sequence[Task],
    *,
    workers: int = 1,
    cluster: str | None = None,
    slurm: str | Path | None = None,
    title: str = "cases",
    unit: str = "case",
) -> dict[str, Record]:
    """Run ``work`` on every task and return its records by case, in the order of ``tasks`` wherever they ran.

    A fault of one case is its record, ``{"outcome": "failed", "error": ...}``. A case whose worker dies is done again
    by another one, at last with no case beside it; when it ends that worker too, it is recorded as failed and the
    others go on. Results are published by ``work``
    itself (``monai_isles.io.publish``); a record is small and goes back to the caller.

    Args:
        work: function of a module, so that other processes find it by name; it should leave a case alone that an
            earlier run finished.
        tasks: cases with their needs.
        workers: 1 is a plain loop without Dask; more are processes here, or Slurm workers with ``slurm``.
        cluster: address of a running Dask scheduler whose workers have this package and see the same files.
        slurm: YAML file for dask-jobqueue's SLURMCluster (``monai_isles.cohort.slurm``).
        title, unit: of the progress bar.
    Raises:
        IslesError: ``E-COH-01`` Dask is not installed, ``E-COH-02`` two cases of one name, ``E-COH-03`` no scheduler
            answers, ``E-COH-04`` the scheduler is gone, ``E-COH-06`` other versions there, ``E-COH-07`` no worker is
            large enough, ``E-COH-1x`` from the Slurm profile, ``E-USE-60`` and ``E-USE-61`` from the choice.
    Source: ours; ``tests/cohort/test_engine.py``, ``tests/cohort/test_killed.py``.
    """
    require_place(workers, cluster, slurm)
    require_names(tasks)
    if not tasks:
        return {}
    if not is_spread({"workers": workers, "cluster": cluster, "slurm": slurm}):
        return {task.case: attempt(work, task) for task in progress(tasks, title, total=len(tasks), unit=unit)}
    from monai_isles.cohort.clusters import opened

    count = min(workers, len(tasks))
    with opened(tasks, workers=count, cluster=cluster, slurm=slurm) as client:
        done = progress(collected(client, work, tasks, redone=1 if cluster else 0), title, total=len(tasks), unit=unit)
        records = {task.case: record for task, record in done}
    return {task.case: records[task.case] for task in tasks}
