"""Where the cases of a cohort run, checked before any work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from monai_isles.cohort.task import Task
from monai_isles.errors import IslesError


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
        raise IslesError(
            "E-USE-60",
            "no such number of workers",
            where="--workers",
            found=str(workers),
            fix="give at least 1",
        )
    if cluster and (slurm or workers > 1):
        raise IslesError(
            "E-USE-61",
            "two places to run at once",
            where="--cluster",
            found=f"--cluster {cluster} and {f'--slurm {slurm}' if slurm else f'--workers {workers}'}",
            fix="give one of them: a running cluster has its own workers",
        )


def require_names(tasks: Sequence[Task]) -> None:
    """Refuse two cases of one name: their results would overwrite each other.

    Raises:
        IslesError: ``E-COH-02``.
    """
    seen: set[str] = set()
    twice = next((task.case for task in tasks if task.case in seen or seen.add(task.case)), None)
    if twice is not None:
        raise IslesError(
            "E-COH-02",
            "two cases have the same name",
            where="cohort",
            found=twice,
            fix="give every case a name of its own",
        )
