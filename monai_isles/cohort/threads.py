"""The processors this process may use."""

from __future__ import annotations

import os
from pathlib import Path

from monai_isles.progress import QUIET

QUOTA = Path("/sys/fs/cgroup/cpu.max")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def allowed_threads(quota: Path = QUOTA) -> int:
    """Return the processors of this process's affinity, cut to the quota of a ``cpu.max`` file where there is one."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not quota.is_file():
        return affinity
    limit, period = quota.read_text(encoding="ascii").split()
    return affinity if limit == "max" else max(1, min(affinity, int(limit) // int(period)))


def thread_environment(workers: int) -> dict[str, str]:
    """Return the variables that give each of ``workers`` processes its share of the processors and no bar."""
    share = str(max(1, allowed_threads() // workers))
    return {**dict.fromkeys(THREAD_VARIABLES, share), QUIET: "1"}
