"""Handle memory and threads of a prediction: keep freed memory, halve groups of windows that do not fit."""

from __future__ import annotations

import ctypes
import logging
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch

from monai_isles.cohort.clusters import QUOTA, allowed_threads
from monai_isles.errors import first_line, out_of_memory, refused

_TRIM, _PAD, _MAP = -1, -2, -3  # M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD of malloc.h


@cache
def keep_memory() -> bool:
    """Set the C library of a Linux process to keep up to 512 MB of freed memory; return whether that worked.

    A pass over a group of windows allocates and frees some megabytes per layer. By default each block is returned to
    the system and mapped again page by page, which costs a third of the time. On other systems nothing changes.

    Source: mallopt(3); measured by ``benchmarks/inference.py``.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return all([mallopt(_MAP, 64 << 20), mallopt(_TRIM, 512 << 20), mallopt(_PAD, 64 << 20)])


log = logging.getLogger(__name__)


def forecast(
    trial: Callable[[np.ndarray], None], groups: Sequence[np.ndarray], windows: int, step: Sequence[int]
) -> None:
    """Log the number of windows and an estimate of the seconds, from one group run twice, the second time on the clock.

    Nothing is logged for fewer than 100 groups or less than ten seconds.
    """
    if len(groups) < 100:
        return
    trial(groups[0])
    begun = time.monotonic()
    trial(groups[0])
    seconds = (time.monotonic() - begun) * windows / len(groups[0])
    if seconds >= 10.0:
        at = " x ".join(map(str, step))
        log.info("%d windows at step %s, %d a pass: about %.0f s", windows, at, len(groups[0]), seconds)


def use_threads(wanted: int | None = None) -> int:
    """Set torch's thread count to ``wanted``, else to the limit of affinity and control group; return it."""
    if wanted is not None and wanted < 1:
        raise refused("E-USE-10", where="--threads", found=str(wanted))
    count = wanted or allowed_threads(QUOTA)
    torch.set_num_threads(count)
    return count


class HalvedOnce:
    """Run work on groups of windows; once memory has run out, run it on each half of a group."""

    def __init__(self, patch: str) -> None:
        self.patch, self.halved = patch, False

    def run(self, work: Callable[[Any], object], group: Any) -> None:
        """Call ``work`` on the group (a list or an array) or on its halves; ``work`` stores its results at its end."""
        half = -(-len(group) // 2)
        try:
            for part in (group[:half], group[half:]) if self.halved else (group,):
                if len(part):
                    work(part)
            return
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            if self.halved:
                found = f"window_batch {2 * len(part)} did not fit, nor did half of it: {first_line(error)}"
                where = f"windows of {self.patch}"
                raise refused("E-RUN-40", where=where, found=found, setting="window_batch") from error
            log.warning("memory ran out at window_batch %d, going on with half: %s", len(group), first_line(error))
        self.halved = True
        self.run(work, group)
