from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from monai_isles.phantom.ct.subject import SCANS, protocol_of


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_slices_slabs_and_volumes_follow_the_release(seed: int) -> None:
    subjects = [protocol_of(i, seed=seed) for i in range(72)]
    scans = [p for p in subjects for _ in range(p.slabs)]
    count = Counter(p.slices for p in scans)
    assert 0.45 < count[2] / len(scans) < 0.65  # 51 of 94
    assert 0.12 < count[4] / len(scans) < 0.28  # 19 of 94
    assert 0.06 < (count[16] + count[22]) / len(scans) < 0.22  # 15 of 94
    assert 0.25 < np.mean([p.slabs == 2 for p in subjects]) < 0.45
    low, middle, high = np.percentile([p.lesion_ml for p in scans], [25, 50, 75])
    assert 4 < low < 9 and 12 < middle < 21 and 33 < high < 58
    assert min(p.lesion_ml for p in scans) >= 0.8 and max(p.lesion_ml for p in scans) <= 260


def test_every_protocol_is_one_of_the_release() -> None:
    known = {(s, f) for s, f, _ in SCANS}
    for index in range(60):
        p = protocol_of(index, seed=4)
        assert (p.slices, p.frames) in known and 1.0 <= p.dt_s <= 2.0 and 43 <= p.frames <= 64
        assert 0.80 <= p.spacing_mm[0] == p.spacing_mm[1] <= 1.04 and 4.0 <= p.spacing_mm[2] <= 12.0


def test_a_subject_does_not_depend_on_its_neighbours() -> None:
    assert protocol_of(5, seed=3) == protocol_of(5, seed=3) != protocol_of(5, seed=4)
