"""Overlays and settings reach the training and the prediction alike, and wrong ones are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from monai_isles.bundle.overlays import (
    find_config,
    inference_changes,
    overlay_file,
    overlay_values,
    training_config,
    training_settings,
)
from monai_isles.errors import IslesError
from monai_isles.io import publish_json

BUNDLE = Path(__file__).parents[2] / "bundles/clerigues"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    publish_json(tmp_path / "train.json", {
        "epochs": 9, "channels": ["a", "b"], "network": {"width": 8, "deep": {"rate": 0.2}}, "list": [1],
        "run": ["train"], "fold": 0,
    })  # fmt: skip
    publish_json(tmp_path / "inference.json", {
        "channels": ["a", "b"], "network": {"width": 8, "deep": {"rate": 0.2}}, "step": [3, 3], "list": [1],
        "run": ["infer"],
    })  # fmt: skip
    publish_json(tmp_path / "thin.json", {
        "network#width": 4, "epochs": 5, "train#missing#deep": 1, "+list": [2], "run": ["other"], "channels": ["a"],
    })  # fmt: skip
    return tmp_path


def test_later_files_and_then_settings_win(bundle: Path) -> None:
    publish_json(bundle / "thin.json", {"network#width": 4, "epochs": 5})
    config = training_config(bundle, ["thin.json"], {"network#deep#rate": 0.5, "epochs": 2, "step": [6, 6]})
    assert (config["epochs"], config["network"]["width"], config["network"]["deep"]["rate"]) == (2, 4, 0.5)
    assert "step" not in config


def test_prediction_takes_the_changes_it_has_a_place_for_and_keeps_its_program(bundle: Path) -> None:
    changes = inference_changes(bundle, ["thin.json"], {"network::deep::rate": 0.5, "step": [6, 6], "epochs": 1})
    assert changes == {
        "network": {"width": 4, "deep": {"rate": 0.5}}, "list": [1, 2], "channels": ["a"], "step": [6, 6],
    }  # fmt: skip


def test_training_gets_only_its_own_settings(bundle: Path) -> None:
    assert training_settings(bundle, [], {"step": [6, 6], "epochs": 1}) == {"epochs": 1}


def test_a_misspelt_setting_is_refused(bundle: Path) -> None:
    with pytest.raises(IslesError, match=r"E-XVAL-02.*\n.*epcohs(?s:.*)epochs"):
        training_config(bundle, [], {"epcohs": 1})
    with pytest.raises(IslesError, match="E-XVAL-02"):
        training_config(bundle, [], {"network#widht": 1})


def test_what_the_folds_decide_cannot_be_set_by_hand(bundle: Path) -> None:
    with pytest.raises(IslesError, match=r"E-XVAL-03: the folds decide.*\n.*fold"):
        training_config(bundle, [], {"fold": 1})
    publish_json(bundle / "sly.json", {"held_out": [2]})
    with pytest.raises(IslesError, match=r"E-XVAL-03.*\n.*held_out"):
        training_config(bundle, ["sly.json"], {})


@pytest.mark.parametrize("name", ["absent.json", "../clerigues/demo.json"])
def test_an_overlay_is_a_file_of_the_bundle(name: str) -> None:
    with pytest.raises(IslesError, match=r"E-XVAL-01: the bundle has no such config(?s:.*)demo\.json"):
        find_config(BUNDLE, name)


def test_the_specifications_layout_is_found_too(tmp_path: Path) -> None:
    publish_json(tmp_path / "configs/train.json", {})
    assert find_config(tmp_path, "train.json") == tmp_path / "configs/train.json"


def test_a_row_of_the_paper_is_an_overlay_made_of_named_settings_and_its_own(bundle: Path) -> None:
    rows = [{"key": "row_a", "use": ["one", "thin"], "settings": {"epochs": 3}}, {"key": "plain", "overlays": []}]
    shared = {"one": {"channels": ["b"], "epochs": 7}, "thin": {"network#width": 2}}
    publish_json(bundle / "paper.json", {"settings": shared, "rows": rows})
    assert overlay_values(bundle, "row_a") == {"channels": ["b"], "network#width": 2, "epochs": 3}
    config = training_config(bundle, ["row_a"], {"epochs": 4})
    assert (config["channels"], config["network"]["width"], config["epochs"]) == (["b"], 2, 4)
    assert inference_changes(bundle, ["row_a"], {})["channels"] == ["b"]
    written = overlay_file(bundle, "row_a", bundle / "fold_0")
    assert json.loads(written.read_text()) == overlay_values(bundle, "row_a")
    assert overlay_file(bundle, "thin.json", bundle / "fold_0") == bundle / "thin.json"
    for name in ("plain", "row_b"):
        with pytest.raises(IslesError, match=r"E-XVAL-01: the bundle has no such config(?s:.*)row_a"):
            overlay_values(bundle, name)
