"""``make weights`` from simulated scans to a scored bundle with its calibration, at a size of minutes."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from monai_isles.bundle.bundle import Bundle
from monai_isles.inference.calibrated import Calibration
from monai_isles.io import publish_json
from monai_isles.io.payload import sha256_of

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tool(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("weights")


def recipes() -> list[str]:
    folders = [path.parent for path in sorted((ROOT / "bundles").glob("*/paper.json"))]
    return [folder.name for folder in folders if "weights" in Bundle(folder).paper]


def test_a_bundle_says_how_its_weights_are_made() -> None:
    assert "clerigues" in recipes()


@pytest.mark.parametrize("name", recipes())
def test_a_recipe_has_three_data_sets_of_other_seeds_and_settings_of_the_training(name: str) -> None:
    bundle = Bundle.open(name)
    first = bundle.paper["weights"]
    for recipe in (first, *first.get("variants", {}).values()):
        words = {part: recipe[part].split() for part in ("train", "calibrate", "unseen")}
        seeds = {one[one.index("--seed") + 1] for one in words.values()}
        assert len(seeds) == 3
        config = bundle.config("train")
        assert all(key in config for key in recipe.get("settings", {}))
        assert all(bundle.find(overlay) for overlay in recipe.get("overlays", ()))


def test_the_command_of_the_card_holds_the_settings(tool: ModuleType, tmp_path: Path) -> None:
    recipe = {"train": "--cases 9 --seed 1", "settings": {"vary": {"gain": 0.5}, "lr": 0.1}, "overlays": ["small.json"]}
    job = tool.Job(Bundle.open("unet"), recipe, tmp_path, changed={"lr": 0.2})
    simulate, train = tool.command(job).splitlines()[-2:]
    assert simulate == "monai-isles phantom --out DATA --cases 9 --seed 1"
    words = shlex.split(train)
    assert words[:5] == "python -m monai.bundle run training".split() and "train.json" in words[6]
    assert words[words.index("--vary") + 1] == '{"gain": 0.5}' and words[words.index("--lr") + 1] == "0.2"
    assert words[6] == "['bundles/unet/train.json', 'bundles/unet/small.json']"


def test_a_first_training_has_other_data_beside_and_its_weights_are_the_start(tool: ModuleType, tmp_path: Path) -> None:
    first = {"train": "--cases 30 --seed 1", "settings": {"lr": 0.3}}
    recipe = {"train": "--cases 9 --seed 1", "settings": {"lr": 0.1}, "first": first}
    job = tool.Job(Bundle.open("unet"), recipe, tmp_path / "unet")
    assert job.first.data("train") == tmp_path / "data/cases_30_seed_1" and job.first.out == tmp_path / "unet_first"
    assert job.first.settings == {"lr": 0.3} and job.first.first is None
    before, trained, after, then = tool.command(job).splitlines()[-4:]
    assert before.endswith("--cases 30 --seed 1") and after.endswith("--cases 9 --seed 1")
    assert "--initial_weights" not in trained and then.endswith("--initial_weights FIRST/model.pt")


def test_bundles_of_equal_words_share_their_data(tool: ModuleType, tmp_path: Path) -> None:
    words = {"train": "--variety real --cases 9 --seed 1"}
    folders = {tool.Job(Bundle.open(name), words, tmp_path / name).data("train") for name in ("unet", "abulnaga")}
    assert folders == {tmp_path / "data/variety_real_cases_9_seed_1"}


def test_the_card_says_what_ended_the_training(tool: ModuleType, tmp_path: Path) -> None:
    lines = [f"{epoch},{0.5 if epoch == 2 else 0.4},1" for epoch in (1, 2, 3)]
    (tmp_path / "curves.csv").write_text("epoch,val_dsc,seconds\n" + "\n".join(lines) + "\n")
    said = {}
    for allowed in (3, 9):
        settings = {"max_epochs": allowed, "patience": 1}
        job = tool.Job(Bundle.open("unet"), {"settings": settings, "notes": ["Narrow."]}, tmp_path)
        narrow, said[allowed] = tool.stop_notes(job, tmp_path)
        assert narrow == "Narrow."
    assert said[3] == ("Stopped after the 3 epochs that the recipe allows (`train.json`: 100); epoch 2 was best, 1 of "
                       "1 epochs of patience used up.")  # fmt: skip
    assert said[9] == "Early stop after 3 epochs: epoch 2 was best (patience 1)."


def test_intervals_are_counted_by_third_of_the_reference(tool: ModuleType) -> None:
    ends = [(9, 8, 10), (1, 2, 3), (2, 1, 3), (5, 5, 5), (7, 0, 6), (8, 8, 9)]
    names = [f"lesion_ml_{name}" for name in ("ref", "low", "high")]
    rows = [dict(zip(names, map(str, one), strict=True)) for one in ends]
    rows.append({"lesion_ml_ref": "3", "lesion_ml_low": "nan", "lesion_ml_high": ""})
    assert tool.interval_hits_by_third(rows) == [[False, True], [True, False], [True, True]]


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
    job = tool.Job(Bundle(mine), Bundle(mine).paper["weights"], out)
    notes = tool.notes_of(out / "scores", copy.root, job)
    assert notes[0].startswith(f"Unseen scans ({small['unseen']}), n {summary['methods']['network']['n']}, ")
    trained = (out / "run/run.json").stat().st_mtime_ns
    assert tool.main([str(mine), "--out", str(out), "--keep"]) == 0  # nothing is done again
    assert (out / "run/run.json").stat().st_mtime_ns == trained
