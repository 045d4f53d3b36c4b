"""Use the processor threads this process may have, no more."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from monai_isles.errors import IslesError

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def use_threads(wanted: int | None = None) -> int:
    """Set torch's thread count to ``wanted``, or to what affinity and the control group's quota allow; return it.

    Raises:
        IslesError: ``E-USE-10`` for a number below 1.
    Source: ours; ``tests/inference/test_threads.py``.
    """
    if wanted is not None and wanted < 1:
        raise IslesError(
            "E-USE-10",
            "no such number of threads",
            where="--threads",
            found=str(wanted),
            fix="give at least 1, or leave the option out",
        )
    count = wanted or allowed_threads(_QUOTA)
    torch.set_num_threads(count)
    return count


def allowed_threads(quota: Path) -> int:
    """Return the processors of this process's affinity, cut to the quota of a ``cpu.max`` file where there is one."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not quota.is_file():
        return affinity
    limit, period = quota.read_text(encoding="ascii").split()
    return affinity if limit == "max" else max(1, min(affinity, int(limit) // int(period)))
