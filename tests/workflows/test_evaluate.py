"""Folders of predictions with every kind of fault."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_isles.errors import IslesError
from monai_isles.evaluation.score import COLUMNS
from monai_isles.workflows.evaluate import score_folder

FIRST = "case,subject,dsc,ppv,sensitivity,hd_mm,hd95_mm,assd_mm,hd_vox,avd_ml,rve,lesion_ml_ref,lesion_ml_pred"


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_case_table_has_the_promised_columns_and_one_row_a_case(mask_folders, tmp_path: Path) -> None:
    pred, ref, _ = mask_folders
    score_folder(pred, ref, tmp_path / "out")
    header = (tmp_path / "out" / "per_case.csv").read_text().splitlines()[0]
    assert header.startswith(FIRST + ",") and header.split(",") == list(COLUMNS)
    rows = _rows(tmp_path / "out" / "per_case.csv")
    assert [row["case"] for row in rows] == ["case_1", "case_2", "case_3", "case_4", "case_5"]
    assert [float(row["dsc"]) for row in rows] == pytest.approx([1, 2 / 3, 0, 0, 1], abs=1e-8)
    assert [row["empty"] for row in rows] == ["none", "none", "prediction", "reference", "both"]
    assert [row["hd_mm"] for row in rows] == ["0", "8", "nan", "nan", "0"]


def test_an_empty_case_is_scored_and_counted_never_dropped(mask_folders, tmp_path: Path) -> None:
    pred, ref, _ = mask_folders
    summary = score_folder(pred, ref, tmp_path / "out")
    network = summary["methods"]["network"]
    assert network["n"] == 5 and network["metrics"]["dsc"]["mean"] == pytest.approx((1 + 2 / 3 + 0 + 0 + 1) / 5)
    assert (network["empty_references"], network["empty_predictions"], network["undefined_distances"]) == (2, 2, 2)
    distance = network["metrics"]["hd_mm"]
    diagonal = math.sqrt(22**2 + 18**2 + 6**2)
    assert (distance["n"], distance["mean"]) == (3, pytest.approx(8 / 3))
    assert distance["imputed"]["mean"] == pytest.approx((8 + 2 * diagonal) / 5)


def test_summary_and_run_record_are_json_on_disk(mask_folders, tmp_path: Path) -> None:
    pred, ref, _ = mask_folders
    summary = score_folder(pred, ref, tmp_path / "out", seed=7)
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == json.loads(json.dumps(summary))
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["settings"]["bootstrap"]["seed"] == 7 and run["cases"]["case_3"] == "scored"
    assert len(run["inputs_sha256"]["case_1"]["prediction"]) == 64 and "versions" in run
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["per_case.csv", "run.json", "summary.json"]


def test_axis_order_on_disk_does_not_matter(mask_folders, save_volume, tmp_path: Path) -> None:
    pred, ref, masks = mask_folders
    save_volume(pred / "case_2" / "lesion.nii.gz", masks["case_2"], flip=True)
    score_folder(pred, ref, tmp_path / "out")
    assert float(_rows(tmp_path / "out" / "per_case.csv")[1]["dsc"]) == 1.0


def test_missing_predictions_are_refused_unless_allowed(mask_folders, tmp_path: Path) -> None:
    pred, ref, _ = mask_folders
    for name in ("case_1", "case_4"):
        (pred / name / "lesion.nii.gz").unlink()
    with pytest.raises(
        IslesError, match=r"(?s)E-EVAL-06: predictions are missing.*2 of 5.*case_1, case_4.*--allow-missing"
    ):
        score_folder(pred, ref, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    summary = score_folder(pred, ref, tmp_path / "out", allow_missing=True)
    assert summary["missing_predictions"] == ["case_1", "case_4"]
    assert summary["methods"]["network"]["missing_predictions"] == 2
    rows = _rows(tmp_path / "out" / "per_case.csv")
    assert [row["missing"] for row in rows] == ["1", "0", "0", "1", "0"]
    assert [float(rows[k]["dsc"]) for k in (0, 3)] == [0.0, 1.0]


def test_predictions_nobody_asked_for_are_named(mask_folders, save_volume, tmp_path: Path) -> None:
    pred, ref, masks = mask_folders
    save_volume(pred / "case_77" / "lesion.nii.gz", masks["case_1"])
    summary = score_folder(pred, ref, tmp_path / "out")
    assert summary["predictions_without_reference"] == ["case_77"] and summary["methods"]["network"]["n"] == 5


def test_a_prediction_on_another_grid_is_refused(mask_folders, save_volume, tmp_path: Path) -> None:
    pred, ref, masks = mask_folders
    save_volume(pred / "case_2" / "lesion.nii.gz", masks["case_2"], spacing=(2.0, 2.0, 9.0))
    with pytest.raises(IslesError, match=r"(?s)E-GEOM-03.*case_2"):
        score_folder(pred, ref, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.csv")) and not (tmp_path / "out" / "run.json").exists()


def test_the_record_names_the_cases_that_were_left_out(mask_folders, save_volume, tmp_path: Path) -> None:
    pred, ref, masks = mask_folders
    save_volume(pred / "case_2" / "lesion.nii.gz", masks["case_2"], spacing=(2.0, 2.0, 9.0))
    (pred / "case_3" / "lesion.nii.gz").unlink()
    score_folder(pred, ref, tmp_path / "out", strict=False)
    cases = json.loads((tmp_path / "out" / "run.json").read_text())["cases"]
    assert cases == dict.fromkeys(("case_1", "case_4", "case_5"), "scored") | dict.fromkeys(
        ("case_2", "case_3"), "left out"
    )


def test_several_bad_cases_are_listed_together(mask_folders, save_volume, tmp_path: Path) -> None:
    pred, ref, masks = mask_folders
    save_volume(pred / "case_2" / "lesion.nii.gz", masks["case_2"], spacing=(2.0, 2.0, 9.0))
    save_volume(pred / "case_3" / "lesion.nii.gz", np.full((12, 10, 2), 0.5))
    with pytest.raises(
        IslesError, match=r"(?s)E-EVAL-08: cases cannot be scored.*2 of 5.*case_2: E-GEOM-03.*case_3: E-LBL"
    ):
        score_folder(pred, ref, tmp_path / "out")


@pytest.mark.parametrize("side", ["pred", "ref"])
def test_an_input_folder_is_never_the_output(mask_folders, side: str) -> None:
    pred, ref, _ = mask_folders
    out = {"pred": pred, "ref": ref}[side]
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    with pytest.raises(IslesError, match=rf"(?s)E-EVAL-10: the output folder is an input folder.*--{side}"):
        score_folder(pred, ref, out / "." / "")
    assert before == {p: p.stat().st_mtime_ns for p in out.rglob("*")}


def test_a_folder_that_does_not_exist_is_named(mask_folders, tmp_path: Path) -> None:
    with pytest.raises(IslesError, match=r"(?s)E-EVAL-09: folder does not exist.*--pred.*nowhere"):
        score_folder(tmp_path / "nowhere", mask_folders[1], tmp_path / "out")


def test_folds_need_a_list(mask_folders, tmp_path: Path) -> None:
    pred, ref, _ = mask_folders
    with pytest.raises(IslesError, match=r"(?s)E-EVAL-11: folds need a data list.*folds 0, 1.*--data-list"):
        score_folder(pred, ref, tmp_path / "out", folds=[0, 1])


def test_a_baseline_without_maps_is_refused(mask_folders, tmp_path: Path) -> None:
    pred, ref, _ = mask_folders
    with pytest.raises(IslesError, match=r"(?s)E-EVAL-08.*case_1: E-EVAL-04 a map that the threshold rule needs"):
        score_folder(pred, ref, tmp_path / "out", baseline=True)


def test_an_older_baseline_table_does_not_outlive_a_new_run(mask_folders, tmp_path: Path) -> None:
    pred, ref, _ = mask_folders
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "baseline_per_case.csv").write_text("old")
    score_folder(pred, ref, tmp_path / "out")
    assert not (tmp_path / "out" / "baseline_per_case.csv").exists()


def test_a_case_name_with_a_comma_stays_one_cell(save_volume, tmp_path: Path) -> None:
    for side in ("pred", "ref"):
        save_volume(tmp_path / side / 'a, "b".nii.gz', np.ones((4, 4, 2), bool))
    score_folder(tmp_path / "pred", tmp_path / "ref", tmp_path / "out")
    assert _rows(tmp_path / "out" / "per_case.csv")[0]["case"] == 'a, "b"'


def test_a_second_run_writes_the_same_bytes(mask_folders, tmp_path: Path) -> None:
    pred, ref, _ = mask_folders
    for out in ("one", "two"):
        score_folder(pred, ref, tmp_path / out)
    for name in ("per_case.csv", "summary.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_the_label_that_the_data_list_chose_is_the_reference(tmp_path: Path, save_volume) -> None:
    both, one = np.zeros((12, 10, 2), np.float32), np.zeros((12, 10, 2), bool)
    both[2:6, 2:6, 0], both[2:4, 2:6, 0], one[2:4, 2:6, 0] = 1, 2, True
    save_volume(tmp_path / "data" / "mask.nii.gz", both)
    save_volume(tmp_path / "pred" / "case_1.nii.gz", one)
    entry = {"case": "case_1", "subject": "case_1", "fold": 0, "label": "mask.nii.gz"}
    for values, dice in (([2], 1.0), ([1], 0.0), ([1, 2], 16 / 24)):
        (tmp_path / "l.json").write_text(json.dumps({"training": [entry], "label_values": values}))
        score_folder(tmp_path / "pred", tmp_path / "data", tmp_path / "out", data_list=tmp_path / "l.json")
        assert float(_rows(tmp_path / "out" / "per_case.csv")[0]["dsc"]) == pytest.approx(dice)
    (tmp_path / "l.json").write_text(json.dumps({"training": [entry]}))
    with pytest.raises(IslesError, match="E-LBL-01"):
        score_folder(tmp_path / "pred", tmp_path / "data", tmp_path / "out", data_list=tmp_path / "l.json")


def test_a_registered_case_is_scored_on_the_grid_of_its_mask(tmp_path: Path, save_volume) -> None:
    """The mask was drawn on coarse maps, the prediction lies on the CT, whose voxels halve them in the plane."""
    coarse = np.zeros((12, 10, 2), np.float32)
    coarse[2:6, 2:6, 0] = 1
    fine = coarse.repeat(2, axis=0).repeat(2, axis=1)
    nibabel.save(nibabel.Nifti1Image(coarse, np.diag([4.0, 4.0, 6.0, 1.0])), tmp_path / "mask.nii.gz")
    affine = np.diag([2.0, 2.0, 6.0, 1.0])
    affine[:2, 3] = -1  # the corners of both fields of view agree
    for name in ("lesion", "probability"):
        (tmp_path / "pred/case_1").mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(fine, affine), tmp_path / f"pred/case_1/{name}.nii.gz")
    entry = {"case": "case_1", "subject": "case_1", "label": "mask.nii.gz"}
    (tmp_path / "l.json").write_text(json.dumps({"training": [entry]}))
    with pytest.raises(IslesError, match=r"E-GEOM-04(?s:.*)resample: true of the case"):
        score_folder(tmp_path / "pred", tmp_path, tmp_path / "out", data_list=tmp_path / "l.json")
    (tmp_path / "l.json").write_text(json.dumps({"training": [entry | {"resample": True}]}))
    score_folder(tmp_path / "pred", tmp_path, tmp_path / "out", data_list=tmp_path / "l.json")
    (row,) = _rows(tmp_path / "out" / "per_case.csv")
    assert float(row["dsc"]) == 1 and float(row["lesion_ml_ref"]) == pytest.approx(16 * 0.096)
    assert float(row["brier"]) == 0  # each centre of the mask lies amid equal probabilities


def test_a_prediction_of_other_values_is_told_what_to_save(tmp_path: Path, save_volume) -> None:
    save_volume(tmp_path / "pred" / "case_1.nii.gz", np.arange(16, dtype=np.float32).reshape(4, 2, 2))
    save_volume(tmp_path / "ref" / "case_1.nii.gz", np.ones((4, 2, 2), bool))
    with pytest.raises(IslesError, match=r"E-LBL-01(?s:.*)fix   save the prediction with 1 where it is lesion"):
        score_folder(tmp_path / "pred", tmp_path / "ref", tmp_path / "out")


@pytest.mark.long
def test_two_workers_write_the_same_bytes(mask_folders, tmp_path: Path) -> None:
    pred, ref, _ = mask_folders
    for name, place in (("one", {}), ("two", {"workers": 2})):
        score_folder(pred, ref, tmp_path / name, place=place)
    for file in ("per_case.csv", "summary.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_a_case_whose_fault_has_no_code_is_named(mask_folders, tmp_path: Path, monkeypatch) -> None:
    pred, ref, _ = mask_folders

    def fail(*_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr("monai_isles.evaluation.score.hd_vox", fail)
    with pytest.raises(IslesError, match=r"E-EVAL-08(?s:.*)case_1: E-EVAL-50 a case cannot be scored(?s:.*)of memory"):
        score_folder(pred, ref, tmp_path / "out")
