"""Entries are chosen by fold, absolute, and known to exist."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from monai_isles.data import find_entries, load_entries, make_datalist
from monai_isles.errors import IslesError
from monai_isles.io.findings import Finding

KEYS = ("ct", "cbf", "cbv", "mtt", "tmax")


@pytest.fixture
def content(dataset: Path) -> dict:
    return make_datalist(dataset, folds=2)


def test_folds_and_their_complement_are_all_cases(dataset: Path, content: dict) -> None:
    inside = load_entries(content, dataset, folds=[0], keys=KEYS, need_label=True)
    outside = load_entries(content, dataset, exclude=[0], keys=KEYS, need_label=True)
    assert sorted(e["case"] for e in inside + outside) == [f"case_{n}" for n in range(1, 7)]
    assert all(Path(e[k]).is_file() and Path(e[k]).is_absolute() for e in inside for k in (*KEYS, "label"))
    assert set(inside[0]) == {"case", "subject", "fold", *KEYS, "label"}


def test_the_test_section_needs_no_mask(dataset: Path, content: dict) -> None:
    (entry,) = load_entries(content, dataset, section="test", keys=KEYS, need_label=False)
    assert "label" not in entry and "fold" not in entry


@pytest.mark.parametrize("spelling", ["training", "Training"])
def test_the_spelling_on_disk_does_not_matter(dataset: Path, content: dict, spelling: str) -> None:
    (dataset / "TRAINING").rename(dataset / spelling)
    assert len(load_entries(content, dataset, keys=("ct",), need_label=True)) == 6


def test_a_list_may_be_a_file(dataset: Path, content: dict, tmp_path: Path) -> None:
    (tmp_path / "l.json").write_text(json.dumps(content))
    assert load_entries(tmp_path / "l.json", dataset, keys=KEYS, need_label=True) == load_entries(
        content, dataset, keys=KEYS, need_label=True
    )


def test_a_series_without_an_id_is_found_by_name(dataset: Path, content: dict) -> None:
    for entry in content["training"]:
        del entry["ctp"]
    for path in dataset.glob("TRAINING/*/*4DPWI*/*4DPWI*"):  # what macOS leaves on other disks
        path.with_name(f"._{path.name}").write_bytes(b"\0\x05\x16\7")
    found = load_entries(content, dataset, keys=("ct", "ctp"), need_label=False)
    assert all("4DPWI" in entry["ctp"] and entry["case"] in entry["ctp"] for entry in found)
    assert not any("._" in entry["ctp"] for entry in found)


def test_the_series_of_another_case_is_not_taken_where_images_have_no_folders_of_their_own(dataset: Path) -> None:
    for path in dataset.glob("TRAINING/*/*/*.nii"):
        path.rename(path.parents[1] / path.name)
    next(dataset.glob("TRAINING/case_2/*4DPWI*.nii")).unlink()
    lists = make_datalist(dataset, folds=2)
    found = load_entries(lists, dataset, keys=("ct",), optional=("ctp",), need_label=False)
    assert [entry["case"] for entry in found if "ctp" not in entry] == ["case_2"]


def test_all_missing_files_and_keys_are_in_one_error(dataset: Path, content: dict, tools: dict) -> None:
    tools["path_of"](dataset, 2, "cbf").unlink()
    del content["training"][4]["mtt"]
    for path in (dataset / "TRAINING" / "case_6").glob("*4DPWI*/*"):
        path.unlink()
    del content["training"][5]["ctp"]
    first, rest = (
        r"case_2 \(entry 2\) cbf: /",
        r"case_5 \(entry 5\) mtt: not in the list; case_6 \(entry 6\) ctp: not in",
    )
    words = rf"E-LIST-02(?s:.*)3 missing: {first}(?s:.*){rest}"
    with pytest.raises(IslesError, match=words):
        load_entries(content, dataset, keys=(*KEYS, "ctp"), need_label=True)


def test_missing_files_of_the_other_folds_are_named_with_those_of_the_fold_that_is_kept(
    dataset: Path, content: dict, tools: dict
) -> None:
    other = next(n for n, entry in enumerate(content["training"], 1) if entry["fold"] != content["training"][0]["fold"])
    for case in (1, other):
        tools["path_of"](dataset, case, "cbf").unlink()
    fold = content["training"][0]["fold"]
    with pytest.raises(IslesError, match=rf"E-LIST-02(?s:.*)2 missing: case_1 (?s:.*)case_{other} "):
        load_entries(content, dataset, folds=[fold], keys=KEYS, need_label=True)
    left: list[Finding] = []
    load_entries(content, dataset, keys=KEYS, need_label=True, left_out=left)
    assert len(left) == 2 and {item.fix for item in left} == {
        "restore these files, correct the list, or give the right data folder"
    }
    tools["path_of"](dataset, 1, "mtt").rename(tools["path_of"](dataset, 1, "cbf"))
    kept = load_entries(content, dataset, folds=[fold], keys=("ct", "cbf"), need_label=True)
    assert {entry["fold"] for entry in kept} == {fold}


def test_a_case_without_a_mask_is_refused_only_where_one_is_needed(dataset: Path, content: dict) -> None:
    del content["training"][0]["label"]
    assert "label" not in load_entries(content, dataset, keys=KEYS, need_label=False)[0]
    with pytest.raises(IslesError, match=r"E-LIST-02(?s:.*)case_1 \(entry 1\) label"):
        load_entries(content, dataset, keys=KEYS, need_label=True)


def test_a_section_that_is_not_there_names_those_that_are(dataset: Path, content: dict) -> None:
    with pytest.raises(IslesError, match=r"E-LIST-06(?s:.*)validation(?s:.*)sections training, test"):
        load_entries(content, dataset, section="validation", keys=KEYS, need_label=True)


def test_a_fold_that_is_not_there_names_those_that_are(dataset: Path, content: dict) -> None:
    with pytest.raises(IslesError, match=r"E-LIST-12(?s:.*)requested 7, there are \[0, 1\]"):
        load_entries(content, dataset, folds=[7], keys=KEYS, need_label=True)


@pytest.mark.parametrize("how", [{"folds": [0], "exclude": [0]}, {"exclude": [0, 1]}])
def test_nothing_left_is_refused(dataset: Path, content: dict, how: dict) -> None:
    with pytest.raises(IslesError, match=r"E-LIST-05: nothing to do(?s:.*)train on all scans: --fold all"):
        load_entries(content, dataset, keys=KEYS, need_label=True, **how)


def test_a_list_with_absolute_paths_is_read(dataset: Path, content: dict, tmp_path: Path) -> None:
    listed = [entry | {key: str(dataset / entry[key]) for key in KEYS} for entry in content["training"]]
    (tmp_path / "l.json").write_text(json.dumps({"training": listed}))
    assert load_entries(tmp_path / "l.json", dataset, keys=KEYS, need_label=True) == load_entries(
        content, dataset, keys=KEYS, need_label=True
    )


def test_a_list_made_by_hand_is_judged_too(dataset: Path, content: dict) -> None:
    content["training"][0]["ct"] = "../../etc/passwd"
    with pytest.raises(IslesError, match="E-LIST-08"):
        load_entries(content, dataset, keys=KEYS, need_label=True)


def test_optional_modalities_come_where_the_list_has_them(dataset: Path, content: dict) -> None:
    (dataset / content["training"][0].pop("ct")).unlink()
    entries = load_entries(content, dataset, keys=("cbf",), optional=("ct", "dwi"), need_label=True)
    assert len(entries) == 6 and [("ct" in entry) for entry in entries] == [False] + [True] * 5
    (dataset / content["training"][1]["ct"]).unlink()
    with pytest.raises(IslesError, match="E-LIST-02"):  # what the list names must be there
        load_entries(content, dataset, keys=("cbf",), optional=("ct",), need_label=True)


def test_folds_of_a_folder_without_a_list_are_refused(dataset: Path) -> None:
    with pytest.raises(IslesError, match=r"E-EVAL-11(?s:.*)--folds(?s:.*)folds 0, 2(?s:.*)--data-list"):
        find_entries(dataset, keys=KEYS, folds=[0, 2])
