"""From the folders of predict and evaluate to a cohort."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_isles.errors import IslesError
from monai_isles.reports.gather import read_scores, side_by_side
from monai_isles.workflows.report import gather_cohort

Folders = Callable[..., dict[str, Path]]


def gathered(folders: dict[str, Path], **more: object) -> object:
    return gather_cohort(str(folders["pred"]), str(folders["ref"]), [str(folders["scores"])], **more)


def test_cases_come_with_images_masks_scores_and_results(folders: Folders) -> None:
    cohort = gathered(folders(), names=["demo"], command=["report", "--pred", "/home/ZZPATIENT/pred"])
    views = list(cohort.cases)
    assert [view.name for view in views] == ["case_1", "case_2"] and list(cohort.summaries) == ["demo"]
    assert set(views[0].images) == {"ct", "cbf", "tmax"} and views[0].truth.any() and views[0].probability.max() <= 1
    assert views[0].scores["case"] == "case_1" and views[0].result["threshold"] == 0.4
    assert cohort.simulated and views[0].simulated and cohort.provenance["weights SHA-256"] == "ab" * 32
    assert cohort.provenance["command"] == "report --pred pred" and "torch" in cohort.provenance


def test_masks_alone_are_enough(folders: Folders, tmp_path: Path) -> None:
    made = folders()
    flat = {side: tmp_path / f"flat_{side}" for side in ("pred", "ref")}
    for side, folder in flat.items():
        folder.mkdir()
        for name in ("case_1", "case_2"):
            lesion = (
                made["pred"] / name / "lesion.nii.gz"
                if side == "pred"
                else next((made["ref"] / "TRAINING" / name).glob("*OT*/*.nii"))
            )
            shutil.copy(lesion, folder / f"{name}{''.join(lesion.suffixes[-2:]) if side == 'pred' else '.nii'}")
    view = next(iter(gathered({**made, **flat}).cases))
    assert view.images == {} and view.probability is None and view.lesion.any()


def test_images_are_found_where_the_prediction_read_them(folders: Folders, tmp_path: Path) -> None:
    made = folders()
    ref = tmp_path / "ref_masks"
    for name in ("case_1", "case_2"):
        (ref / name).mkdir(parents=True)
        shutil.copy(next((made["ref"] / "TRAINING" / name).glob("*OT*/*.nii")), ref / name / "lesion.nii")
    assert set(next(iter(gathered({**made, "ref": ref}).cases)).images) == {"ct", "cbf", "tmax"}


def test_a_prediction_scored_as_empty_is_drawn_as_empty(folders: Folders) -> None:
    made = folders(missing=("case_2",))
    views = list(gathered(made).cases)
    assert views[0].lesion.any() and not views[1].lesion.any() and views[1].probability is None


def test_rules_stand_once_beside_every_network(folders: Folders) -> None:
    made = folders(rule=True)
    read = side_by_side([made["scores"], made["scores"]], ["demo", "shipped"])
    assert list(read.summaries) == ["demo", "shipped", "rCBF < 30 %"] and read.descriptions == {
        "rCBF < 30 %": "CBF below 30%"
    }
    assert read.split == "section training, fold 0"
    assert [row["case"] for row in read.per_case["demo"]] == ["case_1", "case_2"]


@pytest.mark.parametrize("names", [["one"], ["same", "same"], ["a", "rCBF < 30 %"]])
def test_names_must_fit_the_folders(folders: Folders, names: list[str]) -> None:
    scores = folders()["scores"]
    with pytest.raises(IslesError, match=r"E-REP-03.*\n.*--names.*\n.*for 2 folders"):
        side_by_side([scores, scores], names)


def test_scores_of_other_cases_are_not_compared(folders: Folders, tmp_path: Path) -> None:
    scores = folders()["scores"]
    other = tmp_path / "other"
    shutil.copytree(scores, other)
    (other / "per_case.csv").write_text((other / "per_case.csv").read_text().replace("case_2", "case_9"))
    with pytest.raises(IslesError, match=r"E-REP-04: scores are of other cases\n.*other\n.*2 cases.*case_2, case_9"):
        side_by_side([scores, other], ["a", "b"])


@pytest.mark.parametrize("name", ["summary.json", "per_case.csv"])
def test_a_missing_file_of_scores_is_named(folders: Folders, name: str) -> None:
    scores = folders()["scores"]
    (scores / name).unlink()
    with pytest.raises(IslesError, match=rf"E-REP-01: file of scores is missing\n.*{name}"):
        read_scores(scores)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("summary.json", "{"),
        ("summary.json", "[]"),
        ("summary.json", '{"methods": {"network": 3}}'),
        ("per_case.csv", "case,dsc\na,1\n"),
        ("per_case.csv", ""),
    ],
)
def test_scores_that_cannot_be_read_are_named(folders: Folders, name: str, text: str) -> None:
    scores = folders()["scores"]
    (scores / name).write_text(text)
    with pytest.raises(IslesError, match=rf"E-REP-02: scores cannot be read\n.*{name}"):
        read_scores(scores)


def test_bytes_that_are_no_text_are_named(folders: Folders) -> None:
    scores = folders()["scores"]
    (scores / "per_case.csv").write_bytes(b"case\xff\xfe")
    with pytest.raises(IslesError, match="E-REP-02"):
        read_scores(scores)


@pytest.mark.parametrize("side", ["pred", "ref"])
def test_a_missing_folder_is_named(folders: Folders, side: str, tmp_path: Path) -> None:
    with pytest.raises(IslesError, match=rf"E-REP-01: folder is missing\n.*--{side}\n.*nowhere"):
        gathered({**folders(), side: tmp_path / "nowhere"})


def test_a_scored_case_without_reference_is_named(folders: Folders) -> None:
    made = folders()
    shutil.rmtree(made["ref"] / "TRAINING" / "case_2")
    with pytest.raises(IslesError, match=r"E-REP-04: scored cases have no reference\n.*\n.*1 of 2: case_2"):
        gathered(made)


def test_a_scored_case_without_prediction_is_named(folders: Folders) -> None:
    made = folders()
    shutil.rmtree(made["pred"] / "case_2")
    with pytest.raises(IslesError, match=r"E-EVAL-06(?s:.*)case_2"):
        gathered(made)


def test_a_damaged_result_is_named_and_an_absent_one_is_fine(folders: Folders) -> None:
    made = folders()
    (made["pred"] / "case_1" / "result.json").write_text("{")
    with pytest.raises(IslesError, match=r"E-REP-02: result of a prediction cannot be read\n.*case_1"):
        gathered(made)
    (made["pred"] / "case_1" / "result.json").unlink()
    assert next(iter(gathered(made).cases)).result == {}


def test_an_image_on_another_grid_is_refused(folders: Folders) -> None:
    from monai_isles.io import read_image
    from monai_isles.io.publish import publish_image

    made = folders()
    path = made["pred"] / "case_1" / "probability.nii.gz"
    like = read_image(path)
    moved = like.affine.copy()
    moved[0, 3] += 40
    other = type(like)(like.data, moved, like.spacing_mm, made["pred"] / "x.nii.gz", "", moved, like.native_shape)
    publish_image(path, np.asarray(like.data), other, dtype=np.float32)
    with pytest.raises(IslesError, match="E-GEOM"):
        list(gathered(made).cases)


def test_json_of_the_summary_needs_no_baselines(folders: Folders) -> None:
    scores = folders()["scores"]
    summary = json.loads((scores / "summary.json").read_text())
    del summary["baselines"], summary["folds"]
    (scores / "summary.json").write_text(json.dumps(summary))
    assert read_scores(scores).split == "section training"


def test_a_case_that_was_not_scored_does_not_hinder_the_page(folders: Folders) -> None:
    made = folders()
    for copy in ("a", "b"):  # a third case with two masks, as evaluate left it out
        mask = next((made["ref"] / "TRAINING" / "case_2").glob("*OT*/*.nii"))
        place = made["ref"] / "TRAINING" / "case_3" / f"SMIR.Brain.XX.O.OT.3{copy}" / f"SMIR.Brain.XX.O.OT.3{copy}.nii"
        place.parent.mkdir(parents=True)
        shutil.copy(mask, place)
        place.write_bytes(mask.read_bytes() + copy.encode())
    assert [view.name for view in gathered(made).cases] == ["case_1", "case_2"]
    (made["scores"] / "per_case.csv").write_text((made["scores"] / "per_case.csv").read_text().replace("_2", "_3"))
    with pytest.raises(IslesError, match=r"E-LIST-13(?s:.*)case_3"):  # a scored one is refused for its own fault
        gathered(made)


@pytest.mark.parametrize("side", ["pred", "ref"])
def test_scores_of_other_masks_are_refused(folders: Folders, side: str) -> None:
    made = folders()
    mask = made["pred"] / "case_2" / "lesion.nii.gz"
    mask = mask if side == "pred" else next((made["ref"] / "TRAINING" / "case_2").glob("*OT*/*.nii"))
    image = nibabel.load(mask, mmap=False)
    data = np.asarray(image.dataobj).copy()
    data[0, 0, 0] = 1
    nibabel.save(nibabel.Nifti1Image(data, image.affine), mask)
    with pytest.raises(IslesError, match=rf"E-REP-04: scores are of other masks(?s:.*)ml in the mask of --{side}"):
        list(gathered(made).cases)


def test_an_image_is_drawn_at_its_place_in_mm_and_a_damaged_one_is_left_out(folders: Folders) -> None:
    made = folders()
    ct, cbf = (next((made["ref"] / "TRAINING" / "case_1").glob(f"*.{key}.*/*.nii")) for key in ("CT", "CT_CBF"))
    whole = next(iter(gathered(made).cases)).images["ct"]
    image = nibabel.load(ct, mmap=False)
    data, affine = np.asarray(image.dataobj)[4:-4], image.affine.copy()
    affine[:3, 3] += 4 * affine[:3, 0]
    nibabel.save(nibabel.Nifti1Image(data, affine), ct)
    cbf.write_bytes(cbf.read_bytes()[:-5000])
    view = next(iter(gathered(made).cases))
    assert np.abs(view.images["ct"] - whole)[5:-5].max() < 0.1 and set(view.images) == {"ct", "tmax"}
    assert [remark[:28] for remark in view.result["remarks"]] == ["E-FILE-05: cbf is not drawn:"]


def test_the_data_list_of_the_scores_is_used_again(folders: Folders) -> None:
    made = folders()
    entries = []
    for n in (1, 2):  # names and places that no layout knows
        shutil.move(next((made["ref"] / "TRAINING" / f"case_{n}").glob("*OT*/*.nii")), made["ref"] / f"odd{n}.nii")
        entries.append({"case": f"case_{n}", "subject": f"s{n}", "fold": 0, "label": f"odd{n}.nii"})
    shutil.rmtree(made["ref"] / "TRAINING")
    listed = made["ref"].parent / "list.json"
    listed.write_text(json.dumps({"training": entries}))
    settings = {"data_list": str(listed), "section": "training", "folds": [0]}
    (made["scores"] / "run.json").write_text(json.dumps({"settings": settings}))
    assert [view.name for view in gathered(made).cases] == ["case_1", "case_2"]
    listed.unlink()
    with pytest.raises(IslesError, match="E-REP-04: scored cases have no reference"):
        gathered(made)
