"""Folds never split a subject, balance, and depend on names and seed alone."""

from __future__ import annotations

import numpy as np
import pytest

from monai_isles.data.datalist import group_folds
from monai_isles.errors import IslesError

SUBJECTS = [f"s{i // 2}" if i < 40 else f"s{i}" for i in range(63)]


def test_no_subject_is_split_and_folds_are_of_one_size() -> None:
    folds = group_folds(SUBJECTS, 5)
    homes = {}
    assert all(homes.setdefault(s, f) == f for s, f in zip(SUBJECTS, folds, strict=True))
    counts = np.bincount(folds)
    assert counts.max() - counts.min() <= 1 and len(counts) == 5


def test_the_order_of_the_cases_does_not_matter() -> None:
    folds = dict(zip(SUBJECTS, group_folds(SUBJECTS, 5), strict=True))
    order = np.random.default_rng(0).permutation(len(SUBJECTS))
    again = group_folds([SUBJECTS[i] for i in order], 5)
    assert all(folds[SUBJECTS[i]] == f for i, f in zip(order, again, strict=True))


def test_the_seed_decides_and_decides_alone() -> None:
    assert group_folds(SUBJECTS, 5, 1) == group_folds(SUBJECTS, 5, 1) != group_folds(SUBJECTS, 5, 2)


def test_lesion_volumes_are_balanced_among_equal_counts() -> None:
    rng = np.random.default_rng(0)
    subjects, volumes = [f"s{i}" for i in range(94)], rng.lognormal(2.7, 1.2, 94)
    spread = {}
    for name, given in (("with", volumes), ("without", None)):
        folds = np.array(group_folds(subjects, 5, 3, volumes_ml=given))
        sums = np.array([volumes[folds == k].sum() for k in range(5)])
        spread[name] = sums.max() - sums.min()
    assert spread["with"] < spread["without"]


@pytest.mark.parametrize(("subjects", "folds"), [(["a", "b", "c"], 1), (["a", "a", "a", "b"], 3), ([], 2)])
def test_impossible_folds_are_refused(subjects: list[str], folds: int) -> None:
    with pytest.raises(
        IslesError, match=rf"E-LIST-12(?s:.*)folds {folds}(?s:.*){len(set(subjects))} subjects in {len(subjects)} cases"
    ):
        group_folds(subjects, folds)
