"""BIDS trees: the names of ISLES'24 and ISLES'22, spaces, sessions, and names for results."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from monai_isles.case import Case
from monai_isles.data import find_cases
from monai_isles.data.bids import BIDS_DESCRIPTION, derivative_name, parse_name, sidecar
from monai_isles.data.layouts import find_layout
from monai_isles.errors import IslesError


def make(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"0")
    return folder


def isles24(folder: Path, number: int, *, follow_up: bool = True) -> None:
    """One subject as the release lays it out."""
    sub = f"sub-stroke{number:04d}"
    raw, derived = f"raw_data/{sub}/ses-01", f"derivatives/{sub}/ses-01"
    make(folder, *(f"{raw}/{sub}_ses-01_{key}.nii.gz" for key in ("ncct", "cta", "ctp")))
    make(folder, *(f"{raw}/perfusion-maps/{sub}_ses-01_{key}.nii.gz" for key in ("cbf", "cbv", "mtt", "tmax")))
    make(folder, *(f"{derived}/perfusion-maps/{sub}_ses-01_space-ncct_{key}.nii.gz"
                   for key in ("cbf", "cbv", "mtt", "tmax")))  # fmt: skip
    make(folder, *(f"{derived}/{sub}_ses-01_space-ncct_{key}.nii.gz" for key in ("cta", "ctp", "lvo-msk", "cow-msk")))
    if follow_up:
        make(folder, *(f"raw_data/{sub}/ses-02/{sub}_ses-02_{key}.nii.gz" for key in ("dwi", "adc")))
        make(folder, *(f"derivatives/{sub}/ses-02/{sub}_ses-02_space-ncct_{key}.nii.gz"
                       for key in ("dwi", "adc", "lesion-msk")))  # fmt: skip
    make(folder, f"phenotype/{sub}/ses-01/{sub}_ses-01_demographic_baseline.csv")


def test_an_isles24_tree_is_one_case_a_subject_in_one_space(tmp_path: Path) -> None:
    isles24(tmp_path, 1)
    isles24(tmp_path, 12, follow_up=False)
    assert find_layout(tmp_path).name == "bids"
    first, second = find_cases(tmp_path)
    assert (first.name, first.subject, second.name) == (
        "sub-stroke0001_ses-01",
        "sub-stroke0001",
        "sub-stroke0012_ses-01",
    )
    assert set(first.images) == {"ct", "ctp", "cbf", "cbv", "mtt", "tmax", "dwi", "adc"}
    assert first.images["ct"].name == "sub-stroke0001_ses-01_ncct.nii.gz"
    assert all("space-ncct" in path.name for key, path in first.images.items() if key != "ct")
    assert first.label.name == "sub-stroke0001_ses-02_space-ncct_lesion-msk.nii.gz" and second.label is None


def test_an_older_release_has_its_lesion_without_a_space(tmp_path: Path) -> None:
    sub = "sub-stroke0003"
    make(tmp_path, f"raw_data/{sub}/ses-01/{sub}_ses-01_ncct.nii.gz",
         f"derivatives/{sub}/ses-02/{sub}_ses-02_lesion-msk.nii.gz")  # fmt: skip
    (case,) = find_cases(tmp_path)
    assert set(case.images) == {"ct"} and case.label.name == f"{sub}_ses-02_lesion-msk.nii.gz"


def test_sessions_with_the_same_images_are_cases_of_one_subject(tmp_path: Path) -> None:
    for session in (1, 2):
        name = f"sub-a_ses-{session}"
        make(tmp_path, f"rawdata/sub-a/ses-{session}/{name}_dwi.nii.gz", f"derivatives/sub-a/{name}_msk.nii.gz")
    cases = find_cases(tmp_path)
    assert [(case.name, case.subject) for case in cases] == [("sub-a_ses-1", "sub-a"), ("sub-a_ses-2", "sub-a")]
    assert all(case.label is not None for case in cases)


def test_sections_of_a_tree_are_kept_apart(tmp_path: Path) -> None:
    isles24(tmp_path / "train", 1)
    isles24(tmp_path / "test", 2, follow_up=False)
    assert [case.name for case in find_cases(tmp_path, section="testing")] == ["sub-stroke0002_ses-01"]


def test_two_spaces_in_a_subject_are_refused(tmp_path: Path) -> None:
    isles24(tmp_path, 1)
    make(tmp_path, "derivatives/sub-stroke0001/ses-01/sub-stroke0001_ses-01_space-MNI152_cbf.nii.gz")
    with pytest.raises(IslesError, match=r"E-LIST-60(?s:.*)sub-stroke0001_ses-01(?s:.*)space-MNI152, space-ncct"):
        find_cases(tmp_path)


def test_a_lesion_without_images_is_refused(tmp_path: Path) -> None:
    isles24(tmp_path, 1)
    make(tmp_path, "derivatives/sub-stroke0002/ses-02/sub-stroke0002_ses-02_space-ncct_lesion-msk.nii.gz")
    with pytest.raises(IslesError, match=r"E-LIST-61: a lesion mask has no images(?s:.*)sub-stroke0002_ses-02"):
        find_cases(tmp_path)


def test_two_files_of_one_modality_are_refused(tmp_path: Path) -> None:
    isles24(tmp_path, 1)
    make(tmp_path, "derivatives/sub-stroke0001/ses-01/sub-stroke0001_ses-01_space-ncct_run-2_cbf.nii.gz")
    with pytest.raises(IslesError, match=r"E-LIST-13(?s:.*)sub-stroke0001_ses-01: cbf"):
        find_cases(tmp_path)


@pytest.mark.parametrize(
    ("name", "found"), [(".keep", ""), ("TRAINING/p1_ct.nii.gz", "found TRAINING"), ("p1.nii", "")]
)
def test_a_folder_that_is_not_bids_is_refused_with_the_verb_that_reads_it(
    tmp_path: Path, name: str, found: str
) -> None:
    from monai_isles.data.bids import scan_bids

    make(tmp_path, name)
    with pytest.raises(
        IslesError, match=rf"E-LIST-01(?s:.*){found}(?s:.*)give a BIDS data set(?s:.*)monai-isles predict"
    ):
        scan_bids(tmp_path)


@pytest.mark.parametrize(("name", "key"), [
    ("sub-1_ses-2_space-ncct_tmax.nii.gz", "tmax"), ("sub-1_T1w.nii", "t1"), ("sub-1_desc-brain_mask.nii.gz", None),
    ("sub-1_label-lesion_mask.nii.gz", "label"), ("sub-1_mask.nii.gz", "label"), ("sub-1_lvo-msk.nii.gz", None),
    ("sub-1_label-lesion_desc-monaiisles_mask.nii.gz", None), ("1_dwi.nii.gz", None), ("sub-1_x_dwi.nii.gz", None),
    ("sub-1_dwi.json", None), ("sub-1_ce-iodine_ct.nii", None), ("sub-1_ct.nii", "ct"), ("sub-1_ce-Gd_T1w.nii", "t1c"),
])  # fmt: skip
def test_names_say_what_they_are(name: str, key: str | None) -> None:
    found = parse_name(Path(name))
    assert (found and found.key) == key


@pytest.mark.parametrize(("kind", "end"), [
    ("lesion", "anat:label-lesion_desc-monaiisles_mask.nii.gz"), ("cbf", "perf:desc-monaiisles_cbf.nii.gz"),
    ("probability", "anat:label-lesion_desc-monaiisles_probseg.nii.gz"),
    ("report", "perf:desc-monaiisles_report.html"), ("uncertainty", "perf:desc-monaiisles_uncertainty.nii.gz"),
    ("result", "perf:desc-monaiisles_result.json"),
])  # fmt: skip
def test_results_have_names_of_derivatives_and_are_not_read_as_data(tmp_path: Path, kind: str, end: str) -> None:
    isles24(tmp_path, 1)
    (case,) = find_cases(tmp_path)
    name = derivative_name(case, kind)
    folder, end = end.split(":")
    assert str(name) == f"sub-stroke0001/ses-01/{folder}/sub-stroke0001_ses-01_space-ncct_{end}"
    beside = sidecar(case, kind)
    reference = "sub-stroke0001_ses-01_space-ncct_cbf.nii.gz"
    assert (beside and beside["SpatialReference"]) == (reference if folder == "anat" else None)
    make(tmp_path, f"derivatives/monai_isles/{name}")
    assert find_cases(tmp_path) == [case]


def test_a_case_of_another_layout_gets_a_subject_of_its_name() -> None:
    case = Case("case_14", "case_14", {"ct": Path("/d/x.nii")})
    assert str(derivative_name(case, "lesion")) == "sub-case14/anat/sub-case14_label-lesion_desc-monaiisles_mask.nii.gz"
    names = {str(derivative_name(Case(name, name), "lesion")) for name in ("Müller", "Möller", "患者", "患儿", "Mller")}
    assert len(names) == 5 and all(re.fullmatch(r"sub-[A-Za-z0-9]+/anat/[A-Za-z0-9_.-]+", name) for name in names)
    with pytest.raises(IslesError, match=r"E-LIST-62: no such result(?s:.*)'movie'(?s:.*)lesion, probability"):
        derivative_name(case, "movie")
    assert BIDS_DESCRIPTION["DatasetType"] == "derivative"


@pytest.mark.parametrize(("names", "found"), [
    (("anat/sub-{}_acq-tse_T2w", "anat/sub-{}_FLAIR", "dwi/sub-{}_run-1_dwi"), {"t2", "flair", "dwi"}),
    (("anat/sub-{}_FLAIR", "anat/sub-{}_label-lesion_mask", "anat/sub-{}_label-brain_mask"), {"flair", "label"}),
    (("anat/sub-{}_T1w", "anat/sub-{}_ce-gd_T1w"), {"t1", "t1c"}),
], ids=["acquisitions", "masks", "contrast"])  # fmt: skip
def test_entities_do_not_split_a_scan(tmp_path: Path, names: tuple[str, ...], found: set[str]) -> None:
    make(tmp_path, *(f"sub-{n}/{name.format(n)}.nii.gz" for n in (1, 2) for name in names))
    cases = find_cases(tmp_path)
    assert [case.name for case in cases] == ["sub-1", "sub-2"]
    assert all({*case.images, *(["label"] if case.label else [])} == found for case in cases)


def test_runs_that_are_scans_of_their_own_stay_apart(tmp_path: Path) -> None:
    make(tmp_path, *(f"sub-1/sub-1_run-{run}_{key}.nii.gz" for run in (1, 2) for key in ("dwi", "adc")))
    assert [(case.name, case.subject) for case in find_cases(tmp_path)] == [(f"sub-1_run-{n}", "sub-1") for n in (1, 2)]


@pytest.mark.parametrize("entity", ["rec-ADC", "desc-adc", "acq-ADC"])
def test_an_adc_map_under_the_suffix_of_diffusion_is_no_dwi(entity: str) -> None:
    result = parse_name(Path(f"sub-01_{entity}_dwi.nii.gz"))
    assert result is not None and result.key == "adc"


def test_an_image_of_b_zero_is_no_dwi(tmp_path: Path) -> None:
    make(tmp_path, *(f"rawdata/sub-1/dwi/sub-1_acq-{b}_dwi.nii.gz" for b in ("b0", "b1000", "ADC")))
    (case,) = find_cases(tmp_path)
    assert {key: path.name for key, path in case.images.items()} == {
        "dwi": "sub-1_acq-b1000_dwi.nii.gz", "adc": "sub-1_acq-ADC_dwi.nii.gz",
    }  # fmt: skip


def test_a_lesion_at_follow_up_belongs_to_the_scan_on_admission(tmp_path: Path) -> None:
    """As in a tree with raw data and derivatives, so in one of plain subjects."""
    for n in (1, 2):
        make(tmp_path, *(f"sub-{n}/ses-01/sub-{n}_ses-01_{key}.nii.gz" for key in ("ncct", "cbf", "tmax")),
             *(f"sub-{n}/ses-02/sub-{n}_ses-02_{key}.nii.gz" for key in ("dwi", "lesion-msk")))  # fmt: skip
    cases = find_cases(tmp_path)
    assert [case.name for case in cases] == ["sub-1_ses-01", "sub-2_ses-01"]
    assert all({*case.images} == {"ct", "cbf", "tmax", "dwi"} and case.label is not None for case in cases)


@pytest.mark.parametrize(
    ("name", "key"),
    [("label-lesion_roi", "label"), ("label-lesion_dseg", "label"), ("dseg", None), ("label-brain_mask", None)],
)
def test_a_segmentation_that_is_named_lesion_is_the_mask(name: str, key: str | None) -> None:
    result = parse_name(Path(f"sub-01_{name}.nii.gz"))
    assert (result and result.key) == key
