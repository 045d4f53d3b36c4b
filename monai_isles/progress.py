"""Progress bars that stay silent when nobody watches."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TypeVar

Item = TypeVar("Item")


def progress(
    items: Iterable[Item], description: str, *, total: int | None = None, unit: str = "case", delay_s: float = 0.0
) -> Iterable[Item]:
    """Yield ``items`` behind a tqdm bar on standard error, or plainly when that is not a terminal.

    Args:
        delay_s: seconds before the bar shows; what ends sooner has none.
    """
    from tqdm import tqdm

    hidden = not sys.stderr.isatty()
    return tqdm(
        items,
        desc=description,
        total=total,
        unit=unit,
        delay=delay_s,
        leave=not delay_s,
        disable=hidden,
        dynamic_ncols=True,
    )
