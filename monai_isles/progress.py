"""Progress bars that stay silent when nobody watches."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TypeVar

Item = TypeVar("Item")


def progress(
    items: Iterable[Item], description: str, *, total: int | None = None, unit: str = "case"
) -> Iterable[Item]:
    """Yield ``items`` behind a tqdm bar on standard error, or plainly when that is not a terminal."""
    from tqdm import tqdm

    return tqdm(items, desc=description, total=total, unit=unit, disable=not sys.stderr.isatty(), dynamic_ncols=True)
