"""A cross-validation is refused before any work when a subject, a scan or a fold is not as it must be."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from monai_isles.bundle.bundle import Bundle
from monai_isles.crossval.out_of_fold import find_out_of_fold
from monai_isles.crossval.plan import Plan, make_plan, read_plan, require_same_plan
from monai_isles.crossval.run import FoldBar, fold_steps
from monai_isles.data import make_datalist
from monai_isles.errors import IslesError
from monai_isles.io import publish_json
from monai_isles.io.payload import sha256_of
from monai_isles.io.publish import publish_text

BUNDLE = Path(__file__).parents[2] / "bundles/clerigues"
Change = Callable[[list[dict]], None]


@pytest.fixture(scope="module")
def content(phantom_folder: Path) -> dict:
    return make_datalist(phantom_folder, folds=2)


@pytest.fixture
def plan(phantom_folder: Path, content: dict, tmp_path: Path) -> Callable[..., Plan]:
    def make(change: Change = lambda entries: None, settings: dict | None = None, **chosen: object) -> Plan:
        changed = json.loads(json.dumps(content))
        change(changed["training"])
        publish_json(tmp_path / "list.json", changed)
        bundle = Bundle.open(BUNDLE, settings=settings)
        return make_plan(bundle, **{"data_list": tmp_path / "list.json", "dataset_dir": phantom_folder, **chosen})[0]

    return make


def spread(entries: list[dict]) -> None:
    for fold, entry in enumerate(entries):
        entry.update(fold=fold, subject=f"subject_{fold}")


def test_a_planted_subject_in_two_folds_is_refused(plan: Callable[..., Plan]) -> None:
    def plant(entries: list[dict]) -> None:
        spread(entries)
        entries[2]["subject"] = entries[0]["subject"]

    with pytest.raises(IslesError, match=r"E-LIST-07: a subject is in two folds(?s:.*)case_3 in fold 2"):
        plan(plant)


def test_a_scan_that_goes_by_two_names_in_two_folds_is_refused(
    plan: Callable[..., Plan], phantom_folder: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(phantom_folder, tmp_path / "data")

    def plant(entries: list[dict]) -> None:
        spread(entries)
        shutil.copyfile(copy / entries[0]["ct"], copy / entries[1]["ct"])

    with pytest.raises(IslesError, match=r"E-XVAL-06: the same scan is in two folds(?s:.*)subject_0 and subject_1"):
        plan(plant, dataset_dir=copy)


@pytest.mark.parametrize(("name", "value"), [("max_epochs", "abc"), ("max_epochs", 0), ("patience", "a")])
def test_a_setting_of_another_kind_is_refused(plan: Callable[..., Plan], name: str, value: object) -> None:
    with pytest.raises(IslesError, match=rf"E-TRAIN-22(?s:.*)where --set {name}\n  found {value!r}"):
        plan(settings={name: value})


def test_too_few_folds_are_refused(plan: Callable[..., Plan]) -> None:
    with pytest.raises(IslesError, match=r"E-XVAL-04: the data list has too few folds(?s:.*)3 for the nested"):
        plan(protocol="nested")
    with pytest.raises(IslesError, match=r"E-XVAL-04(?s:.*)1 cases without a fold"):
        plan(lambda entries: entries[0].pop("fold"))
    assert plan(protocol="paper").folds == (0, 1)


def test_another_number_of_folds_than_the_lists_is_refused(plan: Callable[..., Plan]) -> None:
    with pytest.raises(IslesError, match=r"E-XVAL-05(?s:.*)requested 4, the list has 2"):
        plan(folds=4)
    assert plan(folds=2).folds == (0, 1)


def test_paper_watches_the_scored_fold_and_nested_the_next_one(plan: Callable[..., Plan]) -> None:
    paper, nested = plan(spread), plan(spread, protocol="nested")
    assert [(paper.stopping_fold(k), paper.held_out_folds(k)) for k in paper.folds] == [(0, []), (1, []), (2, [])]
    assert [(nested.stopping_fold(k), nested.held_out_folds(k)) for k in nested.folds] == [(1, [0]), (2, [1]), (0, [2])]


def test_a_nested_training_never_sees_the_scored_scans(plan: Callable[..., Plan], tmp_path: Path) -> None:
    nested = plan(spread, protocol="nested")
    fold_steps(nested, tmp_path / "run", 2, strict=True)
    assert json.loads((tmp_path / "run/fold_2/settings.json").read_text())["strict"] is True
    publish_json(tmp_path / "run/data_list.json", json.loads((tmp_path / "list.json").read_text()))
    train, predict = fold_steps(nested, tmp_path / "run", 2)
    assert train.command[1:5] == ["-m", "monai.bundle", "run", "training"] and predict.command[-1] == "2"
    files = [str(BUNDLE / "train.json"), str(tmp_path / "run/fold_2/settings.json")]
    assert train.command[-1] == repr(files)
    config = ConfigParser(ConfigParser.load_config_files(files))
    seen = {part: config.get_parsed_content(f"{part}#dataset#data") for part in ("train", "validate")}
    assert nested.cases[2] == ["case_3"]
    assert {part: [entry["case"] for entry in entries] for part, entries in seen.items()} == {
        "train": ["case_2"], "validate": ["case_1"],
    }  # fmt: skip


def test_only_what_is_left_of_a_fold_is_done(plan: Callable[..., Plan], tmp_path: Path) -> None:
    made, fold = plan(), tmp_path / "fold_0"

    def left() -> list[str]:
        return [step.title for step in fold_steps(made, tmp_path, 0)]

    def predicted(outcome: str) -> None:
        cases = {case: {"outcome": outcome} for case in made.cases[0]}
        publish_json(fold / "predicted.json", {"weights_sha256": sha256_of(fold / "model.pt"), "cases": cases})

    assert left() == ["training", "prediction"]
    publish_json(fold / "run.json", {})
    (fold / "model.pt").write_text("weights")
    assert left() == ["prediction"]
    predicted("ok")
    assert left() == ["prediction"]  # the maps themselves are not there
    for case in made.cases[0]:
        publish_text(tmp_path / "predictions" / case / "probability.nii.gz", "map")
    assert left() == []
    predicted("failed")
    assert left() == ["prediction"]
    predicted("ok")
    (fold / "model.pt").write_text("other weights")
    assert left() == ["prediction"]


def test_a_plan_survives_the_disk_and_another_one_is_refused(plan: Callable[..., Plan], tmp_path: Path) -> None:
    first = plan(settings={"max_epochs": 1})
    publish_json(tmp_path / "run/crossval.json", first.record())
    assert read_plan(tmp_path / "run") == first and read_plan(tmp_path) is None
    require_same_plan(first, tmp_path / "run")
    with pytest.raises(IslesError, match=r"E-XVAL-07: another cross-(?s:.*)settings max_epochs was 1, is 2"):
        require_same_plan(plan(settings={"max_epochs": 2}), tmp_path / "run")
    with pytest.raises(IslesError, match=r"E-XVAL-07(?s:.*)folds was \[0, 1\], is \[0, 1, 2\](?s:.*)and \d more"):
        require_same_plan(plan(spread, settings={"max_epochs": 2}), tmp_path / "run")


def test_the_smallest_lesions_of_the_bundle_are_part_of_the_plan(
    phantom_folder: Path, content: dict, tmp_path: Path
) -> None:
    own = Path(shutil.copytree(BUNDLE, tmp_path / "own", ignore=shutil.ignore_patterns("models", "docs")))
    publish_json(own / "paper.json", Bundle(own).paper | {"sizes_vox": [10, 20]})
    publish_json(tmp_path / "list.json", content)
    plan, _ = make_plan(own, data_list=tmp_path / "list.json", dataset_dir=phantom_folder)
    publish_json(tmp_path / "run/crossval.json", plan.record())
    assert plan.sizes_vox == (10, 20) and read_plan(tmp_path / "run") == plan


def test_a_moved_data_folder_is_named_to_crossval(plan: Callable[..., Plan], content: dict, tmp_path: Path) -> None:
    publish_json(tmp_path / "run/crossval.json", plan().record() | {"dataset_dir": str(tmp_path / "moved")})
    publish_json(tmp_path / "run/data_list.json", content)
    with pytest.raises(IslesError, match=r"E-LIST-02(?s:.*)repeat crossval with its new --dataset-dir"):
        find_out_of_fold(tmp_path / "run")


@pytest.mark.parametrize("text", ["{", "[]", '{"bundle": "b"}'])
def test_a_damaged_plan_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "crossval.json").write_text(text)
    with pytest.raises(IslesError, match="E-XVAL-08: the plan of this cross-validation cannot be read"):
        read_plan(tmp_path)


def test_the_bar_counts_epochs_and_cases_of_all_folds(
    plan: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = plan(settings={"max_epochs": 10})
    (tmp_path / "fold_0").mkdir()
    (tmp_path / "fold_0/curves.csv").write_text("epoch,loss\n1,0.5\n2,0.4\n")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with FoldBar(made, tmp_path) as bar:
        assert bar.finished_counts(0) == (2, 0) and bar.finished_counts(1) == (0, 0)
        bar.show({0: "training"})
        (tmp_path / "fold_0/run.json").write_text("{}")
        publish_json(tmp_path / "predictions" / made.cases[0][0] / "result.json", {})
        assert bar.finished_counts(0) == (10, 1)
        bar.show({0: "prediction"})
    said = capsys.readouterr().err
    assert "fold 0 training epoch 2/10" in said and f"fold 0 prediction case 1/{len(made.cases[0])}" in said
    assert "11/23" in said  # 2 folds of 10 epochs and 3 cases


def test_a_case_with_a_missing_file_is_left_out_of_plan_and_list_and_strict_refuses_it(
    phantom_folder: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(phantom_folder, tmp_path / "data"))
    listed = tmp_path / "list.json"
    publish_json(listed, make_datalist(data, folds=2))
    next((data / "TRAINING/case_2").glob("*.CT_MTT.*/*.nii")).unlink()
    plan, content = make_plan("clerigues", data_list=listed, dataset_dir=data)
    assert sorted(name for names in plan.cases.values() for name in names) == ["case_1", "case_3"]
    assert [one["case"] for one in content["training"]] == ["case_1", "case_3"]
    assert list(plan.left_out) == ["case_2"] and plan.left_out["case_2"].startswith("E-LIST-02")
    with pytest.raises(IslesError, match="E-LIST-02"):
        make_plan("clerigues", data_list=listed, dataset_dir=data, strict=True)


@pytest.mark.parametrize("given", [True, False], ids=["list-given", "list-made"])
def test_data_with_a_case_left_out_can_be_moved(given: bool, phantom_folder: Path, tmp_path: Path) -> None:
    here, there = Path(shutil.copytree(phantom_folder, tmp_path / "here")), tmp_path / "there"
    publish_json(tmp_path / "list.json", make_datalist(here, folds=2))
    chosen = {"data_list": tmp_path / "list.json"} if given else {"folds": 2}
    fault = next((here / "TRAINING/case_2").glob("*.OT.*/*.nii"))
    fault.unlink() if given else fault.write_bytes(b"no image")
    first, _ = make_plan("clerigues", dataset_dir=here, **chosen)
    assert str(here) in first.left_out["case_2"]
    publish_json(tmp_path / "run/crossval.json", first.record())
    here.rename(there)
    require_same_plan(make_plan("clerigues", dataset_dir=there, **chosen)[0], tmp_path / "run")


def test_a_fold_of_which_no_case_is_left_is_neither_trained_nor_scored(plan: Callable[..., Plan]) -> None:
    def lose(entries: list[dict]) -> None:
        spread(entries)
        entries[1]["label"] = "TRAINING/none.nii"

    left = plan(lose, protocol="paper")
    assert left.folds == (0, 2) and left.cases == {0: ["case_1"], 2: ["case_3"]} and list(left.left_out) == ["case_2"]
    with pytest.raises(IslesError, match=r"E-XVAL-04(?s:.*)folds \[0, 2\]"):
        plan(lose, protocol="nested")
