"""Say how many windows there are and how long they will take, before they run."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

import numpy as np

log = logging.getLogger(__name__)
_WORTH_A_TRIAL, _WORTH_A_LINE_S = 100, 10.0


def forecast(
    trial: Callable[[np.ndarray], None], groups: Sequence[np.ndarray], windows: int, step: Sequence[int]
) -> None:
    """Log the number of windows and an estimate of the seconds, from one group run twice, the second time on the clock.

    Fewer than 100 groups are not worth the trial, less than ten seconds not the line.

    Args:
        trial: runs one group and keeps nothing.
    Source: ours; ``tests/inference/test_forecast.py``.
    """
    if len(groups) < _WORTH_A_TRIAL:
        return
    trial(groups[0])
    begun = time.monotonic()
    trial(groups[0])
    seconds = (time.monotonic() - begun) * windows / len(groups[0])
    if seconds >= _WORTH_A_LINE_S:
        at = " x ".join(map(str, step))
        log.info("%d windows at step %s, %d a pass: about %.0f s", windows, at, len(groups[0]), seconds)
