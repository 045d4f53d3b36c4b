"""Which prediction belongs to which reference."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from monai_isles.errors import IslesError
from monai_isles.evaluation.pairs import find_masks, find_predictions, find_references
from monai_isles.io.findings import collect_remarks

ONE = np.ones((4, 4, 2), bool)


def test_both_layouts_are_read(tmp_path: Path, save_volume) -> None:
    save_volume(tmp_path / "ref" / "case_1" / "lesion.nii.gz", ONE)
    save_volume(tmp_path / "ref" / "case_2.nii", ONE)
    cases = find_references(tmp_path / "ref")
    assert [(case.name, case.subject) for case in cases] == [("case_1", "case_1"), ("case_2", "case_2")]
    save_volume(tmp_path / "pred" / "case_1.nii.gz", ONE)
    save_volume(tmp_path / "pred" / "case_2" / "lesion.nii", ONE)
    save_volume(tmp_path / "pred" / "case_2" / "probability.nii.gz", ONE)
    save_volume(tmp_path / "pred" / "other" / "lesion.nii.gz", ONE)
    masks, unasked = find_predictions(tmp_path / "pred", cases, allow_missing=False)
    assert [path.name for path in masks.values()] == ["case_1.nii.gz", "lesion.nii"] and unasked == ["other"]


@pytest.mark.parametrize(("outcome", "kept"), [("failed", ["b"]), ("ok", ["a", "b"]), ("done before", ["a", "b"])])
def test_a_mask_of_a_former_run_is_no_prediction(tmp_path: Path, save_volume, outcome: str, kept: list[str]) -> None:
    for name in ("a", "b"):
        save_volume(tmp_path / name / "lesion.nii.gz", ONE)
    (tmp_path / "run.json").write_text(json.dumps({"cases": {"a": {"outcome": outcome}, "c": "scored"}}))
    assert list(find_masks(tmp_path)) == kept
    (tmp_path / "run.json").write_text("[]")
    assert list(find_masks(tmp_path)) == ["a", "b"]


def test_masks_of_an_interrupted_run_are_remarked(tmp_path: Path, save_volume) -> None:
    save_volume(tmp_path / "a" / "lesion.nii.gz", ONE)
    for name, codes in (("run.previous.json", ["E-EVAL-12"]), ("run.json", [])):  # the record comes last
        (tmp_path / name).write_text("{}")
        with collect_remarks() as remarks:
            assert list(find_masks(tmp_path)) == ["a"]
        assert [remark.code for remark in remarks] == codes


def test_masks_are_found_from_another_folder_too(tmp_path: Path, save_volume, monkeypatch) -> None:
    save_volume(tmp_path / "pred" / "a" / "lesion.nii.gz", ONE)
    save_volume(tmp_path / "pred" / "b.nii.gz", ONE)
    monkeypatch.chdir(tmp_path)
    masks = find_masks(Path("pred"))
    monkeypatch.chdir("/")  # as a worker of a cluster may stand in
    assert all(path.is_file() for path in masks.values()) and len(masks) == 2


def test_a_half_written_file_is_no_prediction(tmp_path: Path, save_volume) -> None:
    save_volume(tmp_path / ".part-1234-case_1.nii.gz", ONE)
    with pytest.raises(IslesError, match=r"(?s)E-EVAL-05: no reference found.*ISLES folder"):
        find_references(tmp_path)


def test_an_image_that_no_score_needs_may_be_there_twice(tmp_path: Path, save_volume) -> None:
    for name in ("flair", "t1", "T1w", "mask"):
        save_volume(tmp_path / "case_1" / f"{name}.nii", ONE)
    (case,) = find_references(tmp_path)
    assert case.label is not None and set(case.images) == {"flair"}
    save_volume(tmp_path / "case_1" / "msk.nii", ONE)
    with pytest.raises(IslesError, match=r"E-LIST-13(?s:.*)label \(mask.nii and msk.nii\)"):
        find_references(tmp_path)


def test_scans_without_maps_are_told_what_asks_for_them(tmp_path: Path, save_volume) -> None:
    for name in ("flair", "mask"):
        save_volume(tmp_path / "case_1" / f"{name}.nii", ONE)
    with pytest.raises(IslesError, match=r"E-LIST-02(?s:.*)no cbf(?s:.*)without --baseline"):
        find_references(tmp_path, maps=True, left_out={})


def test_every_missing_prediction_is_named_at_once(tmp_path: Path, mask_folders) -> None:
    _, ref, _ = mask_folders
    with pytest.raises(
        IslesError, match=r"(?s)E-EVAL-06: predictions are missing.*5 of 5.*case_1, case_2, case_3, case_4, case_5"
    ):
        find_predictions(tmp_path / "nothing", find_references(ref), allow_missing=False)


def test_cases_without_a_mask_are_left_out_while_another_has_one(tmp_path: Path, mask_folders) -> None:
    pred, ref, _ = mask_folders
    (pred / "case_3" / "lesion.nii.gz").unlink()
    left_out: dict[str, IslesError] = {}
    masks, _ = find_predictions(pred, find_references(ref), allow_missing=False, left_out=left_out)
    assert list(masks) == ["case_1", "case_2", "case_4", "case_5"] and left_out["case_3"].code == "E-EVAL-06"
    with pytest.raises(IslesError, match=r"E-EVAL-06(?s:.*)5 of 5"):
        find_predictions(tmp_path / "nothing", find_references(ref), allow_missing=False, left_out={})


def test_missing_predictions_are_none_when_allowed(tmp_path: Path, mask_folders) -> None:
    masks, _ = find_predictions(tmp_path / "nothing", find_references(mask_folders[1]), allow_missing=True)
    assert list(masks.values()) == [None] * 5


def test_two_masks_for_one_case_are_refused(tmp_path: Path, save_volume) -> None:
    save_volume(tmp_path / "case_1" / "lesion.nii.gz", ONE)
    save_volume(tmp_path / "case_1.nii.gz", ONE)
    with pytest.raises(
        IslesError, match=r"(?s)E-EVAL-07: two masks for one case.*case_1.*lesion.nii.gz and .*case_1.nii.gz"
    ):
        find_references(tmp_path)


@pytest.mark.parametrize(("ref", "pred"), [
    ("{}_mask.nii.gz", "{}/lesion.nii.gz"), ("{}.nii.gz", "{}_lesion_mask.nii.gz"), ("{}_mask.nii", "{}-label.nii"),
    ("{}/mask.nii.gz", "{}/lesion.nii.gz"), ("{}/{}_msk.nii.gz", "{}.nii.gz"), ("{}_mask.nii", "{}_mask.nii.gz"),
])  # fmt: skip
def test_a_last_word_that_means_a_mask_does_not_part_a_pair(tmp_path: Path, save_volume, ref: str, pred: str) -> None:
    for name in ("P1", "P2"):
        save_volume(tmp_path / "ref" / ref.replace("{}", name), ONE)
        save_volume(tmp_path / "pred" / pred.replace("{}", name), ONE)
    save_volume(tmp_path / "pred" / "P3_mask.nii.gz", ONE)
    masks, extra = find_predictions(tmp_path / "pred", find_references(tmp_path / "ref"), allow_missing=False)
    assert [path is not None and "P1" in str(path) for path in masks.values()] == [True, False] and extra == ["P3_mask"]


def test_bids_derivatives_are_predictions(tmp_path: Path, save_volume) -> None:
    for name in (
        "sub-1_ses-01_space-ncct_label-lesion_desc-monaiisles_mask",
        "sub-2_label-lesion_mask",
        "sub-3_brain_mask",
    ):
        save_volume(tmp_path / "pred" / name[:5] / "anat" / f"{name}.nii.gz", ONE)
    assert {*find_masks(tmp_path / "pred")} == {"sub-1_ses-01", "sub-2"}
    save_volume(tmp_path / "pred" / "sub-2" / "anat" / "sub-2_space-orig_label-lesion_mask.nii.gz", ONE)
    with pytest.raises(IslesError, match=r"E-EVAL-07(?s:.*)sub-2"):
        find_masks(tmp_path / "pred")


def test_names_that_fit_two_masks_are_not_paired(tmp_path: Path, save_volume) -> None:
    for name in ("ref/P1", "pred/P1_mask", "pred/P1_lesion"):
        save_volume(tmp_path / f"{name}.nii.gz", ONE)
    with pytest.raises(IslesError, match=r"E-EVAL-07(?s:.*)P1_lesion.nii.gz and .*P1_mask.nii.gz"):
        find_predictions(tmp_path / "pred", find_references(tmp_path / "ref"), allow_missing=False)
    for name in ("ref/P2_mask", "ref/P2_label"):
        save_volume(tmp_path / "two" / f"{name}.nii.gz", ONE)
    save_volume(tmp_path / "two" / "pred" / "P2.nii.gz", ONE)
    with pytest.raises(IslesError, match="E-EVAL-06"):
        find_predictions(tmp_path / "two/pred", find_references(tmp_path / "two/ref"), allow_missing=False)
    save_volume(tmp_path / "many" / "P1" / "mask.nii.gz", ONE)
    save_volume(tmp_path / "many" / "P1" / "label.nii.gz", ONE)
    assert find_masks(tmp_path / "many") == {}


def test_names_with_spaces_and_umlauts_work(tmp_path: Path, save_volume) -> None:
    save_volume(tmp_path / "Fälle neu" / "Fall 1.nii.gz", ONE)
    assert [case.name for case in find_references(tmp_path / "Fälle neu")] == ["Fall 1"]


def test_capitals_of_a_suffix_and_either_unicode_form_are_one_case(tmp_path: Path, save_volume) -> None:
    """Windows programs write .NII.GZ; macOS stores an accented letter as two characters."""
    composed, apart = unicodedata.normalize("NFC", "Fäll 1"), unicodedata.normalize("NFD", "Fäll 1")
    assert composed != apart
    save_volume(tmp_path / "ref" / f"{composed}.nii.gz", ONE)
    save_volume(tmp_path / "pred" / f"{apart}.nii.gz", ONE)
    (tmp_path / "pred" / f"{apart}.nii.gz").rename(tmp_path / "pred" / f"{apart}.NII.GZ")
    masks, unasked = find_predictions(tmp_path / "pred", find_references(tmp_path / "ref"), allow_missing=False)
    assert list(masks) == [composed] and masks[composed].name == f"{apart}.NII.GZ" and unasked == []


def test_masks_beside_their_images_in_a_plain_folder_are_references(tmp_path: Path, save_volume) -> None:
    for case in ("a", "b"):
        save_volume(tmp_path / "ref" / f"{case}_dwi.nii.gz", ONE + np.random.default_rng(0).random(ONE.shape))
        save_volume(tmp_path / "ref" / f"{case}_mask.nii.gz", ONE)
    assert [(case.name, case.label.name) for case in find_references(tmp_path / "ref")] == [
        ("a", "a_mask.nii.gz"), ("b", "b_mask.nii.gz"),
    ]  # fmt: skip


def test_a_mask_of_no_image_is_scored_if_it_was_predicted_and_else_remarked(
    tmp_path: Path, save_volume, caplog
) -> None:
    for name in ("a_dwi", "a_mask", "b_mask"):
        save_volume(tmp_path / "ref" / f"{name}.nii.gz", ONE)
    save_volume(tmp_path / "pred" / "a.nii.gz", ONE)
    cases = find_references(tmp_path / "ref")
    for allowed in (False, True):
        assert list(find_predictions(tmp_path / "pred", cases, allow_missing=allowed)[0]) == ["a"]
    assert "E-LIST-32" in caplog.text and "b_mask.nii.gz: no image and no prediction" in caplog.text
    save_volume(tmp_path / "pred" / "b.nii.gz", ONE)
    assert list(find_predictions(tmp_path / "pred", cases, allow_missing=False)[0]) == ["a", "b"]


def test_maps_beside_a_prediction_do_not_make_its_folder_a_data_folder(tmp_path: Path, save_volume) -> None:
    save_volume(tmp_path / "out" / "case_1" / "lesion.nii.gz", ONE)
    save_volume(tmp_path / "out" / "case_1" / "pseudo_dwi.nii.gz", ONE)
    assert [case.name for case in find_references(tmp_path / "out")] == ["case_1"]


def test_siss_and_spes_in_one_reference_folder_are_refused(tmp_path: Path, save_volume) -> None:
    for key in ("T1", "T1c"):
        save_volume(tmp_path / "1" / f"VSD.Brain.XX.O.MR_{key}.7.nii", ONE)
    with pytest.raises(IslesError, match="E-LIST-30"):
        find_references(tmp_path)
