from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_isles.cli.main import main
from monai_isles.errors import IslesError
from monai_isles.phantom import dataset_or_phantom, make_dataset
from tests.fixtures.shared import make_mri_case

SEED = 7


@pytest.fixture(scope="module", params=["siss", "spes"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("mri") / kind
    return make_dataset(out, cases=2, seed=SEED, test_cases=1, kind=kind, spacing_mm=4.0)


def digests(folder: Path) -> dict[str, str]:
    files = [p for p in folder.rglob("*.nii")] + list(folder.glob("truth/*"))
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_layout_is_that_of_the_release(kind: str, folder: Path) -> None:
    assert sorted(p.name for p in (folder / "TRAINING").iterdir()) == ["1", "2"]
    keys = {
        "siss": {"T1", "T2", "Flair", "DWI"},
        "spes": {"T1c", "T2", "DWI", "CBF", "CBV", "TTP", "Tmax"},
    }[kind]
    label = {"siss": "VSD.Brain_3more.XX.O.OT", "spes": "VSD.Brain_2more.XX.O.OT"}[kind]
    images = {f"VSD.Brain.XX.O.MR_{key}" for key in keys}
    assert {p.stem.rpartition(".")[0] for p in folder.glob("TRAINING/1/*/*.nii")} == images | {label}
    assert {p.stem.rpartition(".")[0] for p in folder.glob("TESTING/1/*/*.nii")} == images
    files = list(folder.glob("T*/*/*/*.nii"))
    assert all(p.stem == p.parent.name for p in files) and len({p.stem.split(".")[-1] for p in files}) == len(files)


def test_files_hold_the_arrays_of_the_case_on_one_grid(kind: str, folder: Path) -> None:
    case = make_mri_case(2, kind=kind, seed=SEED, spacing_mm=4.0)
    paths = {p.stem.split(".")[-2]: p for p in folder.glob("TRAINING/2/*/*.nii")}
    for name, image in {"MR_T2": case.images["t2"], "MR_DWI": case.images["dwi"], "OT": case.label}.items():
        nifti = nibabel.load(paths[name])
        assert nibabel.aff2axcodes(nifti.affine) == ("L", "P", "S") and nifti.header.get_zooms() == (4.0, 4.0, 4.0)
        ras = nibabel.as_closest_canonical(nifti)
        assert np.array_equal(np.asanyarray(ras.dataobj), image) and ras.get_data_dtype() == image.dtype
    affines = [nibabel.load(p).affine for p in paths.values()]
    assert all(np.array_equal(affines[0], a) for a in affines)


def test_truth_subjects_and_record_say_what_was_made(kind: str, folder: Path) -> None:
    truth = json.loads((folder / "truth/case_1.json").read_text())
    assert {"core_ml", "penumbra_ml", "lesion_ml", "side", "tilt_deg", "roll_deg", "shift_px", "distractors"} <= set(
        truth
    )
    assert np.array(truth["landmarks_vox"]).shape[1:] == (2, 3) and truth["kind"] == kind
    with (folder / "subjects.csv").open() as file:
        rows = [(r["case"], r["subject"], r["section"]) for r in csv.DictReader(file)]
    assert rows[0] == ("case_1", "subject_001", "TRAINING") and rows[2] == ("case_1", "test_001", "TESTING")
    text = (folder / "SIMULATED.txt").read_text()
    grid = {"siss": "grid 58x58x39, coarser than the release's 1 mm", "spes": "grid 48x55x36, coarser than"}[kind]
    assert text.startswith("SIMULATED") and f"kind {kind}" in text and "spacing_mm 4" in text and grid in text


def test_fewer_cases_are_the_same_bits(kind: str, folder: Path, tmp_path: Path) -> None:
    again = make_dataset(tmp_path / "again", cases=1, seed=SEED, kind=kind, spacing_mm=4.0)
    whole = digests(folder)
    assert all(whole[name] == digest for name, digest in digests(again).items())


def test_other_seeds_cases_and_sections_are_other_heads(kind: str) -> None:
    makes = [
        make_mri_case(1, kind=kind, seed=SEED, spacing_mm=8.0),
        make_mri_case(2, kind=kind, seed=SEED, spacing_mm=8.0),
        make_mri_case(1, kind=kind, seed=8, spacing_mm=8.0),
        make_mri_case(1, kind=kind, seed=SEED, section="TESTING", spacing_mm=8.0),
    ]
    assert len({case.images["t2"].tobytes() for case in makes}) == 4


def test_a_subject_is_the_same_at_every_spacing(kind: str) -> None:
    fine, coarse = (make_mri_case(3, kind=kind, seed=SEED, spacing_mm=mm).truth for mm in (4.0, 6.0))
    assert all(fine[k] == coarse[k] for k in ("side", "occlusion", "tilt_deg", "distractors"))
    assert fine["lesion_ml"] == pytest.approx(coarse["lesion_ml"], rel=0.2)


def test_the_folder_is_used_again_and_never_overwritten(kind: str, folder: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    assert make_dataset(folder, cases=2, seed=SEED, test_cases=1, kind=kind, spacing_mm=4.0) == folder
    assert before == {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    with pytest.raises(IslesError, match=rf"E-PHAN-03(?s:.*)other settings: .*kind {kind}, spacing_mm 4"):
        make_dataset(folder, cases=2, seed=SEED, test_cases=1, kind=kind, spacing_mm=5.0)


def test_configs_find_the_named_folder_then_the_environments_then_the_phantom(
    kind: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(f"ISLES2015_{kind.upper()}_DIR", raising=False)
    monkeypatch.setenv("ISLES2018_DIR", "/not/for/mri")
    ask = {"folder": str(folder), "cases": 2, "seed": SEED, "kind": kind, "spacing_mm": 4.0}
    assert dataset_or_phantom(str(tmp_path), **ask) == tmp_path
    made = tmp_path / "made"
    assert dataset_or_phantom("", **ask | {"folder": str(made), "cases": 1, "max_slices": 2}) == made
    monkeypatch.setenv(f"ISLES2015_{kind.upper()}_DIR", str(folder))
    assert dataset_or_phantom(None, **ask) == folder
    monkeypatch.setenv(f"ISLES2015_{kind.upper()}_DIR", "/no/such")
    with pytest.raises(IslesError, match=r"E-PHAN-04(?s:.*)environment variable ISLES2015_"):
        dataset_or_phantom(None, **ask)


def test_kinds_and_spacings_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        IslesError, match=r"E-PHAN-06: the kind of phantom is not known(?s:.*)found pet(?s:.*)ct, siss, spes"
    ):
        make_dataset(tmp_path / "a", cases=1, seed=0, kind="pet")
    with pytest.raises(IslesError, match=r"E-PHAN-08: the CT phantom has no free spacing(?s:.*)leave the spacing out"):
        make_dataset(tmp_path / "b", cases=1, seed=0, spacing_mm=2.0)
    with pytest.raises(IslesError, match=r"E-PHAN-07"):
        dataset_or_phantom(None, folder=str(tmp_path / "c"), cases=1, seed=0, kind="spes", spacing_mm=1.0)
    assert not list(tmp_path.iterdir())


def test_the_command_makes_either_kind(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["phantom", "--kind", kind, "--out", str(tmp_path / "p"), "--cases", "1", "--spacing", "8", "--json"]
    assert main(words) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["kind"] == kind and said["simulated"] is True and (tmp_path / "p/TRAINING/1").is_dir()
    assert main(["phantom", "--out", str(tmp_path / "q"), "--cases", "1", "--spacing", "2"]) == 4
    assert "E-PHAN-08" in capsys.readouterr().err
