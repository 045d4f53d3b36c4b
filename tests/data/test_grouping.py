"""Slabs of one head are found without a table; different heads and different headers stay apart."""

from __future__ import annotations

from pathlib import Path

from monai_isles.data import find_cases
from monai_isles.data.grouping import gather, group_by_evidence, likeness


def groups(folder: Path) -> set[frozenset[str]]:
    named, _ = group_by_evidence(find_cases(folder, section="training"))
    return {frozenset(c for c in named if named[c] == s) for s in named.values()}


def test_two_slabs_of_one_head_are_joined_with_the_reason(dataset: Path) -> None:
    named, pairs = group_by_evidence(find_cases(dataset, section="training"))
    assert named == {
        "case_1": "case_1",
        "case_2": "case_1",
        "case_3": "case_3",
        "case_4": "case_3",
        "case_5": "case_5",
        "case_6": "case_6",
    }
    assert [pair["cases"] for pair in pairs] == [["case_1", "case_2"], ["case_3", "case_4"]]
    assert (
        pairs[0]["why"]["gap_mm"] == 15.0 and pairs[0]["why"]["outline"] > 0.9
    )  # 10 mm slab from 0 to 10, next from 25


def test_another_in_plane_spacing_keeps_scans_apart(tmp_path: Path, tools: dict) -> None:
    tools["make_case"](tmp_path, 1, person=1)
    tools["make_case"](tmp_path, 2, person=1, z_mm=25, spacing=0.91)
    assert groups(tmp_path) == {frozenset({"case_1"}), frozenset({"case_2"})}


def test_another_number_of_frames_keeps_scans_apart(tmp_path: Path, tools: dict) -> None:
    tools["make_case"](tmp_path, 1, person=1)
    tools["make_case"](tmp_path, 2, person=1, z_mm=25, frames=4)
    assert len(groups(tmp_path)) == 2


def test_slabs_too_far_apart_are_not_neighbours(tmp_path: Path, tools: dict) -> None:
    tools["make_case"](tmp_path, 1, person=1)
    tools["make_case"](tmp_path, 2, person=1, z_mm=80)
    assert len(groups(tmp_path)) == 2


def test_other_tissue_keeps_scans_apart(tmp_path: Path, tools: dict) -> None:
    tools["make_case"](tmp_path, 1, person=1)
    ct = tools["head"](1)
    ct[(ct > 0) & (ct < 100)] = 80
    tools["make_case"](tmp_path, 2, person=1, z_mm=25)
    tools["save"](tools["path_of"](tmp_path, 2, "ct"), ct, z_mm=25)
    a, b = (gather(case) for case in find_cases(tmp_path))
    assert likeness(a, b) is None and likeness(a, a) is not None


def test_flat_slices_do_not_correlate(tmp_path: Path, tools: dict) -> None:
    tools["make_case"](tmp_path, 1, person=1)
    tools["save"](tools["path_of"](tmp_path, 1, "ct"), tools["head"](1) * 0 + 40)
    (case,) = find_cases(tmp_path)
    assert likeness(gather(case), gather(case))["outline"] == 0.0
