"""The local split has the paper's sizes and keeps every subject whole."""

from __future__ import annotations

from collections import Counter

import pytest

from monai_isles.crossval.plan import local_split
from monai_isles.errors import IslesError


def listed(scans_by_subject: list[int]) -> dict:
    people = [f"s{i:03d}" for i, scans in enumerate(scans_by_subject) for _ in range(scans)]
    return {"name": "x", "training": [{"case": f"c{i}", "subject": p, "fold": 9} for i, p in enumerate(people)]}


def parts(content: dict) -> tuple[int, ...]:
    count = Counter(case["fold"] for case in content["training"])
    return count[2], count[0], count[1]


@pytest.mark.parametrize("seed", range(5))
def test_94_scans_of_63_patients_are_split_65_6_23(seed: int) -> None:
    content = local_split(listed([2] * 31 + [1] * 32), seed=seed)
    assert parts(content) == (65, 6, 23)
    folds: dict[str, set[int]] = {}
    for case in content["training"]:
        folds.setdefault(case["subject"], set()).add(case["fold"])
    assert all(len(found) == 1 for found in folds.values())
    assert content["folds"]["parts"] == ["validation", "test", "training"]


def test_another_number_is_split_in_proportion() -> None:
    assert parts(local_split(listed([1] * 47))) == (32, 3, 12)
    assert parts(local_split(listed([1] * 3))) == (1, 1, 1)


def test_the_seed_decides_and_the_order_of_the_cases_does_not() -> None:
    content = listed([2, 1] * 20)
    first = {c["case"]: c["fold"] for c in local_split(content)["training"]}
    turned = {**content, "training": content["training"][::-1]}
    assert {c["case"]: c["fold"] for c in local_split(turned)["training"]} == first
    assert {c["case"]: c["fold"] for c in local_split(content, seed=1)["training"]} != first
    assert {c["fold"] for c in content["training"]} == {9}


@pytest.mark.parametrize("scans", [[], [1, 1], [40, 40, 40]])
def test_too_few_subjects_are_refused(scans: list[int]) -> None:
    with pytest.raises(IslesError, match=r"E-LIST-51.*too few subjects"):
        local_split(listed(scans))
