"""``monai-isles datalist`` writes a list, counts, and never replaces one unasked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_isles.cli.main import main
from monai_isles.data.datalist import read_datalist

KEYS = ("CT", "CT_CBF", "CT_CBV", "CT_MTT", "CT_Tmax", "OT")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    affine = np.diag([1.0, 1.0, 5.0, 1.0])
    for case in range(1, 5):
        for key in KEYS[: 5 if case == 4 else 6]:
            name = f"SMIR.Brain.XX.O.{key}.{case}{KEYS.index(key)}"
            folder = tmp_path / "data" / "TRAINING" / f"case_{case}" / name
            folder.mkdir(parents=True)
            data = np.arange(128).reshape(8, 8, 2) % 2 * (30 if key == "CT" else 1)
            image = nibabel.Nifti1Image(data.astype(np.uint8), affine)
            image.set_sform(affine, 1)
            image.to_filename(folder / f"{name}.nii")
    (tmp_path / "data" / "SIMULATED.txt").write_text("x")
    (tmp_path / "who.csv").write_text("case,subject\ncase_1,a\ncase_2,a\ncase_3,b\ncase_4,c\n")
    return tmp_path / "data"


def test_the_list_is_written_and_counted(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    words = [
        "datalist",
        str(dataset),
        "--out",
        str(tmp_path / "l.json"),
        "--folds",
        "2",
        "--subjects",
        str(tmp_path / "who.csv"),
    ]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert (
        "4 training cases of 3 subjects, 0 test cases" in out
        and "cases per fold 2 2" in out
        and "1 training cases have no lesion mask" in out
    )
    content = read_datalist(tmp_path / "l.json")
    assert content["simulated"] is True and content["training"][0]["fold"] == content["training"][1]["fold"]


def test_an_existing_list_is_replaced_only_by_force(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "l.json"
    out.write_text("mine")
    words = ["datalist", str(dataset), "--out", str(out), "--folds", "2", "--subjects", str(tmp_path / "who.csv")]
    assert main(words) == 4 and out.read_text() == "mine"
    assert "E-LIST-10: data list exists" in capsys.readouterr().err
    assert main(["datalist", str(dataset), "--out", str(tmp_path), "--force"]) == 4
    assert "E-FILE-10" in capsys.readouterr().err
    assert main([*words, "--force", "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)
    assert counts["cases_per_fold"] == [2, 2] and counts["provisional"] is False and counts["file"] == str(out)


def test_an_unknown_case_in_the_table_is_refused_and_named(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "who.csv").write_text("case,subject\ncase_9,a\n")
    assert (
        main(["datalist", str(dataset), "--out", str(tmp_path / "l.json"), "--subjects", str(tmp_path / "who.csv")])
        == 4
    )
    assert "E-LIST-09" in (err := capsys.readouterr().err) and "case_9" in err and not (tmp_path / "l.json").exists()


def test_a_provisional_grouping_is_said(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["datalist", str(dataset), "--out", str(tmp_path / "l.json"), "--folds", "2"]) == 0
    assert "subjects from evidence (provisional" in capsys.readouterr().out


@pytest.fixture
def spes(tmp_path: Path) -> Path:
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    data = np.random.default_rng(0).random((6, 5, 4), dtype=np.float32) + 1
    for case in range(1, 5):
        mask = np.zeros((6, 5, 4), np.uint8)
        mask[:case, 1, 1], mask[0, 0, 0] = 1, 2
        images = {f"MR_{key}": data * case for key in ("T1c", "T2", "DWI", "CBF", "CBV", "TTP", "Tmax")} | {"OT": mask}
        for number, (key, image) in enumerate(images.items()):
            name = f"VSD.Brain.XX.O.{key}.{case}{number}"
            folder = tmp_path / "spes" / "Training" / f"{case}" / name
            folder.mkdir(parents=True)
            nibabel.Nifti1Image(image, affine).to_filename(folder / f"{name}.nii")
    return tmp_path / "spes"


def test_the_target_of_spes_is_chosen_and_said(spes: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "core.json"
    assert main(["datalist", str(spes), "--out", str(out), "--target", "core"]) == 0
    said = capsys.readouterr().out
    assert "cases per fold 1 1 1 1" in said and "lesion is the core" in said and "subjects from case names" in said
    assert read_datalist(out)["label_values"] == [2]
    assert main(["check", str(out), "--data", str(spes)]) == main(["check", str(spes)]) == 0
    assert main(["datalist", str(spes), "--out", str(tmp_path / "p.json"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["target"] == "penumbra"


def test_a_target_that_is_not_there_is_refused(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["datalist", str(dataset), "--out", str(tmp_path / "l.json"), "--target", "core"]) == 4
    assert "E-LIST-33: no such target" in capsys.readouterr().err and not (tmp_path / "l.json").exists()


def test_a_bad_case_is_left_out_and_listed_and_the_others_go_on(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    next((dataset / "TRAINING/case_2").glob("*.OT.*/*.nii")).write_bytes(b"no image")
    next((dataset / "TRAINING/case_3").glob("*.CT_CBV.*/*.nii")).unlink()
    words = ["datalist", str(dataset), "--out", str(tmp_path / "l.json"), "--folds", "2"]
    words += ["--subjects", str(tmp_path / "who.csv")]
    assert main([*words, "--strict"]) == 4 and "E-LIST-02" in capsys.readouterr().err
    assert main(words) == 3
    text, content = capsys.readouterr().out, read_datalist(tmp_path / "l.json")
    assert [one["case"] for one in content["training"]] == ["case_1", "case_4"]
    assert sorted(one["code"] for one in content["left_out"]) == ["E-FILE-03", "E-LIST-02"]
    assert "left out: E-LIST-02 files are missing: training case_3: no cbv" in text and "left out: E-FILE-03" in text


def test_when_no_case_is_left_the_reasons_are_told(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for path in dataset.glob("TRAINING/*/*.CT.*/*.nii"):
        path.write_bytes(b"no image")
    assert main(["datalist", str(dataset), "--out", str(tmp_path / "l.json"), "--folds", "2"]) == 4
    assert "E-FILE-03" in capsys.readouterr().err and not (tmp_path / "l.json").exists()


def test_one_case_without_a_mask_is_refused_for_the_mask(dataset: Path, capsys: pytest.CaptureFixture) -> None:
    for case in (1, 2, 3):
        shutil.rmtree(dataset / f"TRAINING/case_{case}")
    assert main(["datalist", str(dataset), "--out", str(dataset.parent / "l.json")]) == 4  # case_4 has no mask
    text = capsys.readouterr().err
    assert "E-LBL-03: no case has a lesion mask\n" in text and "found no mask file of case_4\n" in text


@pytest.mark.parametrize(("empty", "told"), [((1, 2, 3), True), ((1, 2), False)])
def test_training_masks_without_a_lesion_are_told(
    dataset: Path, tmp_path: Path, empty: tuple[int, ...], told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    for case in empty:
        (path,) = (dataset / f"TRAINING/case_{case}").glob("*.OT.*/*.nii")
        image = nibabel.load(path)
        nibabel.save(nibabel.Nifti1Image(np.zeros(image.shape, np.uint8), image.affine), path)
    words = ["datalist", str(dataset), "--out", str(tmp_path / "l.json"), "--folds", "2"]
    assert main([*words, "--subjects", str(tmp_path / "who.csv")]) == 0
    assert ("E-LBL-11" in caplog.text and "0 of 3 training masks hold a lesion" in caplog.text) is told
