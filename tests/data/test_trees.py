"""The file names of public data sets, links, and what other systems leave in folders."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_isles.data import find_cases
from monai_isles.data.layouts import find_layout, scan_layout, unused_images
from monai_isles.io.findings import collect_remarks


def put(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(np.ones((2, 2, 2), np.uint8), np.eye(4)), path)


def smir(case: str, keys: Sequence[str], *, brand: str = "VSD", label: str = "Brain") -> list[str]:
    names = [f"{brand}.Brain.XX.O.{key}.{n}" for n, key in enumerate(keys, start=1000)] + [
        f"{brand}.{label}.XX.O.OT.99"
    ]
    return [f"{case}/{name}/{name}.nii" for name in names]


S22, S24 = "sub-strokecase0001", "sub-stroke0001"
ATLAS, ATLAS3 = "sub-r001s001_ses-1_space-MNI152NLin2009aSym", "sub-r001s001_ses-1_space-orig"
PERFUSION = ["MR_ADC", "MR_MTT", "MR_rCBF", "MR_rCBV", "MR_Tmax", "MR_TTP", "MR_4DPWI"]
TREES: dict[str, tuple[list[str], str, str, set[str], str]] = {
    "siss": (smir("SISS2015_Training/1", ["MR_T1", "MR_T2", "MR_Flair", "MR_DWI"], label="Brain_3more"),
             "isles2015_siss", "case_1", {"t1", "t2", "flair", "dwi", "label"}, ""),
    "spes": (smir("SPES2015_Training/7", ["MR_T1c", "MR_T2", "MR_DWI", "MR_CBF", "MR_CBV", "MR_TTP", "MR_Tmax"]),
             "isles2015_spes", "case_7", {"t1c", "t2", "dwi", "cbf", "cbv", "ttp", "tmax", "label"}, ""),
    "isles2016": (smir("training_3", PERFUSION), "isles2017", "case_3",
                  {"adc", "mtt", "cbf", "cbv", "tmax", "ttp", "label"}, "MR_4DPWI"),
    "isles2017": (smir("ISLES2017_Training/training_12", PERFUSION, label="Brain_3more"), "isles2017", "case_12",
                  {"adc", "mtt", "cbf", "cbv", "tmax", "ttp", "label"}, "MR_4DPWI"),
    "isles2018": (smir("TRAINING/case_5", ["CT", "CT_CBF", "CT_CBV", "CT_MTT", "CT_Tmax", "CT_4DPWI"], brand="SMIR"),
                  "isles2018", "case_5", {"ct", "cbf", "cbv", "mtt", "tmax", "ctp", "label"}, ""),
    "isles22": ([f"rawdata/{S22}/ses-0001/anat/{S22}_ses-0001_FLAIR.nii.gz",
                 f"rawdata/{S22}/ses-0001/dwi/{S22}_ses-0001_dwi.nii.gz",
                 f"rawdata/{S22}/ses-0001/dwi/{S22}_ses-0001_adc.nii.gz",
                 f"derivatives/{S22}/ses-0001/{S22}_ses-0001_msk.nii.gz"],
                "bids", f"{S22}_ses-0001", {"flair", "dwi", "adc", "label"}, ""),
    "isles24": ([f"raw_data/{S24}/ses-01/{S24}_ses-01_{key}.nii.gz" for key in ("ncct", "cta", "ctp")]
                + [f"derivatives/{S24}/ses-01/{S24}_ses-01_space-ncct_{key}.nii.gz" for key in ("cta", "ctp")]
                + [f"derivatives/{S24}/ses-01/perfusion-maps/{S24}_ses-01_space-ncct_{key}.nii.gz"
                   for key in ("tmax", "cbf", "cbv", "mtt")]
                + [f"derivatives/{S24}/ses-02/{S24}_ses-02_space-ncct_{key}.nii.gz"
                   for key in ("dwi", "adc", "lesion-msk")],
                "bids", f"{S24}_ses-01", {"ct", "ctp", "tmax", "cbf", "cbv", "mtt", "dwi", "adc", "label"}, "cta"),
    "soop": (["sub-1/anat/sub-1_FLAIR.nii.gz", "sub-1/anat/sub-1_T1w.nii.gz", "sub-1/dwi/sub-1_rec-TRACE_dwi.nii.gz",
              "sub-1/dwi/sub-1_rec-ADC_dwi.nii.gz",
              "derivatives/lesion_masks/sub-1/dwi/sub-1_space-TRACE_desc-lesion_mask.nii.gz"],
             "bids", "sub-1", {"flair", "t1", "dwi", "adc", "label"}, ""),
    "soop with the parts of the lesion": (
        ["sub-1000/dwi/sub-1000_rec-TRACE_dwi.nii.gz", "sub-1000/dwi/sub-1000_rec-ADC_dwi.nii.gz"]
        + [f"derivatives/lesion_masks/sub-1000/dwi/sub-1000_space-TRACE_desc-{part}_mask.nii.gz"
           for part in ("lesionAcute", "lesionChronic", "lesion")],
        "bids", "sub-1000", {"dwi", "adc", "label"}, "mask: 2 files such as sub-1000_space-TRACE_desc-lesionAcute"),
    "soop unpacked, an image in a folder of its name": (
        ["sub-9/anat/sub-9_FLAIR.nii/sub-9_FLAIR.nii", "sub-9/dwi/sub-9_rec-TRACE_dwi.nii",
         "sub-9/dwi/sub-9_rec-ADC_dwi.nii"], "bids", "sub-9", {"flair", "dwi", "adc"}, ""),
    "atlas": ([f"Training/R001/sub-r001s001/ses-1/anat/{ATLAS}_{end}.nii.gz" for end in
               ("T1w", "label-L_desc-T1lesion_mask")], "bids", "sub-r001s001_ses-1", {"t1", "label"}, ""),
    "atlas r3": ([f"ATLAS3_Training_Raw/R001/sub-r001s001/ses-1/anat/{ATLAS3}_{end}.nii.gz" for end in
                  ("desc-brain_T1w", "label-lesion_desc-T1lesion_mask")],
                 "bids", "sub-r001s001_ses-1", {"t1", "label"}, ""),
    "atlas r3 in a common space": (
        [f"ATLAS3_Training_Preprocessed/SOOP/sub-soop7/ses-1/anat/sub-soop7_ses-1_space-MNI152NLin2009aSym_{end}.nii.gz"
         for end in ("desc-brainnorm_T1w", "label-lesion_desc-T1lesion_mask")],
        "bids", "sub-soop7_ses-1", {"t1", "label"}, ""),
}  # fmt: skip


@pytest.mark.parametrize("tree", TREES)
@pytest.mark.parametrize("above", ["", "disk", "disk/of/data"])
def test_a_public_data_set_is_recognised_and_nothing_is_dropped_without_a_word(
    tmp_path: Path, tree: str, above: str
) -> None:
    names, layout, case, keys, unused = TREES[tree]
    put(tmp_path / above, *names)
    found, scans = scan_layout(tmp_path)
    assert found.name == layout
    (scan,) = scans
    assert (scan.section, scan.name, set(scan.files)) == ("training", case, keys) and not scan.doubled
    told = [one.found for one in unused_images(tmp_path, scans)]
    assert (unused in told[0]) if unused else not told


def test_the_mask_of_the_whole_lesion_is_taken_before_its_parts(tmp_path: Path) -> None:
    put(tmp_path, *TREES["soop with the parts of the lesion"][0])
    (case,) = find_cases(tmp_path)
    assert case.label is not None and case.label.name.endswith("_desc-lesion_mask.nii.gz")


@pytest.mark.parametrize("name", ["ATLAS3_Testing_Raw", "Testing", "isles2016_test", "TEST data"])
def test_a_section_is_told_by_the_name_of_its_folder(tmp_path: Path, name: str) -> None:
    put(tmp_path, f"{name}/R001/sub-r001s001/ses-1/anat/{ATLAS3}_desc-brain_T1w.nii.gz")
    assert [scan.section for scan in scan_layout(tmp_path)[1]] == ["testing"]


def test_what_is_not_used_is_listed_by_its_last_word(tmp_path: Path) -> None:
    put(tmp_path, *TREES["isles24"][0])
    with collect_remarks() as remarks:
        find_cases(tmp_path)
    (told,) = (one for one in remarks if one.code == "E-LIST-15")
    assert (
        told.found.startswith(f"cta: 2 files such as {S24}") and f"ctp: 1 files such as {S24}_ses-01_ctp" in told.found
    )


def test_images_of_other_formats_are_listed(tmp_path: Path) -> None:
    put(tmp_path, "a/ct.nii.gz")
    for name in ("b_ct.nrrd", "CT.IMG", "CT.hdr", "d_ct.mha", "notes.txt"):
        (tmp_path / name).write_bytes(b"0")
    (told,) = unused_images(tmp_path, scan_layout(tmp_path)[1])
    assert (
        told.found == ".img: 1 files such as CT.IMG; .mha: 1 files such as d_ct.mha; .nrrd: 1 files such as b_ct.nrrd"
    )


def test_linked_folders_are_read_and_loops_end(tmp_path: Path) -> None:
    put(tmp_path / "data", "sub-01/sub-01_dwi.nii.gz", "sub-01/sub-01_mask.nii.gz")
    put(tmp_path / "archive", "sub-03/sub-03_dwi.nii.gz", "sub-03/sub-03_mask.nii.gz")
    (tmp_path / "data" / "sub-03").symlink_to(tmp_path / "archive" / "sub-03")
    (tmp_path / "data" / "sub-01" / "up").symlink_to(tmp_path / "data")
    assert [case.name for case in find_cases(tmp_path / "data")] == ["sub-01", "sub-03"]
    (tmp_path / "all").symlink_to(tmp_path / "data")
    assert [case.name for case in find_cases(tmp_path / "all")] == ["sub-01", "sub-03"]


def test_linked_cases_of_a_release_are_read(tmp_path: Path) -> None:
    put(tmp_path / "store", *TREES["isles2018"][0])
    (tmp_path / "part" / "TRAINING").mkdir(parents=True)
    (tmp_path / "part" / "TRAINING" / "case_5").symlink_to(tmp_path / "store" / "TRAINING" / "case_5")
    assert [case.name for case in find_cases(tmp_path / "part")] == ["case_5"]


@pytest.mark.parametrize("tree", ["isles2018", "siss", "isles22"])
def test_hidden_files_are_no_images(tmp_path: Path, tree: str) -> None:
    put(tmp_path, *TREES[tree][0])
    for path in list(tmp_path.rglob("*.nii*")):
        (path.parent / f"._{path.name}").write_bytes(b"\x00\x05\x16\x07Mac OS X")
        (path.parent / ".DS_Store").write_bytes(b"\x00")
    (case,) = find_cases(tmp_path)
    assert {"label", *case.images} - {"label"} == TREES[tree][3] - {"label"}


@pytest.mark.parametrize("ending", [".NII.GZ", ".Nii", ".nii.GZ"])
def test_suffixes_in_capitals_are_images(tmp_path: Path, ending: str) -> None:
    put(tmp_path, "p1_dwi.nii.gz" if ending.lower().endswith("gz") else "p1_dwi.nii")
    (path,) = tmp_path.iterdir()
    path.rename(tmp_path / f"P1_DWI{ending}")
    (case,) = find_cases(tmp_path)
    assert case.name == "P1" and case.images["dwi"].name == f"P1_DWI{ending}"


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_in_any_unicode_form_name_one_case(tmp_path: Path, form: str) -> None:
    name = unicodedata.normalize(form, "Müller é")
    put(tmp_path, f"{name}_dwi.nii.gz", f"{unicodedata.normalize('NFC', name)}_adc.nii.gz")
    (case,) = find_cases(tmp_path)
    assert case.name == "Müller é" and set(case.images) == {"dwi", "adc"}


@pytest.mark.parametrize(
    "name",
    ["ct", "NCCT", "a_ncct", "a_nect", "a_CT", "a_plain_ct", "a_non-contrast_CT", "a_noncontrastct", "a_ct_native"],
)
def test_a_plain_ct_goes_under_its_usual_names(tmp_path: Path, name: str) -> None:
    put(tmp_path, f"{name}.nii.gz")
    assert find_layout(tmp_path).name == "folder"
    (case,) = find_cases(tmp_path)
    assert set(case.images) == {"ct"} and case.name == ("a" if name.startswith("a") else tmp_path.name)
