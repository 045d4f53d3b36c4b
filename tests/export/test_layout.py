"""Configs of an exported bundle find everything from the bundle's own folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from monai_isles.errors import IslesError
from monai_isles.export.bundle import portable, write_layout
from monai_isles.phantom.dataset import plan

PHANTOM = {"_target_": "monai_isles.phantom.dataset_or_phantom", "dataset_dir": None, "folder": "data/x", "cases": 60}


def rewritten(config: dict, tmp_path: Path, name: str = "train.json") -> dict:
    folder = tmp_path / "bundles" / "clerigues"
    folder.mkdir(parents=True, exist_ok=True)
    (tmp_path / "configs").mkdir(exist_ok=True)
    return portable(config, folder / name, tmp_path / "configs")


def test_paths_start_at_the_bundle(tmp_path: Path) -> None:
    config = {
        "bundle_root": "bundles/clerigues",
        "output_dir": "runs/x",
        "weights": "$@output_dir + '/model.pt'",
        "fold": 0,
    }
    wanted = {"bundle_root": ".", "output_dir": "eval", "weights": "$@bundle_root + '/models/model.pt'", "fold": 0}
    assert rewritten(config, tmp_path) == wanted
    assert config["bundle_root"] == "bundles/clerigues"


def test_an_overlay_gains_no_keys(tmp_path: Path) -> None:
    assert rewritten({"max_epochs": 3}, tmp_path) == {"max_epochs": 3}


def test_training_keeps_its_data_and_prediction_simulates_little(tmp_path: Path) -> None:
    config = {"dataset_dir": PHANTOM, "section": "test"}
    assert rewritten(config, tmp_path) == config
    small = rewritten(config, tmp_path, "inference.json")
    assert small["dataset_dir"] == {**PHANTOM, "folder": "data/x_small", "cases": 2, "max_slices": 2}
    kinds = rewritten({"dataset_dir": PHANTOM | {"folder": "@phantom_folder"}}, tmp_path, "inference.json")
    assert kinds["dataset_dir"]["folder"] == "$@phantom_folder + '_small'"  # each kind has a folder of its own
    assert small["section"] == "training"
    assert len({scan.index for scan in plan(7, seed=2018, max_slices=2)}) == 5  # subjects, one a fold


def test_a_named_data_folder_is_left_alone(tmp_path: Path) -> None:
    config = {"dataset_dir": "data/ISLES2018", "section": "test"}
    assert rewritten(config, tmp_path, "inference.json") == config


def test_the_data_list_comes_along(tmp_path: Path) -> None:
    (tmp_path / "data_lists").mkdir()
    (tmp_path / "data_lists" / "isles2018.json").write_text("{}", encoding="utf-8")
    config = {"bundle_root": "bundles/clerigues", "data_list": "data_lists/isles2018.json"}
    assert rewritten(config, tmp_path)["data_list"] == "configs/isles2018.json"
    assert json.loads((tmp_path / "configs" / "isles2018.json").read_text(encoding="utf-8")) == {}


def test_a_missing_data_list_is_refused(tmp_path: Path) -> None:
    config = {"bundle_root": "bundles/clerigues", "data_list": "data_lists/none.json"}
    with pytest.raises(IslesError, match="E-EXP-10: data list of the bundle is missing\n.*train.json(?s:.*)none.json"):
        rewritten(config, tmp_path)


def test_the_card_finds_its_figures_in_its_new_place(tmp_path: Path) -> None:
    source, out = tmp_path / "bundle", tmp_path / "out"
    (source / "docs").mkdir(parents=True)
    (source / "docs/curves.png").write_bytes(b"picture")
    (source / "README.md").write_text("# Card\n![Curves](docs/curves.png)\n", encoding="utf-8")
    for name in ("LICENSE", "model.pt"):
        (source / name).write_bytes(b"text")
    write_layout(source, out, source / "model.pt")
    assert "](curves.png)" in (out / "docs/README.md").read_text(encoding="utf-8")
    assert (out / "docs/curves.png").read_bytes() == b"picture"
