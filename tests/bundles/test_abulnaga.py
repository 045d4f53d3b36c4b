"""The bundle of Abulnaga & Rubin trains by the verbatim command, with every overlay, on slices and on volumes."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import onnxruntime
import pytest
import torch
from monai.bundle import ConfigParser

from monai_isles.cli.main import main as isles
from monai_isles.data import load_entries, make_datalist, measured_lesion_share
from monai_isles.errors import find_isles_error
from monai_isles.export.bundle import export_bundle
from monai_isles.bundle import Bundle
from monai_isles.io import load_state, publish_json
from monai_isles.io.weights import publish_state
from monai_isles.networks import PSPNet
from monai_isles.papers import reproduce
from tests.reliability.children import Forks

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "bundles/abulnaga"
CONFIGS = sorted(path.stem for path in BUNDLE.glob("*.json"))
Train = Callable[..., tuple[Path, ConfigParser]]


def read(name: str) -> dict:
    return json.loads((BUNDLE / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def trained(phantom_folder: Path, data_list: Path, server: Forks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("train") / "run"
    done = server.bundle_run(
        "training", "--config_file", "['bundles/abulnaga/train.json','bundles/abulnaga/small.json']",
        "--data_list", str(data_list), "--output_dir", str(out), ISLES2018_DIR=str(phantom_folder),
    )  # fmt: skip
    assert done.code == 0, done.text
    return out


@pytest.fixture
def train(phantom_folder: Path, data_list: Path, tmp_path: Path) -> Train:
    """Return a function that trains one small epoch with overlays, and gives the folder and the configuration."""

    def run(*overlays: str, **settings: object) -> tuple[Path, ConfigParser]:
        files = [str(BUNDLE / f"{name}.json") for name in ("train", *overlays, "small")]
        parser = ConfigParser(ConfigParser.load_config_files(files))
        out = tmp_path / "-".join(("run", *overlays))
        data = {"data_list": str(data_list), "dataset_dir": str(phantom_folder), "output_dir": str(out)}
        parser.update({**data, **settings})
        torch.manual_seed(0)
        trainer = parser.get_parsed_content("train#trainer")
        parser.get_parsed_content("train#checkpoints").resume(trainer)
        trainer.run()
        return out, parser

    return run


def record(out: Path) -> dict[str, str]:
    return json.loads((out / "run.json").read_text(encoding="utf-8"))["settings"]


def test_the_verbatim_command_trains_from_scratch_and_says_so(trained: Path) -> None:
    assert {p.name for p in trained.iterdir()} == {
        "checkpoint-0001.pt", "curves.csv", "data_list.json", "model.pt", "run.json"
    }  # fmt: skip
    with (trained / "curves.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert 0 <= float(row["val_dsc"]) <= 1 and float(row["train_loss"]) > 0 and float(row["val_loss"]) > 0
    said = record(trained)
    assert said["start"] == "'trained from scratch'" and "weights: from scratch" in said["network"]
    assert "SoftmaxFocalLoss(gamma=1.0, alpha=None)" in said["loss"] and "RMSprop" in said["optimizer"]
    for setting in ("rotate_deg=10.0", "translate_frac=0.1", "scale=(0.9, 1.1)", "mode=('bilinear', 'nearest')"):
        assert setting in said["slices"]


def test_evaluation_writes_the_dice_of_every_validation_case(
    trained: Path, phantom_folder: Path, data_list: Path, server: Forks, tmp_path: Path
) -> None:
    files = ",".join(f"'bundles/abulnaga/{name}.json'" for name in ("train", "small", "evaluate"))
    done = server.bundle_run(
        "evaluating", "--config_file", f"[{files}]", "--data_list", str(data_list), "--dataset_dir",
        str(phantom_folder), "--output_dir", str(trained), "--evaluation_dir", str(tmp_path),
    )  # fmt: skip
    assert done.code == 0, done.text
    rows = (tmp_path / "val_dsc_raw.csv").read_text().splitlines()
    cases = {e["case"] for e in json.loads(data_list.read_text())["training"] if e["fold"] == 0}
    assert {row.split(",")[0] for row in rows[1:]} == cases


@pytest.mark.long
def test_inference_by_config_and_by_predict_give_the_same_map(
    trained: Path, phantom_folder: Path, server: Forks, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = "['bundles/abulnaga/inference.json','bundles/abulnaga/small.json']"
    done = server.bundle_run(
        "--config_file", files, "--dataset_dir", str(phantom_folder), "--section", "training",
        "--weights", str(trained / "model.pt"), "--output_dir", str(tmp_path / "config"),
    )  # fmt: skip
    assert done.code == 0, done.text
    case = str(next(iter((phantom_folder / "TRAINING").iterdir())))
    words = ["predict", case, "--bundle", str(BUNDLE), "--overlay", "small.json", "--weights"]
    assert isles([*words, str(trained / "model.pt"), "--out", str(tmp_path / "predict"), "--no-report"]) == 0, capsys
    name = Path(case).name
    maps = [nibabel.load(tmp_path / way / name / "probability.nii.gz") for way in ("config", "predict")]
    assert maps[0].shape[:2] == (256, 256)
    np.testing.assert_allclose(*(np.asarray(one.dataobj) for one in maps), atol=1e-6)
    assert not (tmp_path / "predict" / name / "uncertainty.nii.gz").exists()


@pytest.mark.parametrize(
    "name", ["unet2d", *(pytest.param(name, marks=pytest.mark.long) for name in ("unet3d", "vnet3d"))]
)
def test_the_networks_it_was_compared_with_train_and_predict_two_slice_scans(name: str, train: Train) -> None:
    out, parser = train(name, "cross_entropy")
    said = record(out)
    assert "gamma=0.0" in said["loss"] and "batch_size=1" in said["slices"] if name != "unet2d" else True
    assert parser.get_parsed_content("network_def").state_dict().keys() == load_state(out / "model.pt").keys()
    batch = next(iter(parser.get_parsed_content("train#dataloader")))
    sizes = {"unet2d": (256, 256), "unet3d": (256, 256, 2), "vnet3d": (256, 256, 2)}
    assert tuple(batch["image"].shape[2:]) == sizes[name] and batch["image"].shape[1] == 5
    # inference builds the same network under the same overlays
    inference = ConfigParser(
        ConfigParser.load_config_files([str(BUNDLE / f"{part}.json") for part in ("inference", name, "small")])
    )
    inference.get_parsed_content("network_def").load_state_dict(load_state(out / "model.pt"))


def test_weighted_cross_entropy_measures_its_weight_on_the_training_folds_alone(
    train: Train, phantom_folder: Path, data_list: Path
) -> None:
    out, parser = train("weighted_cross_entropy", "unet2d")
    entries = load_entries(data_list, phantom_folder, exclude=[0], keys=("ct",), need_label=True)
    loss = parser.get_parsed_content("loss")
    assert loss.lesion_share == pytest.approx(measured_lesion_share(entries)) and loss.reading == "paper"
    assert "WeightedCELoss(lesion_share=" in record(out)["loss"]


@pytest.mark.long
def test_a_backbone_trained_to_fill_in_a_hidden_map_is_a_start_for_the_segmentation(train: Train) -> None:
    out, parser = train("pretrain")
    batch = next(iter(parser.get_parsed_content("train#dataloader")))
    hidden = batch["image"][:, 1]
    assert not hidden.any() and float(batch["label"].std()) > 0.1 and tuple(batch["label"].shape[1:]) == (1, 256, 256)
    state = load_state(out / "model.pt")
    assert state["classifier.weight"].shape[0] == 1
    assert (out / "curves.csv").read_text().splitlines()[0] == "epoch,train_loss,val_loss,seconds"
    fine, config = train(pretrained=str(out / "model.pt"), frozen_epochs=1)
    said = record(fine)
    assert said["start"] == f"'pre-trained: {out / 'model.pt'}'" and "weights: from scratch" not in said["network"]
    after = load_state(fine / "model.pt")
    frozen = [key for key in state if key.startswith("backbone.") and "num_batches" not in key]
    assert frozen and all(torch.equal(state[key], after[key]) for key in frozen)
    assert not torch.equal(state["initializer.conv.weight"], after["initializer.conv.weight"])
    assert config.get_parsed_content("optimizer").param_groups[0]["lr"] == 0.01


def as_the_authors_name_it(network: PSPNet) -> dict[str, torch.Tensor]:
    """Return a state dictionary in the naming of the PSPNet authors' PyTorch version: deep stem, ppm, cls."""
    stem = {"conv1": 0, "bn1": 1, "conv2": 3, "bn2": 4, "conv3": 6, "bn3": 7}
    parts, named = {"conv": "1", "norm": "2"}, {}
    for name, value in network.state_dict().items():
        room, first, *rest = name.split(".")
        if room == "backbone":
            key = f"layer0.{stem[first]}.{rest[0]}" if first in stem else name.removeprefix("backbone.")
        elif room == "pyramid":
            key = f"ppm.features.{rest[0]}.{parts[rest[1]]}.{rest[2]}"
        else:
            key = (
                {"final.conv": "cls.0", "final.norm": "cls.1"}.get(f"{room}.{first}", "cls.4")
                + "."
                + (rest or [first])[0]
            )
        if room != "initializer":
            named[f"module.{key}"] = value
    return named


def test_weights_with_the_authors_deep_stem_are_loaded_trained_and_predicted_with(
    train: Train, phantom_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(3)
    donor = PSPNet(3, 21, base_channels=2, stem="deep128", dilate_first=True)
    publish_state(tmp_path / "voc.pth", {"epoch": 50, "state_dict": as_the_authors_name_it(donor)})
    with pytest.raises(RuntimeError) as stopped:
        train(pretrained=str(tmp_path / "voc.pth"))
    assert find_isles_error(stopped.value).code == "E-NET-23" and "stem" in str(find_isles_error(stopped.value))
    out, _ = train("deep_stem", pretrained=str(tmp_path / "voc.pth"), frozen_epochs=1)
    wanted, found = donor.state_dict(), load_state(out / "model.pt")
    held = [name for name in wanted if name.startswith(("backbone.", "pyramid.", "final.")) and "num_b" not in name]
    assert "backbone.conv3.weight" in held and all(torch.equal(wanted[name], found[name]) for name in held)
    command = ["predict", str(phantom_folder / "TRAINING/case_1"), "--bundle", str(BUNDLE), "--device", "cpu"]
    command += ["--weights", str(out / "model.pt"), "--overlay", "small.json"]
    assert isles([*command, "--out", str(tmp_path / "without")]) == 4
    assert "E-INF-12" in capsys.readouterr().err
    assert isles([*command, "deep_stem.json", "--out", str(tmp_path / "with")]) == 0
    assert (tmp_path / "with/case_1/lesion.nii.gz").exists()


@pytest.fixture
def deep_weights(tmp_path: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    """Weights of a network with a deep stem in the authors' naming, and what our network must hold of them."""
    torch.manual_seed(3)
    donor = PSPNet(3, 21, base_channels=2, stem="deep128")
    publish_state(tmp_path / "voc.pth", {"epoch": 50, "state_dict": as_the_authors_name_it(donor)})
    held = {k: v for k, v in donor.state_dict().items() if k.startswith(("backbone.", "pyramid.", "final."))}
    return tmp_path / "voc.pth", {k: v for k, v in held.items() if "num_batches" not in k}


DEEP = ["network_def#stem=deep128", "frozen_epochs=9"]


@pytest.fixture
def two_folds(phantom_folder: Path, tmp_path: Path, forked_folds: None) -> list[str]:
    """The options that run two small folds."""
    publish_json(tmp_path / "list.json", make_datalist(phantom_folder, folds=2))
    data = ["--data-list", str(tmp_path / "list.json"), "--dataset-dir", str(phantom_folder)]
    return [*data, "--overlay", "small.json"]


@pytest.mark.long
def test_a_cross_validation_starts_every_fold_from_weights_with_the_authors_deep_stem(
    two_folds: list[str], tmp_path: Path, deep_weights: tuple[Path, dict[str, torch.Tensor]]
) -> None:
    path, held = deep_weights
    settings = ["--set", f"pretrained={path}", *DEEP]
    assert isles(["crossval", str(BUNDLE), *two_folds, *settings, "--out", str(tmp_path / "cv")]) == 0
    for fold in (0, 1):
        found = load_state(tmp_path / f"cv/fold_{fold}/model.pt")
        assert "backbone.conv3.weight" in held and all(torch.equal(found[name], held[name]) for name in held)
    assert len(list((tmp_path / "cv/predictions").glob("*/probability.nii.gz"))) == 3


@pytest.mark.long
def test_reproduce_takes_the_deep_stem_for_its_pretrained_rows(
    two_folds: list[str], tmp_path: Path, deep_weights: tuple[Path, dict[str, torch.Tensor]]
) -> None:
    path, held = deep_weights
    words = ["--pretrained", str(path), "--pretrained-set", *DEEP, "--out", str(tmp_path / "out")]
    assert reproduce.main(["abulnaga", "--table", "1", *two_folds, *words]) == 0
    for row in ("pspnet_pretrained_focal", "pspnet_pretrained_cross_entropy"):
        found = load_state(tmp_path / f"out/{row}/fold_1/model.pt")
        assert all(torch.equal(found[name], held[name]) for name in held)


@pytest.mark.parametrize("use", ["train", "inference"])
def test_the_deep_stem_is_a_setting_of_the_network_in_training_and_prediction(use: str) -> None:
    settings = {"network_def#stem": "deep128", "base_channels": 2}
    network = Bundle.open(BUNDLE, settings=settings).config(use).get_parsed_content("network_def")
    assert network.backbone.deep and network.backbone.conv3.out_channels == 4
    overlaid = Bundle.open(BUNDLE, overlays=["deep_stem.json", "small.json"]).config(use)
    assert repr(overlaid.get_parsed_content("network_def#stem")) == "'deep128'"


@pytest.mark.parametrize(("letter", "count"), [(True, 0), (False, 29)])
def test_the_v_net_has_batch_normalisation_unless_the_letter_is_asked_for(letter: bool, count: int) -> None:
    settings = {"vnet_batch_norm": False} if letter else {}
    for use in ("train", "inference"):
        config = Bundle.open(BUNDLE, overlays=["vnet3d.json", "small.json"], settings=settings).config(use)
        network = config.get_parsed_content("network_def")
        assert sum(isinstance(layer, torch.nn.BatchNorm3d) for layer in network.modules()) == count


def test_pretraining_takes_other_subjects_than_training() -> None:
    base, other = read("train")["dataset_dir"], read("pretrain")["dataset_dir"]
    assert base["seed"] != other["seed"] and base["folder"] != other["folder"]


@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_is_sound_json(name: str) -> None:
    assert read(name)


def test_every_config_passes_the_allow_list() -> None:
    assert Bundle(BUNDLE).judge() == []


def test_training_and_inference_prepare_a_case_in_the_same_way() -> None:
    train, inference = read("train"), read("inference")
    for key in ("preprocessing", "modalities", "backbone", "base_channels", "spatial_dims", "threshold", "network"):
        assert train[key] == inference[key], key
    assert train["network_def"] == {**inference["network_def"], "weights": "@pretrained"}


def test_the_default_settings_are_the_papers() -> None:
    train = read("train")
    paper = {"batch_size": 8, "new_lr": 0.01, "all_lr": 0.0001, "plateau": 20, "patience": 50, "max_epochs": 200,
             "gamma": 1.0, "base_channels": 64, "metric": "val_dsc", "mode": "max"}  # fmt: skip
    assert {key: train[key] for key in paper} == paper
    assert train["optimizer"]["_target_"] == "torch.optim.RMSprop" and train["train"]["schedule"]["factor"] == 0.1
    moves = {"rotate_deg": 10.0, "translate_frac": 0.1, "scale": [0.9, 1.1], "mode": ["bilinear", "nearest"]}
    assert {key: train["augmentation"][key] for key in moves} == moves
    assert [read(name)["gamma"] for name in ("focal", "cross_entropy")] == [1.0, 0.0]
    assert read("weighted_cross_entropy")["reading"] == "paper" and read("resnet101")["backbone"] == "resnet101"
    assert [read(name)["batch_size"] for name in ("unet3d", "vnet3d")] == [1, 1]


@pytest.mark.long
def test_the_exported_graphs_compute_what_the_network_computes_at_any_size(tmp_path: Path) -> None:
    small = tmp_path / "source" / "abulnaga"
    shutil.copytree(BUNDLE, small)
    publish_json(small / "inference.json", {**read("inference"), "base_channels": 2})
    torch.manual_seed(0)
    network = PSPNet(base_channels=2).eval()
    publish_state(tmp_path / "model.pt", network.state_dict())
    exported = export_bundle(small, tmp_path / "out", weights=tmp_path / "model.pt")
    assert set(exported.differences) == {"models/model.ts", "models/model.onnx"}
    script = torch.jit.load(str(exported.folder / "models/model.ts"))
    session = onnxruntime.InferenceSession(str(exported.folder / "models/model.onnx"))
    for shape in ((1, 5, 240, 200), (2, 5, 64, 104)):
        slices = torch.randn(shape)
        with torch.inference_mode():
            wanted = network(slices)
            assert float((script(slices) - wanted).abs().max()) < 1e-4
        (found,) = session.run(None, {"image": slices.numpy()})
        assert float((torch.from_numpy(found) - wanted).abs().max()) < 1e-4
