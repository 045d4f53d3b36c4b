"""Progress bars, shown only on a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

Item = TypeVar("Item")
QUIET = "MONAI_ISLES_QUIET"


def progress(
    items: Iterable[Item], description: str, *, total: int | None = None, unit: str = "case", delay_s: float = 0.0
) -> Iterable[Item]:
    """Yield ``items`` with a tqdm bar on standard error, or without one if that is closed or not a terminal.

    The environment variable ``MONAI_ISLES_QUIET`` hides it too: worker processes share one bar.

    Args:
        delay_s: seconds before the bar appears.
    """
    from tqdm import tqdm

    hidden = sys.stderr is None or not sys.stderr.isatty() or QUIET in os.environ
    look: dict[str, Any] = {"delay": delay_s, "leave": not delay_s, "disable": hidden, "dynamic_ncols": True}
    return tqdm(items, desc=description, total=total, unit=unit, **look)


@contextmanager
def quiet() -> Iterator[None]:
    """Hide progress bars inside the block: the outer loop has one."""
    before = os.environ.get(QUIET)
    os.environ[QUIET] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[QUIET]
        else:
            os.environ[QUIET] = before
