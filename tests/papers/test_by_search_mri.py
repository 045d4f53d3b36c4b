"""``tools/reproduce.py clerigues_mri`` trains the paper's three rows for either task and prints them beside its own."""

from __future__ import annotations

import csv
import json
import runpy
import zipfile
from functools import partial
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_isles.bundle import Bundle
from monai_isles.crossval import ensemble
from monai_isles.crossval.plan import Plan, make_plan
from monai_isles.data import make_datalist
from monai_isles.io import publish_json
from monai_isles.io.payload import sha256_of
from monai_isles.io.publish import publish_text
from monai_isles.papers import by_search
from monai_isles.papers import study as papers_study
from monai_isles.papers.study import Study, paper_rows
from monai_isles.phantom import make_dataset
from monai_isles.reports.views import CaseView

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "bundles/clerigues_mri"
WRONG = {"baseline": 4, "balanced": 2, "proposed": 1}  # voxels by which a row's maps are shifted


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root, size = tmp_path_factory.mktemp("mri"), {"cases": 4, "test_cases": 1, "spacing_mm": 4.0}
    return {kind: make_dataset(root / kind, seed=3, kind=kind, **size) for kind in ("siss", "spes")}


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """Put shifted lesions where training would stand; tell what would have been trained."""
    plans: list[Plan] = []

    def cross_validate(plan: Plan, content: dict, out: Path) -> dict[str, object]:
        plans.append(plan)
        publish_json(out / "crossval.json", plan.record())
        publish_json(out / "data_list.json", content)
        for fold in plan.folds:
            publish_text(out / f"fold_{fold}/model.pt", f"{out.parent.name} {fold}")
        for entry in content["training"]:
            image = nibabel.load(Path(plan.dataset_dir) / entry["label"])
            lesion = np.isin(np.asarray(image.dataobj), content.get("label_values", [1]))
            found = np.roll(lesion, WRONG[out.parent.name], axis=1)
            folder = out / "predictions" / entry["case"]
            folder.mkdir(parents=True, exist_ok=True)
            map_ = nibabel.Nifti1Image((0.75 * found).astype(np.float32), image.affine)
            nibabel.save(map_, folder / "probability.nii.gz")
            digest = sha256_of(out / f"fold_{entry['fold']}/model.pt")
            publish_json(folder / "result.json", {"weights_sha256": [digest]})
        cases = {entry["case"]: {"outcome": "ok"} for entry in content["training"]}
        return {"folds": {fold: {"outcome": "ok"} for fold in plan.folds}, "cases": cases}

    monkeypatch.setattr(papers_study, "cross_validate", cross_validate)
    return plans


def _named(names: list[str], views: dict[str, CaseView]) -> dict[str, CaseView]:
    names.append(next(iter(views.values())).name)
    return views


@pytest.mark.parametrize(("task", "printed"), [("siss", "0.710"), ("spes", "0.820")])
def test_three_rows_stand_beside_the_published_ones(
    task: str, printed: str, scans: dict[str, Path], trained: list[Plan], tmp_path: Path, monkeypatch
) -> None:
    drawn: list[str] = []
    draw = by_search.methods_montage
    monkeypatch.setattr(by_search, "methods_montage", lambda cases: draw([*map(partial(_named, drawn), cases)]))
    run = runpy.run_path(str(ROOT / "tools/reproduce.py"))["main"]
    words = ["clerigues_mri", "--task", task, "--dataset-dir", str(scans[task]), "--bundle", str(BUNDLE)]
    assert run([*words, "--out", str(tmp_path / "out")]) == 0
    assert drawn and len(set(drawn)) == len(drawn)  # of four scans two quartiles are one
    assert [list(plan.overlays)[-1] for plan in trained] == ["baseline.json", "balanced.json", "proposed.json"]
    assert all(len(plan.folds) == 4 and ("spes.json" in plan.overlays) is (task == "spes") for plan in trained)
    with (tmp_path / "out/table.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    ours = [float(row["dsc_mean"]) for row in rows if row["kind"] == "ours"]
    assert len(ours) == 3 and ours == sorted(ours)  # the smaller the shift, the better
    assert f"{float(rows[-1]['dsc_mean']):.3f}" == printed and rows[-1]["kind"] == "published"
    text = (tmp_path / "out/table.txt").read_text(encoding="utf-8")
    assert f"Clèrigues 2020, Table 1, {task}, protocol paper" in text and "HD voxels" in text and "HD mm" in text
    theirs = [row for row in rows if row["kind"] == "published"]
    assert {row["n"] for row in theirs} == {"28" if task == "siss" else "30"}
    assert theirs[0]["hd_vox_mean"] == ("43.7" if task == "siss" else "11.1") and theirs[0]["hd_mm_mean"] == ""
    for row in rows:  # 4 mm voxels
        if row["kind"] == "ours":
            assert float(row["hd_mm_mean"]) == pytest.approx(4 * float(row["hd_vox_mean"]))
    record = json.loads((tmp_path / "out/proposed/paper/search/search.json").read_text())
    assert record["grid"]["sizes_vox"] == [10, 50, 100, 200, 500, 1000] and record["grid"]["hd_max_vox"] == 200


@pytest.mark.parametrize(("task", "key"), [("siss", "MR_Flair"), ("spes", "MR_T1c")])
def test_a_test_section_is_packed_under_the_names_of_isles_2015_which_are_checked_before_training(
    task: str, key: str, scans: dict[str, Path], trained: list[Plan], tmp_path: Path, monkeypatch, capsys
) -> None:
    data = scans[task]
    content = make_datalist(data, folds=4)
    publish_json(tmp_path / "list.json", content)
    run = runpy.run_path(str(ROOT / "tools/reproduce.py"))["main"]
    words = ["clerigues_mri", "--task", task, "--dataset-dir", str(data), "--bundle", str(BUNDLE), "--rows", "baseline"]
    words += ["--out", str(tmp_path / "out"), "--data-list", str(tmp_path / "list.json"), "--test-set"]
    assert run([*words, "no.dots"]) == 4 and "E-CHAL-03" in capsys.readouterr().err and not trained
    (image,) = data.glob(f"TESTING/**/VSD.Brain.XX.O.{key}.*.nii")

    def predict_unseen(folder: Path, out: Path) -> dict[str, dict[str, str]]:
        (case,) = content["test"]
        source = nibabel.load(image)
        lesion = nibabel.Nifti1Image(np.ones(source.shape, np.uint8), source.affine)
        (out / case["case"]).mkdir(parents=True)
        nibabel.save(lesion, out / case["case"] / "lesion.nii.gz")
        return {case["case"]: {"outcome": "ok"}}

    monkeypatch.setattr(ensemble, "predict_unseen", predict_unseen)
    assert run([*words, "girona"]) == 0, capsys.readouterr().err
    with zipfile.ZipFile(tmp_path / "out/submission.zip") as archive:
        assert archive.namelist() == [f"VSD.girona.{image.name.split('.')[-2]}.nii"]


@pytest.mark.parametrize(("task", "overlays"), [("siss", []), ("spes", ["spes.json"])])
def test_each_row_is_an_overlay_that_changes_what_the_paper_names(task: str, overlays: list[str]) -> None:
    rows = paper_rows(BUNDLE)
    configs = {row.key: Bundle(BUNDLE, (*overlays, *row.overlays)).config("train") for row in rows}
    assert list(configs) == ["baseline", "balanced", "proposed"]
    facts = {key: [bool(c["twins"]), c["focal_gamma"], c["random_offset"], c["augment"]] for key, c in configs.items()}
    assert facts == {
        "baseline": [False, 0.0, False, None],
        "balanced": [False, 2.0, True, "axial"],
        "proposed": [True, 2.0, True, "axial"],
    }


def test_target_and_number_of_folds_of_the_config_are_those_of_a_list_that_is_made(scans: dict[str, Path]) -> None:
    bundle = Bundle(BUNDLE, ("spes.json",), {"target": "core", "fold_count": 2})
    plan, content = make_plan(bundle, dataset_dir=scans["spes"])
    assert (content["target"], plan.folds) == ("core", (0, 1))
    assert make_plan(bundle, dataset_dir=scans["spes"], folds=4)[0].folds == (0, 1, 2, 3)


def test_settings_that_the_rows_differ_in_cannot_be_set_for_all() -> None:
    from monai_isles.errors import IslesError

    with pytest.raises(IslesError, match="E-REPR-01(?s:.*)twins"):
        Study(BUNDLE, settings={"twins": []})
