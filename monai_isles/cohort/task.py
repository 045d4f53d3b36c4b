"""Describe one case of a cohort, its needs, and its record."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypedDict

from monai_isles.errors import IslesError, find_isles_error, memory_error, refused
from monai_isles.io.findings import WARNING, Finding, as_error, finding, tell

log = logging.getLogger(__name__)
FAULTS = (IslesError, RuntimeError, ValueError, OSError, MemoryError)
Record = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """Hold the unique name of a case, the input of the work function (pickled), and how many workers died on it."""

    case: str
    about: Any = None
    again: int = 0


def attempt(work: Callable[[Task], Record], task: Task, *, strict: bool = False) -> Record:
    """Return the record of one case; a fault of the case is a record too, or is raised with ``strict``."""
    try:
        return work(task)
    except Exception as error:
        if strict:
            raise find_isles_error(error) or RuntimeError(reason(error)) from error
        return failed_record(error)


def failed_record(error: Exception) -> Record:
    """Return the record of a failed case, with the ``IslesError`` behind ``error`` if there is one.

    The traceback of a bug is logged, so that it can be reported; that of another fault is a debug message.
    """
    log.log(logging.DEBUG if isinstance(error, FAULTS) else logging.ERROR, "a case failed", exc_info=error)
    return {
        "outcome": "failed",
        "error": str(find_isles_error(error) or memory_error(error, "this case") or reason(error)),
    }


def left_out_records(findings: Iterable[Finding]) -> dict[str, Record]:
    """Return the records of cases left out before any work, by the case's name or its place."""
    return {finding.case or finding.where: failed_record(as_error(finding)) for finding in findings}


def reason(error: BaseException) -> str:
    """Return the text of an error and of its cause: MONAI wraps the exceptions of transforms."""
    first = error
    while first.__cause__ is not None:
        first = first.__cause__
    text = [f"{type(e).__name__}: {e}" for e in ((error, first) if first is not error else (error,))]
    return ", caused by ".join(text)


class Place(TypedDict, total=False):
    """Hold where cases run, and the needs of each; a verb that computes on a GPU has 1 as its default of ``gpus``.

    Args:
        workers: 1 is a plain loop without Dask; more are local processes, or Slurm workers with ``slurm``.
        cluster: address of a running Dask scheduler whose workers have this package and see the same files.
        slurm: YAML file for dask-jobqueue's SLURMCluster (``clusters.read_profile``).
        memory_gb: in 10^9 bytes; 0 for no requirement.
    """

    workers: int
    cluster: str | None
    slurm: str | Path | None
    gpus: int
    memory_gb: float


HERE: Place = {}


@lru_cache(maxsize=1)
def load_in_process(recipe: Any) -> Any:
    """Return ``recipe.load()``, of the last recipe alone: networks of several bundles would fill the memory."""
    return recipe.load()


def is_spread(place: Place) -> bool:
    """Return whether cases run in other processes."""
    return place.get("workers", 1) > 1 or bool(place.get("cluster")) or bool(place.get("slurm"))


def stands_elsewhere(place: Place) -> bool:
    """Return whether cases run in processes whose working directory may differ."""
    return bool(place.get("cluster") or place.get("slurm"))


def require_place(place: Place) -> None:
    """Refuse impossible places before the start."""
    workers, cluster, slurm = place.get("workers", 1), place.get("cluster"), place.get("slurm")
    if workers < 1:
        raise refused("E-USE-60", where="--workers", found=str(workers))
    if cluster and (slurm or workers > 1):
        other = f"--slurm {slurm}" if slurm else f"--workers {workers}"
        raise refused("E-USE-61", where="--cluster", found=f"--cluster {cluster} and {other}")


def require_own_names(names: Iterable[str], code: str, *, where: str) -> None:
    """Refuse two cases of one name, and remark names that a disk without capitals cannot tell apart."""
    times = Counter(names)
    folded = Counter(name.casefold() for name in times)
    if twice := [name for name in times if times[name] > 1]:
        result = f"{', '.join(twice[:8])} more than once; results would overwrite each other"
        raise refused(code, where=where, found=result)
    if alike := [name for name in times if folded[name.casefold()] > 1]:
        text = f"{', '.join(alike[:8])}; on a disk that ignores case results overwrite each other"
        fault, fix = "names of cases differ in capitals alone", "rename one, or write to a disk that heeds case"
        tell(finding("E-LIST-20", WARNING, where="results", found=text, fault=fault, fix=fix))
