"""The workers of a Dask cluster, which may come and go."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from monai_isles.cohort.task import MEMORY, Task

if TYPE_CHECKING:
    from distributed import Client

log = logging.getLogger(__name__)
LOOK_S, ALONE_S = 2.0, 60.0


class Crew:
    """Know how many cases the workers take at once, by a look every few seconds."""

    def __init__(self, client: Client) -> None:
        self._client, self._workers, self._looked = client, [], -LOOK_S
        self._seen, self._said = time.monotonic(), False

    def forget(self) -> None:
        """Look again at the next question: a worker died."""
        self._workers = []

    def slots(self, task: Task) -> int:
        """Return how many tasks of this kind the workers run at once."""
        now = time.monotonic()
        if now - self._looked >= LOOK_S or not self._workers:
            self._look(now)
        return sum(_takes(worker, task) for worker in self._workers)

    def wanted(self, task: Task) -> dict[str, float]:
        """Return the needs that Dask is to watch: memory only where a worker declares it."""
        declared = {name for worker in self._workers for name in worker.get("resources") or {}}
        return {name: value for name, value in task.needs.items() if name != MEMORY or name in declared}

    def _look(self, now: float) -> None:
        self._looked = now
        self._workers = list(self._client.scheduler_info(n_workers=-1)["workers"].values())
        if self._workers:
            self._seen = now
        elif now - self._seen > ALONE_S and not self._said:
            self._said = True
            log.warning("the cluster has had no worker for %.0f s; waiting for one", ALONE_S)


def offer(worker: dict) -> dict[str, float]:
    """Return what a worker of a cluster declares; without a declaration its memory counts as it stands."""
    declared = dict(worker.get("resources") or {})
    return {MEMORY: (worker.get("memory_limit") or 0) / 1e9, **declared}


def _takes(worker: dict, task: Task) -> int:
    has = offer(worker)
    fits = [int(has.get(name, 0.0) // value) for name, value in task.needs.items()]
    return max(0, min([int(worker["nthreads"]), *fits]))
