"""Plain folders: names end in the modality, and what stands before it is the case."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from monai_isles.data import find_cases, find_inputs
from monai_isles.data.folder import key_of, scan_folder
from monai_isles.errors import IslesError
from monai_isles.io.findings import Finding


def make(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"0")
    return folder


def keys(folder: Path) -> dict[str, set[str]]:
    return {case.name: {*case.images, *(["label"] if case.label else [])} for case in find_cases(folder)}


@pytest.mark.parametrize(("name", "found"), [
    ("P1_T1_native.nii", ("P1", "t1")), ("DWI_native.nii.gz", ("", "dwi")), ("p_CBF_non-contrast.nii", ("p", "cbf")),
    ("P1_CT_native.nii", ("P1", "ct")), ("P1_native.nii", ("P1", "ct")),
    ("flair.nii", ("", "flair")), ("FLAIR.NII.GZ", ("", "flair")), ("sub-1_ses-2_dwi.nii.gz", ("sub-1_ses-2", "dwi")),
    ("anna-T1w.nii", ("anna", "t1")), ("x_t1ce.nii", ("x", "t1c")), ("x.adc.nii", ("x", "adc")),
    ("x_msk.nii.gz", ("x", "label")), ("x_lesion-msk.nii.gz", ("x", "label")), ("lesion.nii", ("", "label")),
    ("x_brain_mask.nii", None), ("Brain Mask.nii", None), ("x_lesionmask.nii", ("x", "label")),
    ("OT.nii", ("", "label")), ("unmask.nii", None), ("x_probability.nii.gz", None),
    ("x-T2FLAIR.nii", ("x", "flair")), ("x_MPRAGE.nii", ("x", "t1")), ("x_DWI_TRACEW.nii", ("x_DWI", "dwi")),
    ("x_DWI_b1000.nii", ("x_DWI", "dwi")), ("x_DWI_b0.nii", None), ("x_trace.nii", None), ("x_eADC.nii", None),
    ("x_T2_TSE.nii", ("x", "t2")), ("T1w-post.nii", ("", "t1c")), ("x_T1_pre.nii", ("x", "t1")), ("x_TSE.nii", None),
    ("x_b0_dwi.nii", None), ("x_acq-b0_dwi.nii", None), ("x_acq-b1000_dwi.nii", ("x_acq-b1000", "dwi")),
    ("x_seg.nii", ("x", "label")), ("x_lesion_seg.nii", ("x", "label")), ("x_brain_seg.nii", None), ("aseg.nii", None),
    ("x_lesion_dwi.nii", ("x", "label")), ("lesion-mask_flair.nii", ("", "label")), ("x_mask_dwi.nii", None),
    ("x_DWI_trace.nii", ("x", "dwi")), ("x_b900.nii", ("x", "dwi")), ("x_b50.nii", None),
    ("3D_FLAIR_sag.nii", ("", "flair")),
    ("AX_T2_FLAIR.nii", ("T2", "flair")), ("x_T1_MPRAGE_COR.nii", ("x_T1", "t1")), ("cor_1_dwi.nii", ("cor_1", "dwi")),
    ("x_lesion_ax.nii", None), ("xdwi.nii", None), ("dwi.txt", None), (".part-1-x_dwi.nii", None),
])  # fmt: skip
def test_the_last_part_of_a_name_is_the_modality(name: str, found: tuple[str, str] | None) -> None:
    assert key_of(name) == found


def test_a_flat_folder_holds_as_many_cases_as_there_are_names(tmp_path: Path) -> None:
    make(tmp_path, "p2_dwi.nii", "p2_ADC.nii.gz", "p10_dwi.nii", "p10_mask.nii", "notes.txt", "p2_seg_probability.nii")
    assert keys(tmp_path) == {"p2": {"dwi", "adc"}, "p10": {"dwi", "label"}}
    assert [case.name for case in find_cases(tmp_path)] == ["p2", "p10"]


def test_two_files_with_bids_names_are_one_case(tmp_path: Path) -> None:
    make(tmp_path, *(f"sub-strokecase0001_ses-0001_{key}.nii.gz" for key in ("adc", "dwi")), "SOURCE.txt")
    (case,) = find_inputs([tmp_path], keys=("dwi", "adc"))
    assert (case.name, case.subject) == ("sub-strokecase0001_ses-0001", "sub-strokecase0001")
    assert list(case.images) == ["dwi", "adc"] and case.label is None


def test_a_folder_names_the_case_where_the_files_do_not(tmp_path: Path) -> None:
    for name in ("anna", "bert"):
        make(tmp_path / "d" / name, "flair.nii", "dwi.nii", "lesion.nii")
    assert keys(tmp_path / "d") == {name: {"flair", "dwi", "label"} for name in ("anna", "bert")}
    assert [case.name for case in find_inputs([tmp_path / "d" / "anna"])] == ["anna"]


@pytest.mark.parametrize("before", ["", "p1_", "Pat A ", "sub-01_"])
def test_a_weighting_before_its_sequence_belongs_to_the_image(tmp_path: Path, before: str) -> None:
    names = ("T2_FLAIR", "T1-MPRAGE", "T2", "DWI_b1000", "DWI_b0", "DWI_ADC", "lesion")
    make(tmp_path / "p1", *(f"{before}{name}.nii" for name in names))
    (images,) = keys(tmp_path / "p1").values()
    assert images == {"flair", "t1", "t2", "dwi", "adc", "label"}


@pytest.mark.parametrize("mask", ["p1_dwi_lesion", "p1_FLAIR-lesion_mask", "p1_T2_lesion", "p1_lesion_dwi"])
def test_a_lesion_mask_may_be_named_after_its_image(tmp_path: Path, mask: str) -> None:
    make(tmp_path, *(f"{name}.nii" for name in ("p1_dwi", "p1_T2", "p1_FLAIR", mask)))
    (case,) = find_cases(tmp_path)
    assert case.label == tmp_path / f"{mask}.nii" and set(case.images) == {"dwi", "t2", "flair"}


def test_a_mask_named_after_its_image_may_be_one_of_the_brain(tmp_path: Path) -> None:
    make(tmp_path, "p1_dwi.nii", "p1_dwi_mask.nii", "p1_flair.nii", "p2_dwi.nii", "p2_lesion.nii", "p2_dwi_lesion.nii")
    left_out: list[Finding] = []
    cases = {case.name: case.label and case.label.name for case in find_cases(tmp_path, left_out=left_out)}
    assert cases == {"p1": None, "p2": "p2_lesion.nii"}
    assert [item.code for item in left_out] == ["E-LIST-32"] * 2


def test_masks_may_lie_in_a_folder_of_their_own(tmp_path: Path) -> None:
    make(tmp_path, *(f"images/p{n}_dwi.nii" for n in range(1, 5)), "masks/p1.nii", "masks/p2_mask.nii", "masks/p9.nii",
         "images/p3_mask.nii", "masks/p3.nii", "masks/p4_brain_mask.nii", "other/p4.nii")  # fmt: skip
    found = {case.name: case.label and case.label.relative_to(tmp_path).as_posix() for case in find_cases(tmp_path)}
    assert found == {"p1": "masks/p1.nii", "p2": "masks/p2_mask.nii", "p3": "images/p3_mask.nii", "p4": None}
    make(tmp_path, "more/p1_dwi.nii")  # of two cases of one name none is chosen
    assert [scan.files.keys() for scan in scan_folder(tmp_path) if scan.name == "p1"] == [{"dwi"}, {"dwi"}]


def test_images_and_mask_of_a_case_may_lie_in_folders_of_their_kind(tmp_path: Path) -> None:
    for name in ("p1", "p2"):
        make(tmp_path / "d" / name, "images/dwi.nii", "images/adc.nii", "labels/lesion.nii")
    assert keys(tmp_path / "d") == {name: {"dwi", "adc", "label"} for name in ("p1", "p2")}
    assert keys(tmp_path / "d" / "p1") == {"p1": {"dwi", "adc", "label"}}


def test_maps_named_by_a_program_belong_to_the_case_of_their_folder(tmp_path: Path) -> None:
    for name in ("p1", "p2"):
        make(tmp_path / "d" / name, "ncct.nii", "lesion.nii", *(f"rapid_{key}.nii" for key in ("cbf", "cbv", "tmax")))
    assert keys(tmp_path / "d") == {name: {"ct", "label", "cbf", "cbv", "tmax"} for name in ("p1", "p2")}
    make(tmp_path / "d" / "p2", "olea_tmax.nii")  # of two programs none is chosen
    assert keys(tmp_path / "d" / "p2") == {"p2": {"ct", "label"}, "rapid": {"cbf", "cbv", "tmax"}, "olea": {"tmax"}}
    make(tmp_path / "e", "dwi.nii", "p2_adc.nii")
    assert keys(tmp_path / "e") == {"e": {"dwi"}, "p2": {"adc"}}


@pytest.mark.parametrize("names", [
    ("P1/DWI/dwi.nii", "P1/FLAIR/flair.nii", "P1/MASK/mask.nii"),
    ("P1/DWI/P1_dwi.nii", "P1/FLAIR/P1_flair.nii", "P1/masks/P1.nii"),
    ("DWI/P1_dwi.nii", "FLAIR/P1_flair.nii", "mask/P1_mask.nii"),
    ("P1_DWI_b1000.nii", "P1_T2_FLAIR.nii", "P1_DWI_lesion.nii"),
    ("P1/AX_DWI.nii", "P1/3D_FLAIR_sag.nii", "P1/lesion.nii"),
])  # fmt: skip
def test_folders_of_modalities_views_and_weightings_do_not_split_a_case(tmp_path: Path, names: tuple[str, ...]) -> None:
    make(tmp_path, *names, *(name.replace("P1", "P2") for name in names))
    assert keys(tmp_path) == {"P1": {"dwi", "flair", "label"}, "P2": {"dwi", "flair", "label"}}


def test_a_folder_named_by_a_modality_may_be_a_case_or_a_time(tmp_path: Path) -> None:
    make(tmp_path, "P1/CT/ct.nii", "P1/CT/cbf.nii", "P1/T2/t1.nii", "P1/T2/t2.nii", "T2_FLAIR/P3_flair.nii")
    assert keys(tmp_path) == {"CT": {"ct", "cbf"}, "T2": {"t1", "t2"}, "P3": {"flair"}}


def test_another_view_is_read_where_there_is_no_image_without(tmp_path: Path, caplog) -> None:
    make(tmp_path, "P1/FLAIR.nii", "P1/FLAIR_sag.nii", "P2/SAG_FLAIR.nii", "P2/dwi.nii")
    found = {case.name: case.images["flair"].name for case in find_cases(tmp_path)}
    assert found == {"P1": "FLAIR.nii", "P2": "SAG_FLAIR.nii"} and "sag: 1 files such as FLAIR_sag.nii" in caplog.text


@pytest.mark.parametrize(("names", "people"), [
    (("P1/baseline/dwi.nii", "P1/follow-up/dwi.nii", "P2/baseline/dwi.nii"), ["P1", "P1", "P2"]),
    (("sub-1/ses-01/dwi.nii", "sub-1/ses-02/dwi.nii", "sub-2/ses-01/dwi.nii"), ["sub-1", "sub-1", "sub-2"]),
    (("P1/20210304/dwi.nii", "P1/2021-06-11/dwi.nii", "P2/20210402/dwi.nii"), ["P1", "P1", "P2"]),
    (("P1_pre_dwi.nii", "P1_post_dwi.nii", "P2_20210304_dwi.nii"), ["P1", "P1", "P2"]),
    # a centre or a year is no person, nor is what is in the data folder itself
    (("A/001/dwi.nii", "A/002/dwi.nii", "B/001/dwi.nii"), ["A_001", "002", "B_001"]),
    (("images/20210304/dwi.nii", "2021/20210305/dwi.nii", "acute/dwi.nii"), ["20210304", "20210305", "acute"]),
    (("training/acute/dwi.nii", "training/chronic/dwi.nii"), ["acute", "chronic"]),
])  # fmt: skip
def test_scans_of_several_days_are_of_one_subject(tmp_path: Path, names: tuple[str, ...], people: list[str]) -> None:
    assert sorted(case.subject for case in find_cases(make(tmp_path, *names))) == sorted(people)


def test_a_folder_of_one_day_is_named_by_its_person(tmp_path: Path) -> None:
    make(tmp_path, "P1/baseline/dwi.nii", "P1/followup/dwi.nii", "P2/baseline/dwi.nii", "testing/P3/pre/dwi.nii")
    assert [*keys(tmp_path)] == ["P1_baseline", "P1_followup", "P2_baseline", "P3_pre"]


def test_a_segmentation_may_be_of_tissues(tmp_path: Path) -> None:
    make(tmp_path, "p1_t1.nii", "p1_t1_seg.nii", "p1_lesion.nii", "p1_seg.nii", "p2_t1.nii", "p2_seg.nii")
    assert [case.label and case.label.name for case in find_cases(tmp_path)] == ["p1_lesion.nii", "p2_seg.nii"]


@pytest.mark.parametrize("names", [
    {"channel_names": {"0": "DWI", "1": "ADC"}}, {"modality": {"0": "dwi", "1": "adc"}},
    {"channel_names": {"1": "ADC"}}, {"channel_names": ["DWI", "ADC"]}, None,
])  # fmt: skip
def test_the_data_set_of_nnunet_names_its_channels(tmp_path: Path, names: dict[str, object] | None) -> None:
    images = [f"imagesT{part}_000{channel}.nii.gz" for part in ("r/a_1", "r/a_2", "s/a_3") for channel in (0, 1)]
    make(tmp_path, *(f"Dataset7_x/{name}" for name in (*images, "labelsTr/a_1.nii.gz", "labelsTr/a_2.nii.gz")))
    if names is not None:
        (tmp_path / "Dataset7_x/dataset.json").write_text(json.dumps(names))
    modalities = {"adc", "dwi"} if "DWI" in str(names).upper() else {"adc"}
    if names is None or isinstance(names.get("channel_names"), list):
        with pytest.raises(IslesError, match="E-LIST-01"):
            find_cases(tmp_path)
        return
    assert keys(tmp_path) == {"a_1": {*modalities, "label"}, "a_2": {*modalities, "label"}, "a_3": modalities}
    assert [case.name for case in find_cases(tmp_path, section="testing")] == ["a_3"]


def test_a_second_name_of_a_modality_is_read_where_there_is_no_first(tmp_path: Path) -> None:
    make(tmp_path, *(f"p1_{name}.nii" for name in ("dwi", "DWI_b1000", "b1000", "t2flair", "FLAIR", "T1", "mprage")))
    assert {case.name: dict(case.images) for case in find_cases(tmp_path)}["p1"] == {
        "dwi": tmp_path / "p1_dwi.nii", "t1": tmp_path / "p1_T1.nii", "flair": tmp_path / "p1_FLAIR.nii",
    }  # fmt: skip


def test_times_and_a_t1_flair_stay_cases_of_their_own(tmp_path: Path) -> None:
    make(tmp_path, *(f"p1_{name}.nii" for name in ("dwi", "T1_FLAIR", "t2w_dwi", "T2_dwi", "T2_flair")))
    assert set(keys(tmp_path)) == {"p1", "p1_T1", "p1_T2", "p1_t2w"}


def test_separators_at_the_end_are_no_part_of_a_name(tmp_path: Path) -> None:
    make(tmp_path / "anna", "_flair.nii", "__dwi.nii", "adc.nii")  # nothing before the modality: the folder's name
    assert keys(tmp_path / "anna") == {"anna": {"flair", "dwi", "adc"}}
    make(tmp_path / "two", "p1__dwi.nii", "p1_-adc.nii", "p2__dwi.nii")
    assert keys(tmp_path / "two") == {"p1": {"dwi", "adc"}, "p2": {"dwi"}}


def test_the_files_of_a_bids_subject_are_joined_over_folders(tmp_path: Path) -> None:
    for person, session in ((1, 1), (1, 2), (2, 1)):
        name = f"sub-s{person}_ses-{session}"
        home = f"sub-s{person}/ses-{session}"
        make(tmp_path, f"{home}/dwi/{name}_dwi.nii.gz", f"{home}/dwi/{name}_adc.nii.gz",
             f"{home}/anat/{name}_FLAIR.nii.gz", f"derivatives/{home}/{name}_msk.nii.gz")  # fmt: skip
    cases = find_cases(tmp_path)
    assert [case.name for case in cases] == ["sub-s1_ses-1", "sub-s1_ses-2", "sub-s2_ses-1"]
    assert [case.subject for case in cases] == ["sub-s1", "sub-s1", "sub-s2"]
    assert all(set(case.images) == {"dwi", "adc", "flair"} and case.label for case in cases)


def test_sections_are_kept_apart(tmp_path: Path) -> None:
    make(tmp_path, "train/a/dwi.nii", "test/b/dwi.nii")
    assert [case.name for case in find_cases(tmp_path, section="testing")] == ["b"]
    assert [case.name for case in find_cases(tmp_path)] == ["a", "b"]


def test_results_of_predict_below_the_data_are_no_input(tmp_path: Path) -> None:
    made = ("result.json", "lesion.nii.gz", "probability.nii.gz", "pseudo_dwi.nii.gz")
    make(tmp_path, "p/dwi.nii.gz", "p/adc.nii.gz", "p/lesion.nii.gz", *(f"out/p/{name}" for name in made))
    assert keys(tmp_path) == {"p": {"dwi", "adc", "label"}}
    (tmp_path / "out/p/result.json").unlink()
    with pytest.raises(IslesError, match="E-LIST-32"):
        find_cases(tmp_path)


def test_relative_maps_are_read_only_without_others(tmp_path: Path) -> None:
    make(tmp_path, *(f"a_{name}.nii.gz" for name in ("ct", "cbf", "rCBF", "rcbv", "mtt", "tmax")))
    (case,) = find_inputs([tmp_path])
    assert [case.images[key].name for key in ("cbf", "cbv")] == ["a_cbf.nii.gz", "a_rcbv.nii.gz"]


def test_an_unknown_name_is_told_with_the_names_that_are_read(tmp_path: Path) -> None:
    make(tmp_path, *(f"{name}.nii.gz" for name in ("brain", "delay", "flow", "volume")))
    names = r"4 files, none of them DICOM(?s:.*)brain.nii.gz, delay.nii.gz, flow.nii.gz, \.\.\.\n"
    with pytest.raises(IslesError, match=rf"E-LIST-01(?s:.*){names}(?s:.*)p1_ct.nii.gz(?s:.*)images: {{ct: a.nii.gz"):
        find_cases(tmp_path)
    with pytest.raises(IslesError, match=r"a file, not a folder\n(?s:.*)predict-series"):
        find_cases(tmp_path / "flow.nii.gz")


def test_two_files_for_one_modality_are_refused(tmp_path: Path) -> None:
    make(tmp_path, "a_t1.nii", "a_T1w.nii.gz", "a_dwi.nii")
    with pytest.raises(IslesError, match=r"E-LIST-13(?s:.*)training a: t1 \(a_T1w.nii.gz and a_t1.nii\)"):
        find_cases(tmp_path)


def test_an_image_beside_itself_under_gzip_is_one_image(tmp_path: Path) -> None:
    make(tmp_path, "a_dwi.nii", "a_t1.nii")
    (tmp_path / "a_t1.nii").write_bytes(b"one")
    (tmp_path / "a_t1.nii.gz").write_bytes(gzip.compress(b"one"))
    (case,) = find_cases(tmp_path)
    assert case.images["t1"].name == "a_t1.nii"


@pytest.mark.parametrize("packed", [gzip.compress(b"two"), gzip.compress(b"one")[:-4], b"one"], ids="abc")
def test_an_image_beside_another_one_under_gzip_is_refused(tmp_path: Path, packed: bytes) -> None:
    make(tmp_path, "a_dwi.nii", "a_t1.nii")
    (tmp_path / "a_t1.nii").write_bytes(b"one")
    (tmp_path / "a_t1.nii.gz").write_bytes(packed)
    with pytest.raises(IslesError, match=r"E-LIST-13(?s:.*)training a: t1"):
        find_cases(tmp_path)


def test_blanks_part_the_words_of_a_name(tmp_path: Path) -> None:
    make(tmp_path, "Patient 1 DWI.nii.gz", "Patient 1 Non Contrast CT.nii", "Patient 1 Lesion Mask.nii")
    (case,) = find_cases(tmp_path)
    assert (case.name, set(case.images), case.label.name) == ("Patient 1", {"dwi", "ct"}, "Patient 1 Lesion Mask.nii")


def test_folders_of_one_name_are_named_by_the_folder_above_too(tmp_path: Path) -> None:
    """So ``predict`` reads the maps of many studies that ``predict-series`` wrote, ``<study>/maps/cbf.nii.gz``."""
    make(tmp_path, "P1/maps/ct.nii", "P1/maps/cbf.nii", "P2/maps/ct.nii", "P2/maps/cbf.nii", "P3/ct.nii")
    assert [(case.name, len(case.images)) for case in find_cases(tmp_path)] == [
        ("P1_maps", 2),
        ("P2_maps", 2),
        ("P3", 1),
    ]


def test_two_folders_with_equal_names_are_refused(tmp_path: Path) -> None:
    make(tmp_path, "x/scan_dwi.nii", "y/scan_dwi.nii")
    with pytest.raises(IslesError, match=r"E-LIST-11(?s:.*)training scan"):
        find_cases(tmp_path)


def test_a_mask_that_belongs_to_no_image_is_refused(tmp_path: Path) -> None:
    make(tmp_path, "a_dwi.nii", "a_other_mask.nii")
    with pytest.raises(IslesError, match=r"E-LIST-32: a mask belongs to no image(?s:.*)a_other_mask.nii"):
        find_cases(tmp_path)


def test_who_reads_some_modalities_is_not_stopped_by_others_and_by_masks(tmp_path: Path) -> None:
    make(tmp_path, "a/ct.nii", "a/other_mask.nii", "a/mask.nii", "a/lesion.nii", "b/ct.nii", "b/t1.nii", "b/T1w.nii")
    first, second = find_inputs([tmp_path], keys=("ct",), reads=("ct",))
    assert (first.name, set(first.images), first.label) == ("a", {"ct"}, None)
    assert (second.name, set(second.images)) == ("b", {"ct"})
    with pytest.raises(IslesError, match=r"E-LIST-13(?s:.*)training b: t1"):
        find_inputs([tmp_path / "b"], keys=("ct",), reads=("ct", "t1"))
    with pytest.raises(IslesError, match="E-LIST-32"):
        find_inputs([tmp_path], keys=("ct",))
    (tmp_path / "a/ct.nii").rename(tmp_path / "a/ct.img")
    with pytest.raises(IslesError, match="E-LIST-01"):
        find_inputs([tmp_path / "a"], reads=("ct",))


def test_the_modalities_that_a_bundle_needs_are_asked_for_by_case(tmp_path: Path) -> None:
    make(tmp_path, "a_dwi.nii", "a_adc.nii", "b_dwi.nii")
    assert len(find_inputs([tmp_path], keys=("dwi",))) == 2
    with pytest.raises(IslesError, match=r"E-LIST-02(?s:.*)training b: no adc"):
        find_inputs([tmp_path], keys=("dwi", "adc"))


def test_images_named_by_series_in_the_folder_of_a_person_are_one_case(tmp_path: Path) -> None:
    """As dcm2niix writes them with ``-f %s_%d``; numbers alone are persons, and so are two images of one modality."""
    series = ("4_ep2d_diff_TRACEW.nii.gz", "5_ep2d_diff_ADC.nii.gz", "8_FLAIR.nii.gz")
    make(tmp_path / "a", *(f"{person}/{name}" for person in ("P1", "P2") for name in series))
    assert keys(tmp_path / "a") == {person: {"dwi", "adc", "flair"} for person in ("P1", "P2")}
    assert keys(make(tmp_path / "b" / "P3", *series)) == {"P3": {"dwi", "adc", "flair"}}
    assert set(keys(make(tmp_path / "c", "1_dwi.nii", "2_adc.nii"))) == {"1", "2"}
    assert set(keys(make(tmp_path / "d", "1_a_dwi.nii", "2_b_dwi.nii"))) == {"1_a", "2_b"}
    assert set(keys(make(tmp_path / "e", "anna_x_dwi.nii", "bert_x_adc.nii"))) == {"anna_x", "bert_x"}
