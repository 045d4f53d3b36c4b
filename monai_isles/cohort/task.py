"""One case of a cohort, what it needs, and what became of it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, TypeVar

from monai_isles.errors import IslesError, find_isles_error, memory_error, refused
from monai_isles.io.findings import Finding, as_error

Thing = TypeVar("Thing")
_KEPT: dict[Hashable, Any] = {}


def kept(key: Hashable, build: Callable[[], Thing]) -> Thing:
    """Return what ``build`` makes, the same object for the same ``key`` as long as this process lives.

    Only the last key is kept: networks of another bundle would fill the memory beside it.

    Source: ours; ``tests/cohort/test_kept.py``.
    """
    if key not in _KEPT:
        _KEPT.clear()
        _KEPT[key] = build()
    return _KEPT[key]


log = logging.getLogger(__name__)
FAULTS = (IslesError, RuntimeError, ValueError, OSError, MemoryError)
GPU, MEMORY = "GPU", "MEMORY_GB"

Record = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """Name one case and what its work needs.

    Args:
        case: name, unique in the cohort.
        about: what the work function reads; it is pickled on its way to another process.
        gpus: GPUs it needs of its worker.
        memory_gb: memory it needs of its worker, in 10^9 bytes; 0 leaves it open.
        again: how many workers died while they had it.
    """

    case: str
    about: Any = None
    gpus: int = 0
    memory_gb: float = 0.0
    again: int = 0

    @property
    def needs(self) -> dict[str, float]:
        """Return the needs above 0 by the names that workers declare them under."""
        return {name: float(value) for name, value in ((GPU, self.gpus), (MEMORY, self.memory_gb)) if value > 0}


def attempt(work: Callable[[Task], Record], task: Task, *, strict: bool = False) -> Record:
    """Return the record of one case; a fault of the case is a record too, unless ``strict`` lets it be raised."""
    try:
        return work(task)
    except FAULTS as error:
        if strict:
            raise find_isles_error(error) or RuntimeError(reason(error)) from error
        log.debug("case %s failed", task.case, exc_info=error)
        return failed(error)


def failed(error: BaseException) -> Record:
    """Return the record of a case that failed, with the error of ours behind ``error`` where there is one."""
    return {
        "outcome": "failed",
        "error": str(find_isles_error(error) or memory_error(error, "this case") or reason(error)),
    }


def left_out_records(findings: Iterable[Finding]) -> dict[str, Record]:
    """Return the records of cases that were left out before any work, by the case's name or by where it was found."""
    return {one.case or one.where: failed(as_error(one)) for one in findings}


def reason(error: BaseException) -> str:
    """Return an error and the one that caused it: MONAI wraps what a transform raises."""
    first = error
    while first.__cause__ is not None:
        first = first.__cause__
    said = [f"{type(e).__name__}: {e}" for e in ((error, first) if first is not error else (error,))]
    return ", caused by ".join(said)


class Place(TypedDict, total=False):
    """Say where cases run; at most one of ``cluster`` and ``slurm``.

    ``workers``: processes on this machine, or Slurm workers. ``cluster``: address of a running Dask scheduler.
    ``slurm``: YAML file with the keyword arguments of dask-jobqueue's SLURMCluster.
    """

    workers: int
    cluster: str | None
    slurm: str | Path | None


HERE: Place = {}


def is_spread(place: Place) -> bool:
    """Return whether cases leave this process."""
    return place.get("workers", 1) > 1 or bool(place.get("cluster")) or bool(place.get("slurm"))


def stands_elsewhere(place: Place) -> bool:
    """Return whether cases run in processes that need not stand in this one's folder."""
    return bool(place.get("cluster") or place.get("slurm"))


def require_place(workers: int, cluster: str | None, slurm: str | Path | None) -> None:
    """Refuse places that cannot be, before anything starts.

    Raises:
        IslesError: ``E-USE-60`` fewer than one worker, ``E-USE-61`` two places at once.
    """
    if workers < 1:
        raise refused("E-USE-60", where="--workers", found=str(workers))
    if cluster and (slurm or workers > 1):
        raise refused(
            "E-USE-61",
            where="--cluster",
            found=f"--cluster {cluster} and {f'--slurm {slurm}' if slurm else f'--workers {workers}'}",
        )


def require_names(tasks: Sequence[Task]) -> None:
    """Refuse two cases of one name: their results would overwrite each other.

    Raises:
        IslesError: ``E-COH-02``.
    """
    twice = [name for name, count in Counter(task.case for task in tasks).items() if count > 1]
    if twice:
        raise refused("E-COH-02", where="cohort", found=twice[0])
