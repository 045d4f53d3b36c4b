"""A long prediction says how many windows there are and how long they take, before they run."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest

from monai_isles.inference.malloc import forecast

GROUPS = [np.zeros((4, 3), int)] * 120


def test_the_estimate_is_the_second_trials_time_for_all_windows(caplog) -> None:
    seen: list[int] = []

    def trial(group: np.ndarray) -> None:
        seen.append(len(group))
        time.sleep(0.2 if len(seen) == 1 else 0.1)  # the first is slower, as first passes are

    with caplog.at_level("INFO"):
        forecast(trial, GROUPS, 480, (4, 4, 1))
    assert seen == [4, 4]
    assert re.search(r"480 windows at step 4 x 4 x 1, 4 a pass: about 1[2-5] s", caplog.text)  # 120 passes of 0.1 s


@pytest.mark.parametrize(("groups", "trials"), [(GROUPS[:99], 0), (GROUPS, 2)])
def test_a_short_prediction_says_nothing(groups: list[np.ndarray], trials: int, caplog) -> None:
    seen: list[int] = []
    with caplog.at_level("INFO"):
        forecast(lambda group: seen.append(len(group)), groups, 480, (4, 4, 1))
    assert not caplog.text and len(seen) == trials
