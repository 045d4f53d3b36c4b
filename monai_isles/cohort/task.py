"""One case of a cohort, what it needs, and what became of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from monai_isles.errors import IslesError, find_isles_error, memory_error

log = logging.getLogger(__name__)
FAULTS = (IslesError, RuntimeError, ValueError, OSError, MemoryError)
GPU, MEMORY = "GPU", "MEMORY_GB"

Record = dict[str, object]


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
    about: object = None
    gpus: int = 0
    memory_gb: float = 0.0
    again: int = 0

    @property
    def needs(self) -> dict[str, float]:
        """Return the needs above 0 by the names that workers declare them under."""
        return {name: float(value) for name, value in ((GPU, self.gpus), (MEMORY, self.memory_gb)) if value > 0}


def attempt(work: Callable[[Task], Record], task: Task) -> Record:
    """Return the record of one case; a fault of the case is a record too and takes no other case along."""
    try:
        return work(task)
    except FAULTS as error:
        log.debug("case %s failed", task.case, exc_info=error)
        return failed(error)


def failed(error: BaseException) -> Record:
    """Return the record of a case that failed, with the error of ours behind ``error`` where there is one."""
    return {
        "outcome": "failed",
        "error": str(find_isles_error(error) or memory_error(error, "this case") or reason(error)),
    }


def reason(error: BaseException) -> str:
    """Return an error and the one that caused it: MONAI wraps what a transform raises."""
    first = error
    while first.__cause__ is not None:
        first = first.__cause__
    said = [f"{type(e).__name__}: {e}" for e in ((error, first) if first is not error else (error,))]
    return ", caused by ".join(said)
