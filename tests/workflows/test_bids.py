"""The BIDS App: chosen participants are predicted, one that cannot be is named, and the others are whole."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import monai_isles.workflows.bids as workflow
from monai_isles.bundle.bundle import Bundle
from monai_isles.cli.main import main
from monai_isles.io import read_image


@pytest.fixture
def raw(phantom_folder: Path, tmp_path: Path) -> Path:
    """Participants 01 and 02 with CT and maps, 03 with CT alone, as a BIDS data set."""
    keys = {"CT": "ct", "CT_CBF": "cbf", "CT_CBV": "cbv", "CT_MTT": "mtt", "CT_Tmax": "tmax"}
    for number in (1, 2, 3):
        for name, key in keys.items():
            (found,) = (phantom_folder / f"TRAINING/case_{number}").glob(f"*.{name}.*/*.nii")
            folder = tmp_path / f"raw/sub-0{number}/perf"
            folder.mkdir(parents=True, exist_ok=True)
            if number < 3 or key == "ct":
                shutil.copy(found, folder / f"sub-0{number}_{key}.nii")
    return tmp_path / "raw"


def test_participants_are_predicted_and_one_that_cannot_be_is_named(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bids", str(raw), str(tmp_path / "out"), "participant", "--bundle", "threshold", "--json"]
    assert main([*words, "--participant-label", "01", "sub-03"]) == 3
    record = json.loads(capsys.readouterr().out)["cases"]
    assert record["sub-01"]["outcome"] == "ok" and "E-LIST-02" in record["sub-03"]["error"] and len(record) == 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.name[0] != ".") == [
        "README.md", "dataset_description.json", "sub-01"]  # fmt: skip
    mask = read_image(tmp_path / "out/sub-01/anat/sub-01_label-lesion_desc-monaiisles_mask.nii.gz", kind="label")
    there = read_image(tmp_path / "out/.monai_isles/cases/sub-01/lesion.nii.gz", kind="label")
    assert np.array_equal(mask.data, there.data) and np.allclose(mask.affine, read_image(raw / _ct("01")).affine)
    assert main([*words, "--participant-label", "02"]) == 0
    assert {path.name for path in (tmp_path / "out").glob("sub-*")} == {"sub-01", "sub-02"}


def test_a_label_that_is_not_there_is_refused(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bids", str(raw), str(tmp_path / "out"), "participant", "--bundle", "threshold"]
    assert main([*words, "--participant-label", "07"]) == 4
    said = capsys.readouterr().err
    assert "E-LIST-67" in said and "sub-07; there are sub-01, sub-02, sub-03" in said
    assert not (tmp_path / "out").exists()
    assert main(["bids", str(raw), str(tmp_path / "out"), "group", "--bundle", "threshold"]) == 2


@pytest.mark.parametrize("place", ["raw", "other"])
def test_a_data_set_of_another_origin_is_no_output(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    description = tmp_path / place / "dataset_description.json"
    description.parent.mkdir(exist_ok=True)
    description.write_text('{"Name": "stroke", "BIDSVersion": "1.8.0"}')
    before = sorted(tmp_path.rglob("*"))
    assert main(["bids", str(raw), str(tmp_path / place), "participant", "--bundle", "threshold"]) == 2
    assert "E-USE-50" in capsys.readouterr().err
    assert "stroke" in description.read_text() and sorted(tmp_path.rglob("*")) == before


def test_a_participant_with_two_series_is_not_measured_by_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for run in (1, 2):
        path = tmp_path / f"raw/sub-01/perf/sub-01_run-{run}_ctp.nii"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d" % run)
    monkeypatch.setattr(workflow, "predict_series", lambda *_, **__: pytest.fail("one series was chosen"))
    records = workflow.predict_participants(tmp_path / "raw", tmp_path / "out", bundle=Bundle.open("wang"))["cases"]
    assert "E-LIST-13" in records["sub-01"]["error"] and "run-2_ctp.nii" in records["sub-01"]["error"]


def _ct(label: str) -> str:
    return f"sub-{label}/perf/sub-{label}_ct.nii"
