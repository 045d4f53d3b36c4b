"""The layout is told by marks in the file names; where they contradict each other nothing is guessed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from monai_isles.data import find_cases, find_inputs
from monai_isles.data.layouts import find_layout
from monai_isles.errors import IslesError


def test_each_layout_is_told(dataset: Path, siss: Path, spes: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "a_dwi.nii").write_bytes(b"0")
    names = [find_layout(folder).name for folder in (dataset, siss, spes, tmp_path / "plain")]
    assert names == ["isles2018", "isles2015_siss", "isles2015_spes", "folder"]
    assert [find_layout(f).folds for f in (dataset, siss, spes)] == [5, 4, 4]


def test_siss_and_spes_in_one_folder_are_refused(siss: Path, spes: Path) -> None:
    siss.rename(siss.parent / "SISS2015_Training")
    shutil.move(siss.parent / "SISS2015_Training", spes / "SISS2015_Training")
    with pytest.raises(IslesError, match=r"E-LIST-30: layout of the folder(?s:.*)isles2015_siss: 12 files such as VSD"):
        find_layout(spes)


def test_names_that_siss_and_spes_share_do_not_tell_the_layout(siss: Path) -> None:
    for path in [*siss.rglob("*MR_T1.*.nii"), *siss.rglob("*Flair*.nii")]:
        path.unlink()
    with pytest.raises(IslesError, match=r"E-LIST-30(?s:.*)isles2015: 17 files"):
        find_cases(siss)


def test_case_folders_of_the_ct_layout_without_images_name_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "Training" / "case_4").mkdir(parents=True)
    with pytest.raises(IslesError, match=r"E-LIST-02(?s:.*)training case_4: no ct, cbf, cbv, mtt, tmax"):
        find_cases(tmp_path)


@pytest.mark.parametrize("make", [None, "", "TRAINING/1", "1", "x"])
def test_a_folder_without_images_names_the_layouts(tmp_path: Path, make: str | None) -> None:
    if make is not None:
        (tmp_path / "d" / make).mkdir(parents=True)
    with pytest.raises(IslesError, match=r"E-LIST-01(?s:.*)ISLES 2018(?s:.*)p1_ct(?s:.*)case.yml"):
        find_cases(tmp_path / "d")


def test_a_layout_whose_files_make_no_case_is_refused(tmp_path: Path) -> None:
    (tmp_path / "VSD.Brain.XX.O.MR_4DPWI.1.nii").touch()
    assert find_layout(tmp_path).name == "isles2017"
    with pytest.raises(IslesError, match="E-LIST-01"):
        find_cases(tmp_path)


def test_a_target_that_the_layout_does_not_have_is_refused(siss: Path, spes: Path) -> None:
    with pytest.raises(IslesError, match=r"E-LIST-33: no such target(?s:.*)SPES\): penumbra, core, area"):
        find_cases(spes, target="lesion")
    with pytest.raises(IslesError, match=r"E-LIST-33(?s:.*)nothing to choose"):
        find_cases(siss, target="core")


def test_the_modalities_of_the_bundle_replace_those_of_the_layout(siss: Path, spes: Path) -> None:
    for path in siss.rglob("*MR_T2*"):
        shutil.rmtree(path, ignore_errors=True)
    assert len(find_inputs([siss / "TRAINING"], keys=("dwi", "flair"))) == 5
    with pytest.raises(IslesError, match=r"E-LIST-02(?s:.*)training case_1: no t2; training case_2: no t2"):
        find_inputs([siss])
    with pytest.raises(IslesError, match=r"E-LIST-02(?s:.*)training case_3: no ct, mtt"):
        find_inputs([spes / "TRAINING" / "3"], keys=("ct", "cbf", "cbv", "mtt", "tmax"))


def test_the_data_set_a_section_and_a_case_may_be_named(dataset: Path, spes: Path, tmp_path: Path) -> None:
    (case,) = find_cases(dataset / "TRAINING" / "case_2")
    assert case.name == "case_2" and case == find_cases(dataset)[1]
    (case,) = find_cases(spes / "TRAINING" / "10", target="core")
    assert case.label_values == (2,) and case.name == "case_10"
    shutil.copytree(dataset, tmp_path / "disk" / "isles")
    for folder in (dataset, tmp_path / "disk"):
        assert [one.name for one in find_cases(folder)] == [f"case_{n}" for n in (1, 2, 3, 4, 5, 6, 1)]
    assert [one.name for one in find_cases(dataset / "TRAINING")] == [f"case_{n}" for n in range(1, 7)]
    assert find_cases(dataset / "TESTING")[0].subject == "testing_case_1"


@pytest.mark.parametrize("name", ["p1_ct.nrrd", "p1_ct.mha", "p1_ct.img", "T1.mgz"])
def test_images_of_other_formats_are_to_be_converted(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(IslesError, match=r"E-LIST-01(?s:.*)convert the images to NIfTI"):
        find_cases(tmp_path)
