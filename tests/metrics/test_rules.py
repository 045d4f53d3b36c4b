"""The written rules and the largest distance a volume allows."""

from __future__ import annotations

import numpy as np
import pytest

from monai_isles import metrics
from monai_isles.metrics import diagonal, hd_mm
from monai_isles.metrics.overlap import RULES, emptiness


def test_every_kind_of_emptiness_has_its_name() -> None:
    empty, one = np.zeros((2, 2, 1), bool), np.ones((2, 2, 1), bool)
    names = [emptiness(p, r) for p, r in ((one, one), (empty, one), (one, empty), (empty, empty))]
    assert names == ["none", "prediction", "reference", "both"]


def test_the_diagonal_is_the_largest_distance_of_the_volume() -> None:
    one, far = np.zeros((7, 5, 2), bool), np.zeros((7, 5, 2), bool)
    one[0, 0, 0], far[-1, -1, -1] = True, True
    assert diagonal((7, 5, 2), (0.9, 0.8, 6.0)) == pytest.approx(hd_mm(one, far, (0.9, 0.8, 6.0)))


def test_every_rule_is_a_sentence_for_a_named_metric() -> None:
    assert {"dsc", "ppv", "sensitivity", "rve", "r2", "lesion_f1"} <= RULES.keys() and all(RULES.values())


def test_every_public_name_is_there_and_no_other() -> None:
    assert all(getattr(metrics, name) is not None for name in metrics.__all__)
    with pytest.raises(AttributeError, match="attribute (nothing|nonsense)"):
        _ = metrics.nothing
