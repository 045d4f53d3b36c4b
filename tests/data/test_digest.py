"""A list that trains something else has another digest; a list that only reads otherwise has the same."""

from __future__ import annotations

import copy

from monai_isles.data import list_digest

LIST = {"name": "a", "training": [{"case": "c1", "ct": "x.nii", "fold": 0}, {"case": "c2", "fold": 1}], "test": []}


def test_files_folds_labels_and_order_count() -> None:
    changed = [copy.deepcopy(LIST) for _ in range(4)]
    changed[0]["training"][0]["ct"] = "y.nii"
    changed[1]["training"][1]["fold"] = 0
    changed[2]["label_values"] = [1]
    changed[3]["training"].reverse()
    assert len({list_digest(content) for content in (LIST, *changed)}) == 5
    assert list_digest(LIST).startswith("2 cases, SHA-256 ")


def test_the_title_and_the_order_of_keys_do_not_count() -> None:
    same = dict(reversed(LIST.items())) | {"name": "b", "description": "c"}
    assert list_digest(same) == list_digest(LIST)
