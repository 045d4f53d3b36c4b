"""SISS and SPES folders are understood in every spelling seen, and the mask of SPES is the target that was chosen."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from monai_isles.data import find_cases, find_inputs
from monai_isles.data.releases import KEYS, word_of
from monai_isles.errors import IslesError
from monai_isles.io import read_image

SISS = ("t1", "t2", "flair", "dwi")
SPES = ("t1c", "t2", "dwi", "cbf", "cbv", "ttp", "tmax")


def test_siss_cases_come_in_numeric_order_with_their_masks(siss: Path, tools: dict) -> None:
    tools["make_mri"](siss / "TRAINING" / "12", SISS, label="_3more", seed=12)
    cases = find_cases(siss)
    assert [case.name for case in cases] == [f"case_{n}" for n in (1, 2, 3, 4, 5, 12, 1)]
    assert [case.label is None for case in cases] == [False] * 6 + [True]
    assert all(set(case.images) == set(SISS) and case.label_values is None for case in cases)
    assert [case.subject for case in cases][-2:] == ["case_12", "testing_case_1"]


@pytest.mark.parametrize("folder", ["training", "SISS2015_Training", "Train"])
def test_the_spelling_of_training_does_not_matter(siss: Path, folder: str) -> None:
    (siss / "TRAINING").rename(siss / folder)
    assert len(find_cases(siss, section="training")) == 5 and len(find_cases(siss, section="testing")) == 1


@pytest.mark.parametrize("spelling", ["case_1", "Nr1", "01", "1"])
def test_case_folders_may_be_spelled_in_several_ways_and_are_cases_alone(
    siss: Path, tmp_path: Path, spelling: str
) -> None:
    shutil.copytree(siss / "TRAINING" / "1", tmp_path / "one" / spelling)
    (case,) = find_inputs([tmp_path / "one"])
    (alone,) = find_inputs([tmp_path / "one" / spelling])
    assert case == alone and case.name == "case_1" and set(case.images) == set(SISS)


def test_a_folder_that_holds_the_cases_directly_is_a_section(siss: Path) -> None:
    (siss / "TESTING").rename(siss / "SISS2015_Testing")
    assert [c.name for c in find_cases(siss / "TRAINING", section="training")] == [f"case_{n}" for n in range(1, 6)]
    assert len(find_cases(siss / "SISS2015_Testing", section="testing")) == 1


def test_files_that_lie_flat_in_the_case_folder_are_found(siss: Path) -> None:
    for path in list((siss / "TRAINING").glob("*/*/*.nii")):
        path.rename(path.parent.parent / path.name)
        path.parent.rmdir()
    assert [set(case.images) for case in find_cases(siss, section="training")] == [set(SISS)] * 5
    assert len(find_inputs([siss / "TRAINING"])) == 5 and len(find_inputs([siss / "TRAINING" / "2"])) == 1


def test_all_missing_and_doubled_modalities_are_in_one_error(siss: Path) -> None:
    shutil.rmtree(next((siss / "TRAINING" / "2").glob("*Flair*")))
    shutil.rmtree(next((siss / "TESTING" / "1").glob("*MR_T1.*")))
    with pytest.raises(IslesError, match=r"E-LIST-02(?s:.*)training case_2: no flair; testing case_1: no t1"):
        find_cases(siss)
    with pytest.raises(IslesError, match=r"E-LIST-02(?s:.*)training case_2: no flair"):
        find_inputs([siss / "TRAINING" / "2"])
    shutil.copytree(next((siss / "TRAINING" / "3").glob("*DWI*")), siss / "TRAINING" / "3" / "copy")
    with pytest.raises(IslesError, match=r"E-LIST-13(?s:.*)training case_3: dwi"):
        find_cases(siss)


def test_two_folders_of_one_number_are_refused(siss: Path) -> None:
    shutil.copytree(siss / "TRAINING" / "2", siss / "TRAINING" / "case_2")
    with pytest.raises(IslesError, match=r"E-LIST-11: a case is listed twice(?s:.*)training case_2"):
        find_cases(siss)


@pytest.mark.parametrize(("target", "values", "voxels"), [
    (None, (1,), 3), ("penumbra", (1,), 3), ("core", (2,), 1), ("area", (1, 2), 4),
])  # fmt: skip
def test_the_target_of_spes_is_read_as_lesion(
    spes: Path, target: str | None, values: tuple[int, ...], voxels: int
) -> None:
    cases = find_cases(spes, target=target)
    assert [case.name for case in cases] == ["case_1", "case_2", "case_3", "case_10", "case_1"]
    first, last = cases[0], cases[-1]
    assert set(first.images) == set(SPES) and first.label_values == values and last.label_values is None
    mask = read_image(first.label, kind="label", label_values=first.label_values).data
    assert mask.sum() == voxels and set(np.unique(mask)) == {0, 1}


def test_masks_in_two_files_are_taken_by_their_names(spes: Path) -> None:
    for case in (spes / "TRAINING").iterdir():
        mask = next(case.glob("*OT*/*.nii"))
        shutil.copy(mask, case / "VSD.Brain.XX.O.OT_core.1.nii")
        mask.rename(case / "penumbra.nii")
    for target in ("penumbra", "core"):
        cases = find_cases(spes, section="training", target=target)
        assert all(target in case.label.name and case.label_values is None for case in cases)
    with pytest.raises(IslesError, match=r"E-LIST-31: this target is not in one file(?s:.*)case_1: area(?s:.*)core"):
        find_cases(spes, target="area")
    (spes / "TRAINING" / "2" / "penumbra.nii").unlink()
    assert [case.label is None for case in find_cases(spes, section="training")] == [False, True, False, False]


def test_masks_named_as_the_authors_code_reads_them_are_found(spes: Path) -> None:
    for case in (spes / "TRAINING").iterdir():
        mask = next(case.glob("*OT*/*.nii"))
        for n, part in enumerate(("penumbralabel", "corelabel", "mergedlabels")):
            name = f"VSD.Brain.XX.O.OT_{part}.{n}"
            (case / name).mkdir()
            shutil.copy(mask, case / name / f"{name}.nii")
        mask.unlink()
    for target, part, values in (("penumbra", "penumbral", None), ("core", "corel", None), ("area", "mergedl", (1, 2))):
        cases = find_cases(spes, section="training", target=target)
        assert all(part in str(case.label) and case.label_values == values for case in cases)


def test_one_mask_beside_masks_by_name_is_refused(spes: Path) -> None:
    case = spes / "TRAINING" / "2"
    shutil.copy(next(case.glob("*OT*/*.nii")), case / "core.nii")
    with pytest.raises(IslesError, match=r"E-LIST-13(?s:.*)training case_2: label"):
        find_cases(spes)


@pytest.mark.parametrize(("name", "key"), [
    ("VSD.Brain.XX.O.MR_T1.70615.nii", "t1"), ("VSD.Brain.XX.O.MR_T1c.70615.nii.gz", "t1c"),
    ("VSD.Brain.XX.O.MR_Tmax_reg.70615.nii", "tmax"), ("VSD.Brain.XX.O.MR_ADC.nii", "adc"),
    ("VSD.Brain_2more.XX.O.OT.7.nii", "label"), ("VSD.Brain_3more.XX.XX.OT.7.nii", "label"),
    ("VSD.Brain.01.O.MR_CBF_reg_T1c.nii", "cbf"), ("VSD.Brain.XX.O.MR_4DPWI.7.nii", None), ("t1.nii", None),
])  # fmt: skip
def test_the_key_is_the_modality_of_the_file_name(name: str, key: str | None) -> None:
    assert KEYS.get(word_of(name) or "") == key
