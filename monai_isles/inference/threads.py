"""Use the processor threads this process may have, no more."""

from __future__ import annotations

import torch

from monai_isles.cohort.threads import QUOTA, allowed_threads
from monai_isles.errors import IslesError

__all__ = ["allowed_threads", "use_threads"]


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
    count = wanted or allowed_threads(QUOTA)
    torch.set_num_threads(count)
    return count
