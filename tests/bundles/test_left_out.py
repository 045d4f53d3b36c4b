"""A training goes on without the cases that cannot be read or prepared, names them, and stops when none is left."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_isles.data import make_datalist
from monai_isles.io import publish_json
from tests.reliability.children import Forks, Shown

ROOT = Path(__file__).parents[2]
SETTINGS = {"clerigues": ["--patches_per_case", "8", "--validation_step", "[64,64]", "--network_def#base_channels", "2"], "unet": [], "threshold": []}


@pytest.fixture(scope="module")
def six_scans(phantom_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six scans in two folds, three of them the first three under other names; one image of each is gzip."""
    home = tmp_path_factory.mktemp("six")
    data = shutil.copytree(phantom_folder, home / "data")
    for number in (1, 2, 3):
        shutil.copytree(data / f"TRAINING/case_{number}", data / f"TRAINING/case_{number + 3}")
    rows = [f"case_{number},person_{number},TRAINING" for number in range(1, 7)]
    (data / "subjects.csv").write_text("\n".join(["case,subject,section", *rows, ""]), encoding="utf-8")
    for path in data.glob("TRAINING/*/*CT_CBF*/*.nii"):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), 1))
        path.unlink()
    publish_json(home / "list.json", make_datalist(data, folds=2))
    return home


@pytest.fixture
def folder(six_scans: Path, tmp_path: Path) -> Path:
    """The six scans, copied, to be damaged; their list lies beside them."""
    shutil.copytree(six_scans, tmp_path, dirs_exist_ok=True)
    return tmp_path / "data"


def cut(path: Path) -> None:
    """Keep half of a gzip file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def spoil(path: Path) -> None:
    """Put a value that is not a number into the middle of the tissue."""
    image = nibabel.load(path)
    voxels = np.array(image.get_fdata(dtype=np.float32))
    voxels[voxels.shape[0] // 2, voxels.shape[1] // 2, 0] = np.nan
    nibabel.save(nibabel.Nifti1Image(voxels, image.affine), path)


def trained(server: Forks, bundle: str, folder: Path, *more: str, listed: bool = True) -> Shown:
    home, out = f"bundles/{bundle}", folder.parent / "run"
    small = [f"{home}/small.json"] if bundle == "unet" else []
    files = "[" + ",".join(f"'{one}'" for one in [f"{home}/train.json", *small]) + "]"
    words = ["training", "--config_file", files]
    words += ["--dataset_dir", str(folder), "--output_dir", str(out), *more]
    words += ["--data_list", str(folder.parent / "list.json")] if listed else []
    words += ["--max_epochs", "1", "--logging_file", f"{home}/logging.conf"] if bundle != "threshold" else []
    return server.bundle_run(*words, *SETTINGS[bundle])


@pytest.mark.parametrize("bundle", ["clerigues", *(pytest.param(b, marks=pytest.mark.long) for b in ("unet", "threshold"))])
def test_training_goes_on_without_a_cut_file_and_one_with_nan_in_tissue(bundle: str, folder: Path, server: Forks) -> None:
    listed = json.loads((folder.parent / "list.json").read_text())["training"]
    sections = {fold: [one for one in listed if one["fold"] == fold] for fold in (0, 1)}
    bad = {sections[0][0]["case"]: "E-FILE-", sections[1][0]["case"]: "E-VAL-"}
    bad |= {sections[fold][1]["case"]: "E-LIST-02" for fold in (0, 1)}
    cut(folder / sections[0][0]["cbf"])
    spoil(folder / sections[1][0]["ct"])
    for fold, key in ((0, "tmax"), (1, "label")):
        (folder / sections[fold][1][key]).unlink()
    if bundle == "threshold":  # scores the fold alone
        bad = {case: code for case, code in bad.items() if case in {one["case"] for one in sections[0]}}
    shown = trained(server, bundle, folder)
    said = shown.text
    assert shown.code == 0, said
    left_out = json.loads((folder.parent / "run/run.json").read_text())["left_out"]
    assert set(left_out) == set(bad)
    for case, code in bad.items():
        assert left_out[case].startswith(code) and f"left out: {case}: {code}" in said


def test_training_stops_with_four_lines_when_no_case_is_left(folder: Path, server: Forks) -> None:
    for path in folder.glob("TRAINING/*/*CT_CBF*/*.nii.gz"):
        cut(path)
    shown = trained(server, "clerigues", folder)
    lines = shown.text.strip().splitlines()[-4:]
    assert shown.code == 4 and not (folder.parent / "run/run.json").exists()
    assert lines[0].startswith("E-FILE-") and "and 2 more" in lines[0]
    assert [line.split()[0] for line in lines[1:]] == ["where", "found", "fix"]


def test_strict_stops_a_training_at_a_file_that_is_absent_or_cannot_be_read(folder: Path, server: Forks) -> None:
    content = json.loads((folder.parent / "list.json").read_text())
    one, other = [entry for entry in content["training"] if entry["fold"] == 1][:2]
    listed = [one, other, next(entry for entry in content["training"] if entry["fold"] == 0)]
    publish_json(folder.parent / "list.json", content | {"training": listed, "numTraining": 3})
    cut(folder / one["cbf"])
    shown = trained(server, "clerigues", folder, "--strict", "true")
    assert shown.code == 4 and "E-FILE-" in shown.text.strip().splitlines()[-4]
    (folder / other["tmax"]).unlink()
    shown = trained(server, "clerigues", folder, "--strict", "true")
    lines = shown.text.strip().splitlines()[-4:]
    assert shown.code == 4 and lines[0].startswith("E-LIST-02") and f"{other['case']} (entry {listed.index(other) + 1}) tmax" in lines[2]
    assert not (folder.parent / "run/run.json").exists()


def test_a_training_that_makes_its_own_list_goes_on_without_a_case_that_lacks_a_file(folder: Path, server: Forks) -> None:
    for path in (folder / "TRAINING/case_2").glob("*CT_Tmax*/*.nii*"):
        path.unlink()
    shown = trained(server, "clerigues", folder, listed=False)
    assert shown.code == 0, shown.text
    left_out = json.loads((folder.parent / "run/run.json").read_text())["left_out"]
    assert list(left_out) == ["case_2"] and left_out["case_2"].startswith("E-LIST-02")
