"""The nnU-Net data set: names, values, geometry and splits; what nnU-Net would write back is scored unchanged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK

from monai_isles.cli.main import main
from monai_isles.data import make_datalist
from monai_isles.errors import IslesError
from monai_isles.export.nnunet import export_nnunet
from monai_isles.io import publish_json

SUBJECTS = {"case_1": ("a", 0), "case_2": ("b", 1), "case_3": ("a", 0)}


@pytest.fixture
def data_list(phantom_folder: Path, tmp_path: Path) -> Path:
    """Three scans, two of one subject; the test section holds one of them under its own name and subject."""
    content = make_datalist(phantom_folder, folds=2)
    for entry in content["training"]:
        entry["subject"], entry["fold"] = SUBJECTS[entry["case"]]
    third = content["training"].pop()
    content["test"] = [{key: value for key, value in third.items() if key != "fold"} | {"subject": "c"}]
    content["training"].append({**content["training"][0], "case": "case_1_again"})
    publish_json(tmp_path / "list.json", content)
    return tmp_path / "list.json"


def test_names_and_description_are_what_nnunet_reads(data_list: Path, phantom_folder: Path, tmp_path: Path) -> None:
    made = export_nnunet(data_list, phantom_folder, tmp_path / "raw", name="PHANTOM")
    assert made.folder == tmp_path / "raw/Dataset501_PHANTOM" and (made.training, made.test, made.folds) == (3, 1, 2)
    names = {folder: sorted(p.name for p in (made.folder / folder).iterdir()) for folder in ("imagesTr", "labelsTr")}
    cases = ("case_1", "case_1_again", "case_2")
    assert names["labelsTr"] == [f"{case}.nii.gz" for case in cases]
    assert names["imagesTr"] == [f"{case}_000{channel}.nii.gz" for case in cases for channel in range(5)]
    assert len(list((made.folder / "imagesTs").iterdir())) == 5
    described = json.loads((made.folder / "dataset.json").read_text())
    assert described["channel_names"] == {"0": "CT", "1": "CBF", "2": "CBV", "3": "MTT", "4": "Tmax"}
    assert described["labels"] == {"background": 0, "lesion": 1} and described["simulated"] is True
    assert (described["numTraining"], described["file_ending"]) == (3, ".nii.gz")


def test_splits_are_the_lists_folds_and_split_no_subject(data_list: Path, phantom_folder: Path, tmp_path: Path) -> None:
    made = export_nnunet(data_list, phantom_folder, tmp_path)
    splits = json.loads((made.folder / "splits_final.json").read_text())
    assert splits == [
        {"train": ["case_2"], "val": ["case_1", "case_1_again"]},
        {"train": ["case_1", "case_1_again"], "val": ["case_2"]},
    ]


def test_values_and_geometry_are_kept(data_list: Path, phantom_folder: Path, tmp_path: Path) -> None:
    made = export_nnunet(data_list, phantom_folder, tmp_path)
    entry = json.loads(data_list.read_text())["training"][0]
    for name, key in (("imagesTr/case_1_0000", "ct"), ("imagesTr/case_1_0004", "tmax"), ("labelsTr/case_1", "label")):
        ours, source = nibabel.load(made.folder / f"{name}.nii.gz"), nibabel.load(phantom_folder / entry[key])
        np.testing.assert_allclose(ours.affine, source.affine, atol=1e-5)
        np.testing.assert_allclose(ours.get_fdata(), source.get_fdata(), rtol=1e-6, atol=1e-6)


def test_nnunets_output_folder_is_scored_unchanged(
    data_list: Path, phantom_folder: Path, tmp_path: Path, capsys
) -> None:
    made = export_nnunet(data_list, phantom_folder, tmp_path / "raw")
    pred = tmp_path / "predicted"
    pred.mkdir()
    for path in (made.folder / "labelsTr").iterdir():
        SimpleITK.WriteImage(SimpleITK.ReadImage(str(path)), str(pred / path.name))
    for name in ("dataset.json", "plans.json", "predict_from_raw_data_args.json", "summary.json"):
        (pred / name).write_text("{}")
    (pred / "case_1.npz").write_bytes(b"probabilities")
    words = ["evaluate", "--pred", str(pred), "--ref", str(phantom_folder), "--data-list", str(data_list)]
    assert main([*words, "--out", str(tmp_path / "scores"), "--json"]) == 0
    network = json.loads(capsys.readouterr().out)["methods"]["network"]
    assert network["n"] == 3 and network["metrics"]["dsc"]["mean"] == 1.0


def test_the_verb_writes_it_and_says_where_the_splits_go(
    data_list: Path, phantom_folder: Path, tmp_path: Path, capsys
) -> None:
    words = ["export", "--nnunet", "--data-list", str(data_list), "--dataset-dir", str(phantom_folder)]
    words += ["--out", str(tmp_path / "raw"), "--number", "77"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "Dataset077_phantom_ct: 3 training and 1 test cases, 2 folds" in said and "nnUNet_preprocessed" in said
    assert main(words) == 4
    assert "E-NNU-01: the nnU-Net data set exists already" in capsys.readouterr().err


def test_an_mri_list_gives_the_images_that_most_cases_have(
    data_list: Path, phantom_folder: Path, tmp_path: Path
) -> None:
    """Three cases, the images of the phantom in their place: the last has no FLAIR, only the first has ADC."""
    entries = json.loads(data_list.read_text())["training"]
    about = ("case", "subject", "label", "fold")
    made = [{**{key: e[key] for key in about}, "flair": e["cbf"], "dwi": e["mtt"]} for e in entries]
    made[0]["adc"] = entries[0]["cbv"]
    del made[2]["flair"]
    publish_json(tmp_path / "mri.json", {"name": "mri", "training": made})
    done = export_nnunet(tmp_path / "mri.json", phantom_folder, tmp_path / "raw")
    described = json.loads((done.folder / "dataset.json").read_text())
    assert described["channel_names"] == {"0": "DWI", "1": "FLAIR"} and done.training == 2
    assert "flair" in done.left_out["case_1_again"].lower()
    source = nibabel.load(phantom_folder / entries[0]["mtt"]).get_fdata()
    written = nibabel.load(done.folder / f"imagesTr/{made[0]['case']}_0000.nii.gz").get_fdata()
    np.testing.assert_allclose(written, source, rtol=1e-6, atol=1e-6)
    chosen = export_nnunet(tmp_path / "mri.json", phantom_folder, tmp_path / "dwi", modalities=["dwi"])
    assert chosen.training == 3 and not chosen.left_out
    with pytest.raises(IslesError, match="E-NNU-04: no such image(?s:.*)requested t2; in most cases dwi, flair"):
        export_nnunet(tmp_path / "mri.json", phantom_folder, tmp_path, modalities=["t2"])


def test_a_ct_list_may_name_its_channels(data_list: Path, phantom_folder: Path, tmp_path: Path) -> None:
    words = ["export", "--nnunet", "--data-list", str(data_list), "--dataset-dir", str(phantom_folder)]
    assert main([*words, "--out", str(tmp_path / "raw"), "--modalities", "tmax", "cbf"]) == 0
    described = json.loads((tmp_path / "raw/Dataset501_phantom_ct/dataset.json").read_text())
    assert described["channel_names"] == {"0": "Tmax", "1": "CBF"}


def test_a_case_that_cannot_be_read_is_left_out(
    data_list: Path, phantom_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    content = json.loads(data_list.read_text())
    first = {**content["training"][0], "subject": "d"}
    shutil.copytree(phantom_folder, tmp_path / "copy")
    (tmp_path / "copy" / "cut.nii").write_bytes(b"")
    content["training"] += [{**first, "case": "cut", "cbf": "cut.nii"}, {**first, "case": "bare", "label": "no.nii"}]
    publish_json(tmp_path / "more.json", content)
    words = ["export", "--nnunet", "--data-list", str(tmp_path / "more.json"), "--dataset-dir", str(tmp_path / "copy")]
    assert main([*words, "--out", str(tmp_path / "n"), "--name", "x"]) == 3
    text = capsys.readouterr().out
    assert "bare: left out\n  E-LIST-02" in text and "cut: left out\n  E-FILE-02" in text
    splits = json.loads((tmp_path / "n/Dataset501_x/splits_final.json").read_text())
    assert {name for split in splits for name in split["train"] + split["val"]} == {"case_1", "case_2", "case_1_again"}
    assert len(list((tmp_path / "n/Dataset501_x/imagesTr").iterdir())) == 15


def test_registered_images_are_written_on_the_grid_of_the_first(
    data_list: Path, phantom_folder: Path, tmp_path: Path
) -> None:
    content = json.loads(data_list.read_text())
    shutil.copytree(phantom_folder, tmp_path / "copy")
    first = content["training"][0]
    image = nibabel.load(tmp_path / "copy" / first["cbf"])
    nibabel.save(image.slicer[2:, 2:], tmp_path / "copy/other.nii")
    first |= {"cbf": "other.nii", "resample": True}
    publish_json(tmp_path / "moved.json", content)
    made = export_nnunet(tmp_path / "moved.json", tmp_path / "copy", tmp_path / "raw")
    assert made.training == 3
    moved = nibabel.load(made.folder / f"imagesTr/{first['case']}_0001.nii.gz")
    assert moved.shape == image.shape and np.allclose(moved.affine, image.affine)


def test_a_folder_that_cannot_be_written_is_refused_first(
    data_list: Path, phantom_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(IslesError, match=r"E-RUN-02(?s:.*)not a folder"):
        export_nnunet(data_list, phantom_folder, tmp_path / "file")


def test_a_list_without_folds_and_a_name_nnunet_cannot_use_are_refused(
    data_list: Path, phantom_folder: Path, tmp_path: Path
) -> None:
    content = json.loads(data_list.read_text())
    with pytest.raises(IslesError, match="E-NNU-03: nnU-Net cannot use this number or name(?s:.*)number 0"):
        export_nnunet(data_list, phantom_folder, tmp_path, number=0)
    with pytest.raises(IslesError, match=r"E-NNU-03(?s:.*)'a/b'"):
        export_nnunet(data_list, phantom_folder, tmp_path, name="a/b")
    for entry in content["training"]:
        del entry["fold"]
    publish_json(data_list, content)
    with pytest.raises(IslesError, match="E-NNU-02: the data list has no folds to split by(?s:.*)case_1"):
        export_nnunet(data_list, phantom_folder, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["list.json"]
