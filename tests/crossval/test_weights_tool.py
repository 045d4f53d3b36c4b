"""``make weights`` from simulated scans to a scored bundle with its calibration, at a size of minutes."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from monai_isles.bundle.bundle import Bundle
from monai_isles.inference.calibrated import Calibration
from monai_isles.io import publish_json, sha256_of

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("weights_tool", ROOT / "tools/weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def recipes() -> list[str]:
    folders = [path.parent for path in sorted((ROOT / "bundles").glob("*/paper.json"))]
    return [folder.name for folder in folders if "weights" in Bundle(folder).paper]


def test_a_bundle_says_how_its_weights_are_made() -> None:
    assert "clerigues" in recipes()


@pytest.mark.parametrize("name", recipes())
def test_a_recipe_has_three_data_sets_of_other_seeds_and_settings_of_the_training(name: str) -> None:
    bundle = Bundle.open(name)
    recipe = bundle.paper["weights"]
    words = {part: recipe[part].split() for part in ("train", "calibrate", "unseen")}
    seeds = {one[one.index("--seed") + 1] for one in words.values()}
    assert len(seeds) == 3
    config = bundle.config("train")
    assert all(key in config for key in recipe.get("settings", {}))
    assert all(bundle.has(overlay) for overlay in recipe.get("overlays", ()))


def test_intervals_are_counted_by_third_of_the_reference(tool: ModuleType) -> None:
    ends = [(9, 8, 10), (1, 2, 3), (2, 1, 3), (5, 5, 5), (7, 0, 6), (8, 8, 9)]
    names = [f"lesion_ml_{name}" for name in ("ref", "low", "high")]
    rows = [dict(zip(names, map(str, one), strict=True)) for one in ends]
    rows.append({"lesion_ml_ref": "3", "lesion_ml_low": "nan", "lesion_ml_high": ""})
    assert tool.held_by_third(rows) == [[False, True], [True, False], [True, True]]


@pytest.mark.long
def test_from_nothing_to_a_scored_bundle(tool: ModuleType, tmp_path: Path) -> None:
    mine = Path(shutil.copytree(ROOT / "bundles/clerigues", tmp_path / "clerigues"))
    before = sha256_of(mine / "models/model.pt")
    small = {name: f"--cases 9 --seed {seed} --max-slices 2 --no-series" for seed, name in
             enumerate(("train", "calibrate", "unseen"), start=31)}  # fmt: skip
    settings = {"patches_per_case": 64, "validation_patches_per_case": 8, "max_epochs": 1, "compile": False}
    paper = json.loads((mine / "paper.json").read_text())
    publish_json(mine / "paper.json", paper | {"weights": {**small, "settings": settings}})
    out = tmp_path / "out"
    assert tool.main([str(mine), "--out", str(out), "--keep"]) == 0
    copy = Bundle(out / "bundle/clerigues")
    assert sha256_of(mine / "models/model.pt") == before
    assert copy.weights_sha256 == sha256_of(out / "run/model.pt") == sha256_of(copy.weights)
    fitted = Calibration.read(copy.root / "models/calibration.json")
    chosen = json.loads((copy.root / "chosen.json").read_text())
    assert fitted.temperature > 0 and fitted.about.startswith("9 simulated scans") and not fitted.volume
    assert copy.config("inference")["threshold"] == chosen["threshold"]
    assert chosen["ece_after"] <= chosen["ece_before"]
    summary = json.loads((out / "scores/summary.json").read_text())
    assert set(summary["methods"]) == {"network", "rcbf30", "single_threshold"}
    notes = tool.notes_of(out / "scores", copy.root)
    assert notes[0].startswith(f"Unseen scans, n {summary['methods']['network']['n']}, ")
    trained = (out / "run/run.json").stat().st_mtime_ns
    assert tool.main([str(mine), "--out", str(out), "--keep"]) == 0  # nothing is done again
    assert (out / "run/run.json").stat().st_mtime_ns == trained
