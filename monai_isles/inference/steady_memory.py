"""Keep freed memory for the next pass instead of giving it back after every layer."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

_TRIM, _PAD, _MAP = -1, -2, -3  # M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD of malloc.h


@cache
def keep_memory() -> bool:
    """Tell the C library of a Linux process to keep up to 512 MB of freed memory; return whether it listens.

    A pass over a group of windows allocates and frees some megabytes a layer. By default each goes back to the system
    and comes again page by page, which costs a third of the time. Elsewhere nothing changes.

    Source: mallopt(3); measured by ``benchmarks/inference.py``.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return all([mallopt(_MAP, 64 << 20), mallopt(_TRIM, 512 << 20), mallopt(_PAD, 64 << 20)])
