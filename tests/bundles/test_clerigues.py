"""The CT bundle trains by the verbatim command, evaluates, infers, resumes, and refuses wrong input in four lines."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_isles.bundle import Bundle
from monai_isles.cli.main import main
from monai_isles.data import make_datalist
from monai_isles.io import load_state, publish_json
from monai_isles.papers import reproduce
from monai_isles.phantom import make_dataset
from tests.reliability.children import Forks

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "bundles/clerigues"
TINY = ("--patches_per_case", "16", "--validation_step", "[64,64]")


@pytest.fixture(scope="module")
def trained(phantom_folder: Path, data_list: Path, server: Forks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("train") / "run"
    done = server.bundle_run(
        "training", "--config_file", "bundles/clerigues/train.json", "--data_list", str(data_list),
        "--output_dir", str(out), "--max_epochs", "1", *TINY, ISLES2018_DIR=str(phantom_folder),
    )  # fmt: skip
    assert done.code == 0, done.text
    return out


def test_the_verbatim_command_trains_on_the_folder_that_the_environment_names(trained: Path) -> None:
    assert {p.name for p in trained.iterdir()} == {
        "checkpoint-0001.pt", "curves.csv", "data_list.json", "model.pt", "run.json"
    }  # fmt: skip
    with (trained / "curves.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert 0 < float(row["val_l1_error"]) < 2 and 0 <= float(row["val_dsc"]) <= 1 and float(row["train_loss"]) > 0
    assert "1 epochs" in json.loads((trained / "run.json").read_text())["outcome"]


@pytest.mark.long
def test_a_finished_run_is_refused_with_four_lines_and_exit_code_four(
    trained: Path, phantom_folder: Path, data_list: Path, server: Forks
) -> None:
    done = server.bundle_run(
        "training", "--config_file", "bundles/clerigues/train.json", "--data_list", str(data_list),
        "--dataset_dir", str(phantom_folder), "--output_dir", str(trained), *TINY,
    )  # fmt: skip
    assert done.code == 4 and "E-TRAIN-02: this run is finished already" in done.text
    assert "Traceback" not in done.text


def test_evaluation_writes_the_metrics_of_every_validation_case(
    trained: Path, phantom_folder: Path, data_list: Path, server: Forks, tmp_path: Path
) -> None:
    done = server.bundle_run(
        "evaluating", "--config_file", "['bundles/clerigues/train.json','bundles/clerigues/evaluate.json']",
        "--data_list", str(data_list), "--dataset_dir", str(phantom_folder), "--output_dir", str(trained),
        "--evaluation_dir", str(tmp_path), "--step", "[64,64]", "--mc_passes", "2", "--patches_per_case", "8",
    )  # fmt: skip
    assert done.code == 0, done.text
    rows = (tmp_path / "val_dsc_raw.csv").read_text().splitlines()
    cases = {e["case"] for e in json.loads(data_list.read_text())["training"] if e["fold"] == 0}
    assert {row.split(",")[0] for row in rows[1:]} == cases


@pytest.mark.long
def test_inference_by_config_writes_maps_for_every_case(
    trained: Path, phantom_folder: Path, server: Forks, tmp_path: Path
) -> None:
    done = server.bundle_run(
        "--config_file", "bundles/clerigues/inference.json", "--dataset_dir", str(phantom_folder),
        "--section", "training", "--weights", str(trained / "model.pt"), "--output_dir", str(tmp_path / "out"),
        "--step", "[32,32]", "--mc_passes", "2",
    )  # fmt: skip
    assert done.code == 0, done.text
    for number in (1, 2, 3):
        written = {p.name for p in (tmp_path / f"out/case_{number}").iterdir()}
        assert written == {"lesion.nii.gz", "probability.nii.gz", "uncertainty.nii.gz"}


@pytest.mark.parametrize("name", ["train", "evaluate", "inference", "demo", "released", "multi_gpu_train", "metadata"])
def test_every_config_is_sound_json_and_passes_the_allow_list(name: str) -> None:
    assert json.loads((BUNDLE / f"{name}.json").read_text())
    assert Bundle(BUNDLE).judge() == []


def test_training_and_inference_prepare_a_case_in_the_same_way() -> None:
    train, inference = (json.loads((BUNDLE / f"{name}.json").read_text()) for name in ("train", "inference"))
    assert train["network_def"].pop("norm_momentum") == "@norm_momentum"  # of training alone
    for key in ("preprocessing", "network_def", "modalities", "channels", "patch", "border"):
        assert train[key] == inference[key], key


def test_the_default_settings_are_the_papers() -> None:
    train = json.loads((BUNDLE / "train.json").read_text())
    paper = {"patches_per_case": 4000, "batch_size": 64, "patch": [64, 64], "max_epochs": 100, "patience": 10,
             "elastic": {"alpha": 2.5, "sigma": 0.12}, "gdl_power": 2.0}  # fmt: skip
    assert {key: train[key] for key in paper} == paper
    assert (train["optimizer"]["_target_"], train["optimizer"]["rho"]) == ("torch.optim.Adadelta", 0.95)
    inference = json.loads((BUNDLE / "inference.json").read_text())
    paper = {"step": [3, 3], "mc_passes": 3, "mc_rate": 0.1}
    assert {key: inference[key] for key in paper} == paper


def test_the_letter_is_an_overlay_of_what_differs_by_default() -> None:
    letter = {"centres": "fixed", "flip": 0.0, "vary": None, "norm_momentum": 0.01, "average": 0.0,
              "normalise_over": "volume"}  # fmt: skip
    assert json.loads((BUNDLE / "letter.json").read_text()) == letter
    assert letter.items() <= json.loads((BUNDLE / "released.json").read_text()).items()
    config = Bundle(BUNDLE, ("letter.json",)).config("train")
    assert {key: config[key] for key in letter} == letter
    assert Bundle(BUNDLE, ("letter.json",)).config("inference")["normalise_over"] == "volume"


@pytest.mark.parametrize(("metric", "mode"), [("val_l1_error", "min"), ("val_loss", "min"), ("val_accuracy", "max")])
def test_the_epoch_of_the_best_value_is_kept_whatever_metric_stops(metric: str, mode: str) -> None:
    config = Bundle(BUNDLE, settings={"stop_metric": metric}).config("train")
    assert config.get_parsed_content("mode") == mode
    assert {config[f"train#{part}#mode"] for part in ("early_stop", "checkpoints")} == {"@mode"}


def test_a_missing_data_folder_is_refused_before_any_work(server: Forks, tmp_path: Path) -> None:
    done = server.bundle_run(
        "training", "--config_file", "bundles/clerigues/train.json", "--output_dir", str(tmp_path / "run"),
        ISLES2018_DIR=str(tmp_path / "nowhere"),
    )  # fmt: skip
    assert done.code == 4 and "E-PHAN-04" in done.text and not (tmp_path / "run").exists()


@pytest.mark.long
def test_the_baseline_trains_two_networks_predicts_and_stands_in_both_tables(
    phantom_folder: Path, data_list: Path, tmp_path: Path, forked_folds: None
) -> None:
    out, other = tmp_path / "out", make_dataset(tmp_path / "unseen", cases=1, seed=6, series=False, max_slices=2)
    settings = ["patches_per_case=16", "max_epochs=1", "step=[24,24]", "validation_step=[24,24]", "patience=1"]
    words = ["clerigues", "--table", "1", "2", "--rows", "baseline", "--data-list", str(data_list), "--no-threshold"]
    words += ["--dataset-dir", str(phantom_folder), "--unseen", str(other), "--out", str(out), "--set", *settings]
    assert reproduce.main(words) == 0
    with (out / "baseline/paper/fold_0/curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 and all(0 < float(row["val_dice_loss"]) < 1 for row in rows)  # one epoch a network
    record = json.loads((out / "baseline/paper/fold_0/run.json").read_text())
    assert "best val_dice_loss" in record["outcome"] and "in epoch 2" in record["outcome"]
    assert "'ce'" in record["settings"]["loss"] and "patch=[1, 48, 48]" in record["settings"]["patches"]
    weights = load_state(out / "baseline/paper/fold_0/model.pt")
    assert {key.split(".")[0] for key in weights} == {"first", "second"}
    assert weights["second.first.weight"].shape[:2] == (8, 6) and weights["first.first.weight"].shape[:2] == (8, 5)
    for table, printed in (("table", "0.49"), ("table2", "0.49")):
        with (out / f"{table}.csv").open(encoding="utf-8") as file:
            ours, theirs = [line for line in csv.DictReader(file)][:2]
        assert (ours["kind"], theirs["dsc_mean"]) == ("ours", printed) and 0 <= float(ours["dsc_mean"]) <= 1
    assert ours["n"] == "1" and theirs["row"] == "clera2 (ours)"
    case, found = other / "TRAINING/case_1", tmp_path / "pred"
    given = ["--bundle", str(BUNDLE), "--overlay", "letter.json", "baseline", "--step", "24"]
    files = [str(out / f"baseline/paper/fold_{fold}/model.pt") for fold in (0, 1)]
    pair = ["--threshold", ours["threshold_mean"], "--min-size", ours["min_size_vox_mean"]]
    assert main(["predict", str(case), *given, *pair, "--weights", *files, "--no-report", "--out", str(found)]) == 0
    masks = [nibabel.load(next(path.rglob("lesion.nii.gz"))).get_fdata() for path in (found, out / "unseen")]
    np.testing.assert_array_equal(*masks)  # the command predicts what the table scored


@pytest.mark.parametrize("name", ["cascade", "cross_entropy", "dice_stop", "patch_48", "one_pass"])
def test_every_part_of_the_baseline_is_an_overlay_of_its_own(name: str) -> None:
    changed = Bundle(BUNDLE, (name,)).overlay(name)
    config, plain = Bundle(BUNDLE, (name,)).config("train").get(), Bundle(BUNDLE).config("train").get()
    differing = {key for key, value in config.items() if value != plain.get(key)}
    assert differing == {key.removeprefix("+").split("#")[0] for key in changed}
