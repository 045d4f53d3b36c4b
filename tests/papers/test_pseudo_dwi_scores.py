"""SSIM and PSNR of pseudo-DWI files made by hand from the true DWI."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest

from monai_isles.crossval.out_of_fold import OutOfFold
from monai_isles.data import make_datalist
from monai_isles.errors import IslesError
from monai_isles.evaluation.pairs import find_references
from monai_isles.io import publish_json
from monai_isles.papers.by_split import pseudo_dwi_scores, pseudo_dwi_slices
from monai_isles.papers.figures import ranked_slices
from monai_isles.papers.study import mean_and_sd

OFFSET = {"case_1": 0.1, "case_2": 0.01, "case_3": 0.3}


@pytest.fixture
def found(phantom_folder: Path, tmp_path: Path) -> OutOfFold:
    """Pseudo-DWI of all three scans: the scaled true one plus an offset."""
    content = make_datalist(phantom_folder, folds=2)
    publish_json(tmp_path / "data_list.json", content)
    for entry in content["training"]:
        image = nibabel.load(phantom_folder / entry["dwi"])
        true = np.asarray(image.dataobj, np.float64)
        scaled = np.clip((true - true.min()) / (np.percentile(true, 99) - true.min()), None, 1)
        folder = tmp_path / "predictions" / entry["case"]
        folder.mkdir(parents=True)
        made = (scaled + OFFSET[entry["case"]]).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(made, image.affine), folder / "pseudo_dwi.nii.gz")
    plan = SimpleNamespace(dataset_dir=str(phantom_folder), cases={0: [], 1: []})
    return OutOfFold(tmp_path, plan, find_references(phantom_folder))


def test_an_offset_of_a_tenth_is_20_db_everywhere(found: OutOfFold) -> None:
    scores = pseudo_dwi_scores(found)
    for case, offset in OFFSET.items():
        psnr = -20 * np.log10(offset)
        assert scores[case]["psnr_db"] == pytest.approx(psnr, abs=0.02)
        assert scores[case]["local_psnr_db"] == pytest.approx(psnr, abs=0.02)
    assert 1 > scores["case_2"]["ssim"] > scores["case_1"]["ssim"] > scores["case_3"]["ssim"] > 0


def test_slices_come_best_first_and_hold_the_most_lesion(found: OutOfFold, phantom_folder: Path) -> None:
    lines = [{"case": name, "lesion_ml_ref": 3.0, **one} for name, one in pseudo_dwi_scores(found).items()]
    lines[0]["lesion_ml_ref"] = 0.0
    drawn = pseudo_dwi_slices(found, lines, 3)
    left = {str(line["case"]) for line in lines[1:]}
    assert [one["title"] for one in drawn] == [f"{c}, 3.0 ml" for c in ("case_2", "case_1", "case_3") if c in left]
    for one in drawn:
        offset = OFFSET[one["title"].split(",")[0]]
        np.testing.assert_allclose(one["pseudo"] - one["true"], offset, atol=2e-3)
        case = next(case for case in found.cases if case.name == one["title"].split(",")[0])
        assert one["lesion"].sum() == (np.asarray(nibabel.load(case.label).dataobj) > 0).sum((0, 1)).max()


def test_a_pseudo_dwi_on_another_grid_is_refused(found: OutOfFold) -> None:
    path = found.path(found.cases[0]).with_name("pseudo_dwi.nii.gz")
    image = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj)[:-1], image.affine), path)
    with pytest.raises(IslesError, match="E-GEOM"):
        pseudo_dwi_scores(replace(found, cases=found.cases[:1]))


def test_images_of_a_case_that_is_resampled_are_laid_on_the_grid_of_its_mask(found: OutOfFold, tmp_path: Path) -> None:
    data = shutil.copytree(found.plan.dataset_dir, tmp_path / "data")
    content = json.loads((tmp_path / "data_list.json").read_text())
    for entry in content["training"]:  # two slices more below, one above
        image = nibabel.load(data / entry["dwi"])
        affine = image.affine @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, -2], [0, 0, 0, 1]])
        wider = np.pad(np.asarray(image.dataobj), ((0, 0), (0, 0), (2, 1)))
        nibabel.save(nibabel.Nifti1Image(wider, affine), data / entry["dwi"])
        entry["resample"] = True
    publish_json(tmp_path / "data_list.json", content)
    plan = SimpleNamespace(dataset_dir=str(data), cases={0: [], 1: []})
    moved = replace(found, plan=plan, cases=[replace(case, resample=True) for case in found.cases])
    scores, before = pseudo_dwi_scores(moved), pseudo_dwi_scores(found)
    assert all(scores[name] == pytest.approx(before[name], abs=1e-3) for name in OFFSET)
    for case in found.cases:
        image = nibabel.load(found.path(case).with_name("pseudo_dwi.nii.gz"))
        nibabel.save(nibabel.Nifti1Image(np.zeros(image.shape, np.float32), image.affine), found.path(case))
    lines = [{"case": case.name, "lesion_ml_ref": 3.0, "dsc": 0.5} for case in found.cases]
    (plain,), (laid,) = (list(ranked_slices({"a": (one, lines)}, "a", 1, "dwi")) for one in (found, moved))
    np.testing.assert_allclose(laid[2], plain[2], atol=0.01)


def test_the_spread_leaves_out_what_is_undefined() -> None:
    assert mean_and_sd([1.0, float("nan"), 3.0, float("inf")]) == {"mean": 2.0, "sd": pytest.approx(2**0.5), "n": 2}
    assert mean_and_sd([2.0])["sd"] is None and mean_and_sd([float("nan")]) == {"mean": None, "sd": None, "n": 0}
