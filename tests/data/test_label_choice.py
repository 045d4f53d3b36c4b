"""A list made for one label of a mask says so, and training and evaluation read the same voxels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from monai_isles.data import find_data_list, load_entries, make_datalist
from monai_isles.data.checks import check_folder, check_list
from monai_isles.data.datalist import read_datalist
from monai_isles.errors import IslesError
from monai_isles.evaluation.pairs import find_references
from monai_isles.io import LoadVerifiedd, read_image

SPES = ("dwi", "cbf", "cbv", "t1c", "t2", "tmax", "ttp")


@pytest.mark.parametrize(("target", "values", "voxels"), [("penumbra", [1], 3), ("core", [2], 1), ("area", [1, 2], 4)])
def test_training_and_evaluation_read_the_target_of_the_list(
    spes: Path, tmp_path: Path, target: str, values: list[int], voxels: int
) -> None:
    path = tmp_path / "l.json"
    path.write_text(json.dumps(make_datalist(spes, folds=2, target=target)))
    content = read_datalist(path)
    assert (content["target"], content["label_values"], content["labels"]["1"]) == (target, values, target)
    assert content["name"] == f"isles2015_spes_{target}"
    for entry in load_entries(path, spes, keys=SPES, need_label=True):
        assert entry["label_values"] == values
        label = LoadVerifiedd(["label"])(entry)["label"]
        assert int(label.sum()) == voxels and set(np.unique(label)) == {0, 1}
    for case in find_references(spes, data_list=path):
        assert read_image(case.label, kind="label", label_values=case.label_values).data.sum() == voxels
    assert "label_values" not in load_entries(path, spes, section="test", keys=SPES, need_label=False)[0]
    assert check_list(path, spes)[0] == []


def test_without_a_choice_the_penumbra_is_lesion(spes: Path) -> None:
    assert make_datalist(spes, folds=2) == make_datalist(spes, folds=2, target="penumbra")
    assert {case.label_values for case in find_references(spes)} == {(1,)}
    assert check_folder(spes)[0] == []


def test_a_mask_of_two_labels_is_refused_where_the_list_is_silent(spes: Path) -> None:
    content = make_datalist(spes, folds=2)
    del content["label_values"]
    (first, *_) = load_entries(content, spes, keys=SPES, need_label=True)
    with pytest.raises(IslesError, match=r"E-LBL-01(?s:.*)2 \(1 voxels\)(?s:.*)label_values"):
        LoadVerifiedd(["label"])(first)


def test_an_entry_may_have_label_values_of_its_own(spes: Path, tmp_path: Path) -> None:
    content = make_datalist(spes, folds=2, target="penumbra")
    content["training"][0]["label_values"] = [1, 2]
    first, second, *_ = load_entries(content, spes, keys=SPES, need_label=True)
    assert (first["label_values"], second["label_values"]) == ([1, 2], [1])
    (tmp_path / "l.json").write_text(json.dumps(content))
    assert find_references(spes, data_list=tmp_path / "l.json")[0].label_values == (1, 2)
    assert check_list(tmp_path / "l.json", spes)[0] == []
    for wrong in (2, [0], ["2"], []):
        content["training"][0]["label_values"] = wrong
        with pytest.raises(IslesError, match=r"E-LIST-04(?s:.*)entry 1(?s:.*)label_values is "):
            load_entries(content, spes, keys=SPES, need_label=True)


def test_a_value_beyond_the_labels_is_refused(spes: Path, tools: dict) -> None:
    path = next((spes / "TRAINING" / "3").glob("*OT*/*.nii"))
    tools["save"](path, np.full((6, 5, 4), 3, np.uint8))
    with pytest.raises(IslesError, match=r"E-LBL-01: lesion mask holds other values than 0, 1 and 2"):
        make_datalist(spes, folds=2)
    assert [finding.code for finding in check_folder(spes)[0]] == ["E-LBL-01"]


def test_a_target_that_no_mask_holds_is_refused(spes: Path, tools: dict) -> None:
    for path in spes.rglob("*OT*.nii"):
        tools["save"](path, np.eye(6, 5, dtype=np.uint8)[..., None].repeat(4, axis=2))
    assert make_datalist(spes, folds=2)["label_values"] == [1]
    with pytest.raises(IslesError, match=r"E-LIST-34: no mask holds this target(?s:.*)4 masks without a voxel of val"):
        make_datalist(spes, folds=2, target="core")


def test_masks_of_two_kinds_have_their_values_by_case(spes: Path, tools: dict) -> None:
    case = spes / "TRAINING" / "3"
    next(case.glob("*OT*/*.nii")).unlink()
    for part in ("core", "penumbra"):
        tools["save"](case / f"{part}.nii", np.eye(6, 5, dtype=np.uint8)[..., None].repeat(4, axis=2))
    content = make_datalist(spes, folds=2, target="core")
    assert "label_values" not in content
    values = {entry["case"]: entry.get("label_values") for entry in content["training"]}
    assert values == {"case_1": [2], "case_2": [2], "case_3": None, "case_10": [2]}
    entries = load_entries(content, spes, keys=["tmax"], need_label=True)
    assert [entry.get("label_values") for entry in entries] == [[2], [2], None, [2]]
    content["training"][0]["label_values"] = [0]
    with pytest.raises(IslesError, match=r"E-LIST-04(?s:.*)entry 1(?s:.*)label_values is \[0\]"):
        load_entries(content, spes, keys=["tmax"], need_label=True)


def test_masks_without_a_choice_are_the_target(tmp_path: Path, tools: dict) -> None:
    for name in "abc":
        tools["save"](tmp_path / "own" / f"{name}_tmax.nii", np.ones((6, 5, 4), np.float32))
        tools["save"](tmp_path / "own" / f"{name}_mask.nii", np.eye(6, 5, dtype=np.uint8)[..., None].repeat(4, axis=2))
    made = find_data_list(tmp_path / "own", keep=tmp_path / "l.json", target="penumbra")
    assert "target" not in made and len(made["training"]) == 3
    assert find_data_list(tmp_path / "own", tmp_path / "l.json", target="penumbra") == made
    with pytest.raises(IslesError, match="E-LIST-33"):
        make_datalist(tmp_path / "own", target="penumbra")


def test_a_list_for_another_target_is_refused(spes: Path, tmp_path: Path) -> None:
    made = find_data_list(spes, keep=tmp_path / "core.json", folds=2, target="core")
    assert find_data_list(spes, tmp_path / "core.json", target="core") == made
    with pytest.raises(IslesError, match=r"E-LIST-36(?s:.*)target core, penumbra requested"):
        find_data_list(spes, tmp_path / "core.json", target="penumbra")


@pytest.mark.parametrize("values", [[], [0], "1", [True], [1.5], None])
def test_label_values_must_be_whole_numbers(spes: Path, values: object) -> None:
    content = make_datalist(spes, folds=2) | {"label_values": values}
    with pytest.raises(IslesError, match=r"E-LIST-04(?s:.*)label_values"):
        load_entries(content, spes, keys=SPES, need_label=True)
