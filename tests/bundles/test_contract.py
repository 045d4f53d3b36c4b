"""Every folder of bundles/ keeps the contract of docs/extending.md; those without tests of their own make a journey."""

from __future__ import annotations

import json
import re
import shutil
import signal
from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from monai_isles import __version__
from monai_isles.bundle.bundle import Bundle, known_bundles
from monai_isles.cli.main import main
from monai_isles.data import make_datalist
from monai_isles.export.bundle import check_metadata
from monai_isles.io import publish_json
from monai_isles.papers.study import paper_rows
from monai_isles.training import plain_exits

ROOT = Path(__file__).parents[2]
BUNDLES = sorted(path for path in (ROOT / "bundles").iterdir() if path.is_dir())
PAGE = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
FILES = re.findall(r"^\| `([\w.]+)` \|", PAGE[PAGE.index("## Files") : PAGE.index("## Ids")], re.MULTILINE)
IDS = re.findall(r"^\| `(\w+\.json)` \| `(\w+)` \|", PAGE, re.MULTILINE)
WITHOUT_TESTS = [path for path in BUNDLES if not (Path(__file__).parent / f"test_{path.name}.py").is_file()]
of_every_bundle = pytest.mark.parametrize("folder", BUNDLES, ids=lambda path: path.name)


def config(folder: Path, name: str) -> dict:
    return json.loads((folder / name).read_text(encoding="utf-8"))


def test_the_page_names_files_and_ids() -> None:
    assert {"train.json", "inference.json", "paper.json", "README.md", "LICENSE"} <= set(FILES)
    assert ("inference.json", "network_def") in IDS and len(IDS) > 40
    assert {path.name for path in BUNDLES} == set(known_bundles())


@of_every_bundle
def test_files_and_ids_are_there(folder: Path) -> None:
    assert [name for name in FILES if not (folder / name).is_file()] == []
    content = {name: config(folder, name) for name in {name for name, _ in IDS}}
    assert [f"{name}: {key}" for name, key in IDS if key not in content[name]] == []


@of_every_bundle
def test_configs_are_safe_and_metadata_whole(folder: Path) -> None:
    assert Bundle(folder).judge() == []
    metadata = check_metadata(config(folder, "metadata.json"), folder.name)
    assert set(config(folder, "inference.json")["modalities"]) <= set(metadata["modalities"])
    versions = [metadata["version"], metadata["required_packages_version"]["monai-isles"], next(iter(metadata["changelog"]))]
    assert versions == [__version__] * 3


@of_every_bundle
def test_settings_are_judged_before_the_work_and_overlays_pass(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("train.json", "evaluate.json", "multi_gpu_train.json"):
        assert config(folder, name)["initialize"][0] == {"_target_": "monai_isles.training.plain_exits"}
    monkeypatch.setattr("sys.excepthook", None)
    before = signal.getsignal(signal.SIGTERM)
    known = config(folder, "train.json").keys()
    overlays = (path for path in folder.glob("*.json") if path.name not in ("metadata.json", "paper.json"))
    for path in (path for path in overlays if {key.split("#")[0] for key in config(folder, path.name)} <= known):
        words = ["run", "training", "--config_file", repr([str(folder / "train.json"), str(path)])]
        monkeypatch.setattr("sys.argv", ["monai.bundle", *words])
        plain_exits()
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(("name", "ids"), [("clerigues", ("masked", "mc_alpha")), ("clerigues_mri", ("masked",))])
def test_evaluation_predicts_as_it_is_told(name: str, ids: tuple[str, ...]) -> None:
    parser = ConfigParser()
    parser.read_config([ROOT / "bundles" / name / file for file in ("train.json", "evaluate.json")])
    parser.update(dict.fromkeys(ids, True))
    inferer = parser.get_parsed_content("validate_volumes#inferer")
    assert all(getattr(inferer, key) for key in ids) and list(inferer.step[:2]) == parser["step"][:2]


@of_every_bundle
def test_evaluation_averages_as_prediction_does(folder: Path) -> None:
    inferers = []
    for files, name in ((["train.json", "evaluate.json"], "validate_volumes#inferer"), (["inference.json"], "inferer")):
        parser = ConfigParser()
        parser.read_config([folder / file for file in files])
        inferers.append(parser.get_parsed_content(name))
    for key in ("step", "mc_passes", "mc_rate", "mc_alpha", "cover", "masked", "mirrored", "neighbours"):
        assert getattr(inferers[0], key, None) == getattr(inferers[1], key, None), key


@of_every_bundle
def test_training_and_prediction_prepare_a_case_alike(folder: Path) -> None:
    train, inference = config(folder, "train.json"), config(folder, "inference.json")
    assert train["modalities"] == inference["modalities"]
    steps = [[step["_target_"] for step in one["preprocessing"]["transforms"]] for one in (train, inference)]
    assert steps[0] == steps[1]


@of_every_bundle
def test_a_resumed_training_compares_the_preparation_and_the_precision(folder: Path) -> None:
    train = config(folder, "train.json")["train"]
    compared = train.get("checkpoints", {}).get("describe")
    assert compared is None or (compared["preparation"] == "@prepared" and {"speed", "bf16"} & set(compared))
    batches = "$len(@train#dataloader) * @max_epochs"  # "auto" depends on the steps of all epochs
    assert train.get("speed", {}).get("batches", batches) == batches


@of_every_bundle
def test_the_calibration_is_of_the_bundles_own_weights_alone(folder: Path) -> None:
    config = Bundle(folder).with_shipped_settings.config("inference")
    found = []
    for weights in (config.get("weights"), "runs/mine/model.pt") if config.get("calibration") else ():
        config["weights"] = weights
        config.parse(reset=True)
        found.append(config.get_parsed_content("calibration"))
    assert found in ([], [f"bundles/{folder.name}/models/calibration.json", None])


@of_every_bundle
def test_overlays_and_rows_have_a_place(folder: Path) -> None:
    known = config(folder, "train.json").keys() | config(folder, "inference.json").keys()
    overlays = [path.name for path in folder.glob("*.json") if path.name not in FILES]
    for name in overlays:
        keys = {re.split("#|::", key.removeprefix("+"))[0] for key in config(folder, name)}
        new = {key for key in keys - known if not refers_to(config(folder, name), key)}
        assert not new, f"{name}: {new}"
    for row in paper_rows(folder):
        assert Bundle(folder, row.overlays).config("train")["network_def"]


def refers_to(content: dict, key: str) -> bool:
    """Tell whether another id of the same overlay names this one."""
    return bool(re.search(rf"@{key}\b", json.dumps({k: v for k, v in content.items() if k != key})))


@pytest.mark.parametrize("graphs", [["--no-graphs"], pytest.param([], marks=pytest.mark.long)], ids=["", "graphs"])
@pytest.mark.parametrize("folder", WITHOUT_TESTS, ids=lambda path: path.name)
def test_it_trains_cross_validates_predicts_evaluates_and_exports(
    folder: Path, graphs: list[str], phantom_folder: Path, tmp_path: Path, forked_folds: None
) -> None:
    publish_json(tmp_path / "list.json", make_datalist(phantom_folder, folds=2))
    data = ["--data-list", str(tmp_path / "list.json"), "--dataset-dir", str(phantom_folder)]
    small = ["--overlay", "small.json"]
    assert main(["crossval", str(folder), *data, *small, "--out", str(tmp_path / "cv")]) == 0
    weights, case = str(tmp_path / "cv/fold_0/model.pt"), phantom_folder / "TRAINING/case_1"
    words = ["--bundle", str(folder), "--weights", weights, *small, "--no-report"]
    assert main(["predict", str(case), *words, "--out", str(tmp_path / "pred")]) == 0
    scores = ["--pred", str(tmp_path / "cv/predictions"), "--ref", str(phantom_folder)]
    assert main(["evaluate", *scores, "--out", str(tmp_path / "scores")]) == 0
    assert json.loads((tmp_path / "scores/summary.json").read_text())["methods"]["network"]["n"] == 3
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy)
    content = config(copy, "inference.json") | {k: v for k, v in config(copy, "small.json").items()
                                                if k in config(copy, "inference.json")}  # fmt: skip
    publish_json(copy / "inference.json", content)
    assert main(["export", str(copy), "--weights", weights, *graphs, "--out", str(tmp_path / "shared")]) == 0
    assert (tmp_path / "shared" / f"{folder.name}.zip").is_file()
