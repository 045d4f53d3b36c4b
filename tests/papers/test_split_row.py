"""One row on the local split: trained once, the test part seen by nobody, its numbers those of the test scans."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from monai_isles.bundle import Bundle
from monai_isles.crossval.plan import PARTS, SPLIT, split_counts, split_list
from monai_isles.data import make_datalist
from monai_isles.errors import IslesError
from monai_isles.io import publish_json
from monai_isles.networks import SLNet
from monai_isles.papers.by_split import parameters_m, training_of
from monai_isles.papers.study import PaperRow, Study, train_scored

BUNDLE = Path(__file__).parents[2] / "bundles/wang"
FO = PaperRow("table5", "F_o", "table5_fo", ("table5_fo",))


@pytest.fixture(scope="module")
def parts_list(phantom_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scans, one a part: case_1 validation, case_2 test, case_3 training."""
    content = make_datalist(phantom_folder, folds=2)
    for n, case in enumerate(sorted(content["training"], key=lambda case: case["case"])):
        case |= {"fold": n, "subject": f"subject_{n}"}
    content["folds"] = {"count": 3, "seed": 0, "balanced": ["cases"], "parts": PARTS}
    path = tmp_path_factory.mktemp("list") / "list.json"
    publish_json(path, content)
    return path


@pytest.mark.long
def test_a_row_is_trained_on_one_part_validated_on_another_scored_on_the_third_and_not_done_again(
    phantom_folder: Path, parts_list: Path, tmp_path: Path
) -> None:
    study = Study(BUNDLE, parts_list, phantom_folder, overlays=("small.json",))
    done = train_scored(study, FO, tmp_path / "fo", protocol=SPLIT, listed=parts_list)
    assert [line["case"] for line in done.cases] == ["case_2"] and 0 <= done.cases[0]["dsc"] <= 1
    run = json.loads((tmp_path / "fo/fold_1/run.json").read_text())
    assert "cases=['case_3']" in run["settings"]["slices"] and "cases=['case_1']" in run["settings"]["validation"]
    assert training_of(done) == {"outcome": run["outcome"], "seconds": run["seconds"]}
    assert [path.name for path in (tmp_path / "fo/predictions").iterdir() if path.is_dir()] == ["case_2"]
    small = SLNet(4, base_channels=2)
    assert parameters_m(done.predictions.plan) == pytest.approx(sum(p.numel() for p in small.parameters()) / 1e6)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "fo").rglob("*.nii.gz")}
    again = train_scored(study, FO, tmp_path / "fo", protocol=SPLIT, listed=parts_list)
    assert again.cases == done.cases and {path: path.stat().st_mtime_ns for path in before} == before
    record = json.loads((tmp_path / "fo/run.json").read_text())
    assert record["folds"] == {"1": {"outcome": "done before"}}


def test_another_budget_in_the_same_folder_is_refused(phantom_folder: Path, parts_list: Path, tmp_path: Path) -> None:
    study = Study(BUNDLE, parts_list, phantom_folder, overlays=("small.json",))
    begun = {"bundle": "", "dataset_dir": "", "protocol": "split", "folds": [1], "cases": {"1": ["case_2"]},
             "overlays": ["table5_fo"], "settings": {}, "modalities": ["cbf"], "max_epochs": 9, "data_name": "x",
             "simulated": True, "fingerprints": {}}  # fmt: skip
    publish_json(tmp_path / "fo/crossval.json", begun)
    with pytest.raises(IslesError, match=r"E-XVAL-07(?s:.*)overlays was \['table5_fo'\]"):
        train_scored(study, FO, tmp_path / "fo", protocol=SPLIT, listed=parts_list)


def test_a_list_of_parts_stays_and_another_is_split_by_subject(
    phantom_folder: Path, parts_list: Path, tmp_path: Path
) -> None:
    content = split_list(Bundle(BUNDLE).config("train"), tmp_path, phantom_folder, parts_list)
    assert content == json.loads(parts_list.read_text()) and split_counts(content) == (1, 1, 1)
    plain = {**content, "folds": {"count": 3, "seed": 0, "balanced": ["cases"]}}
    publish_json(tmp_path / "plain.json", plain)
    for seed in range(3):
        made = split_list(Bundle(BUNDLE).config("train"), tmp_path, phantom_folder, tmp_path / "plain.json", seed=seed)
        assert made["folds"]["parts"] == PARTS and made["folds"]["seed"] == seed and split_counts(made) == (1, 1, 1)
    assert json.loads((tmp_path / "split.json").read_text()) == made


def test_a_split_without_test_scans_is_refused() -> None:
    with pytest.raises(
        IslesError, match="E-REPR-34: the split lacks a part(?s:.*)2 scans to train, 1 to validate, 0 to"
    ):
        split_counts({"training": [{"fold": 2}, {"fold": 2}, {"fold": 0}]})
