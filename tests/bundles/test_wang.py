"""The pseudo-DWI bundle trains by the verbatim command, with DWI and without, and writes what it synthesised."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from monai_isles.cli.main import main
from monai_isles.data import input_row, make_datalist
from monai_isles.bundle import Bundle
from monai_isles.io import publish_json
from monai_isles.transforms import perfusion_window
from tests.reliability.children import Forks, Shown

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "bundles/wang"
ROWS = [row["key"] for row in Bundle(BUNDLE).paper["rows"]]
UNLIKE = {"table1_l2_gan", "table1_wl2_h2", "table2_fo_fl_fh_free", "table2_real_dwi", "table3_fcn", "table4_ce_hgd",
          "table5_cta", "table5_dwi_olh_s"}  # fmt: skip
CONFIG = "['bundles/wang/train.json','bundles/wang/small.json']"


def train(server: Forks, folder: Path, content: dict, out: Path) -> Shown:
    publish_json(out.parent / "list.json", content)
    words = ["--data_list", str(out.parent / "list.json"), "--output_dir", str(out)]
    return server.bundle_run("training", "--config_file", CONFIG, *words, ISLES2018_DIR=str(folder))


@pytest.fixture(scope="module")
def trained(series_folder: Path, server: Forks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("train") / "run"
    done = train(server, series_folder, make_datalist(series_folder, folds=2), out)
    assert done.code == 0, done.text
    return out


def test_the_verbatim_command_trains_on_series_maps_dwi_and_lesion(trained: Path) -> None:
    names = {"checkpoint-0001.pt", "curves.csv", "data_list.json", "model.pt", "run.json"}
    assert {p.name for p in trained.iterdir()} == names
    with (trained / "curves.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert float(row["train_loss"]) > 0 and float(row["val_loss"]) > 0 and 0 <= float(row["val_dsc"]) <= 1
    said = json.loads((trained / "run.json").read_text())["settings"]["inputs"]
    assert said == "dwi_olh: segmented from pseudo-DWI from cbf, cbv, mtt, tmax, mip, frames"


def test_data_without_dwi_train_the_maps_alone_and_say_so(series_folder: Path, server: Forks, tmp_path: Path) -> None:
    content = make_datalist(series_folder, folds=2)
    for case in content["training"]:
        del case["dwi"], case["ctp"]
    done = train(server, series_folder, content, tmp_path / "run")
    assert done.code == 0, done.text
    said = "none of the 3 training cases has a DWI: training fo instead of dwi_olh"
    assert said in done.text
    record = json.loads((tmp_path / "run/run.json").read_text())["settings"]
    assert record["inputs"] == f"fo: segmented from cbf, cbv, mtt, tmax ({said})" and "SLNet" in record["network"]
    assert "PseudoDWINet" not in record["network"]


def test_predict_writes_the_pseudo_dwi_and_says_that_it_is_synthetic(
    trained: Path, series_folder: Path, tmp_path: Path
) -> None:
    case = series_folder / "TRAINING/case_1"
    words = ["--overlay", "small.json", "--weights", str(trained / "model.pt"), "--out", str(tmp_path / "out")]
    assert main(["predict", str(case), "--bundle", str(BUNDLE), "--device", "cpu", *words]) == 0
    written = {p.name for p in (tmp_path / "out/case_1").iterdir()}
    assert written == {"lesion.nii.gz", "probability.nii.gz", "pseudo_dwi.nii.gz", "report.html", "result.json"}
    image = nibabel.load(tmp_path / "out/case_1/pseudo_dwi.nii.gz")
    source = nibabel.load(next(case.glob("*MR_DWI*/*.nii")))
    assert image.header["descrip"] == b"synthetic pseudo-DWI, not an acquisition"
    assert image.shape == source.shape and np.allclose(image.affine, source.affine)
    assert np.ptp(image.get_fdata()) > 0
    stage = json.loads((tmp_path / "out/case_1/result.json").read_text())["perfusion_stage"]
    series = np.asarray(nibabel.load(next(case.glob("*4DPWI*/*.nii*"))).dataobj, np.float64)
    curve = series.reshape(-1, series.shape[-1]).sum(0)
    window = perfusion_window(curve, 5)
    assert (stage["t_s"], stage["t_e"], stage["fallbacks"]) == (window.t_s, window.t_e, list(window.fallbacks))
    np.testing.assert_allclose(stage["curve"], curve, rtol=1e-4)
    said = f"Perfusion stage: frames {window.t_s + 1} to {window.t_e + 1} of {len(curve)}"
    assert said in (tmp_path / "out/case_1/report.html").read_text()


@pytest.mark.long
def test_the_series_alone_is_segmented_without_any_map(
    series_folder: Path, tmp_path: Path, forked_folds: None
) -> None:
    content = make_datalist(series_folder, folds=2)
    del content["training"][1:-1]
    for case in content["training"]:
        for key in ("ct", "cbf", "cbv", "mtt", "tmax", "dwi"):
            del case[key]
    publish_json(tmp_path / "list.json", content)
    words = ["--data-list", str(tmp_path / "list.json"), "--dataset-dir", str(series_folder)]
    words += ["--out", str(tmp_path / "cv")]
    assert main(["crossval", str(BUNDLE), *words, "--overlay", "table5_cta", "small.json"]) == 0
    record = json.loads((tmp_path / "cv/fold_0/run.json").read_text())["settings"]
    assert record["inputs"] == "cta: segmented from frames"
    assert len(list((tmp_path / "cv/predictions").glob("*/probability.nii.gz"))) == 2


@pytest.mark.parametrize("name", [pytest.param(row, marks=[] if row in UNLIKE else [pytest.mark.long]) for row in ROWS])
def test_every_row_builds_and_gets_gradients_wherever_it_learns(name: str) -> None:
    config = Bundle(BUNDLE, ("small.json", name)).config("train")
    config.update({"cases": {"training": [{"dwi": "there"}]}, "max_epochs": 3})
    config.update({"device": {"_target_": "monai_isles.training.pick_device", "name": "cpu"}})
    row, network, loss = (config.get_parsed_content(key) for key in ("row", "network", "loss"))
    assert config["modalities"] == row.reads and config["without_dwi"] is None
    sizes = {"mip": 1, "frames": 6}
    image = torch.randn(2, sum(sizes.get(key, 1) for key in row.channels), 64, 64)
    target = torch.rand(2, len(row.target), 64, 64)
    target[:, 0] = (target[:, 0] > 0.9).float()
    loss(network(image), target).backward()
    silent = {n.split(".")[0] for n, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()}
    assert not silent


@pytest.mark.parametrize("use", ["train", "inference"])
def test_the_row_cta_takes_as_many_frames_as_the_config_asks_for(use: str) -> None:
    config = Bundle(BUNDLE, ("small.json", "table5_cta"), {"frames": 8}).config(use)
    config.update({"cases": {}, "device": {"_target_": "monai_isles.training.pick_device", "name": "cpu"}})
    assert config.get_parsed_content("network").eval()(torch.zeros(1, 8, 32, 32)).shape == (1, 2, 32, 32)


def test_the_rows_are_those_of_the_five_tables() -> None:
    counts = [sum(name.startswith(f"table{number}_") for name in ROWS) for number in range(1, 6)]
    assert counts == [7, 5, 7, 6, 8]


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("table1_l2_gan", {"inputs": "dwi_o", "synthesis": "l2+gan", "terms": ["ce"]}),
        ("table2_fo_fl_fh_free", {"inputs": "dwi_olh", "explicit": False, "terms": ["ce"]}),
        ("table4_ce_hgd", {"inputs": "fo", "terms": ["ce", "hgd"]}),
        ("table5_dwi_olh_s", {"inputs": "dwi_olh", "stages": [["extractor"], ["generator"], ["segmenter"]]}),
    ],
)
def test_a_row_changes_what_its_table_says(name: str, changed: dict) -> None:
    overlay = Bundle(BUNDLE).overlay(name)
    assert {key: overlay[key] for key in changed} == changed


def test_training_and_inference_prepare_a_case_in_the_same_way() -> None:
    train, inference = (json.loads((BUNDLE / f"{name}.json").read_text()) for name in ("train", "inference"))
    inference["preprocessing"]["transforms"][-1]["keys"].remove("ctp_window")  # kept for result.json alone
    shared = ("preprocessing", "network_def", "pipeline", "segmenter", "network", "modalities", "inputs", "frames",
              "run_length", "base_channels", "lesion_weight", "weight_decay_vox")  # fmt: skip
    assert all(train[key] == inference[key] for key in shared)
    assert inference["modalities"] == input_row(inference["inputs"]).reads


def test_the_default_settings_are_the_papers() -> None:
    train = json.loads((BUNDLE / "train.json").read_text())
    paper = {"inputs": "dwi_olh", "frames": 6, "run_length": 5, "lesion_weight": 1.5, "weight_decay_vox": 50.0,
             "terms": ["wce", "hgd"], "synthesis": "w-l2+h1", "alpha": 1.0, "beta": 1.0, "gamma": 1.2,
             "batch_size": 5, "max_epochs": 300, "lr": 0.002, "lr_factor": 0.2, "base_channels": 64}  # fmt: skip
    assert {key: train[key] for key in paper} == paper
    assert train["max_epochs"] * train["lr_decay_at"] == 180
    assert train["optimizer"]["_target_"] == "torch.optim.RMSprop" and (train["metric"], train["mode"]) == (
        "val_dsc",
        "max",
    )


def test_every_config_passes_the_allow_list() -> None:
    assert Bundle(BUNDLE).judge() == []
