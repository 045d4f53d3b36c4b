"""An ablation: its rows are settings of the bundle, and a difference is decided beyond scans and trainings."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from monai_isles.bundle.bundle import Bundle
from monai_isles.io import publish_json

ROOT = Path(__file__).parents[2]
BUNDLES = [Bundle(path.parent) for path in sorted((ROOT / "bundles").glob("*/paper.json"))]


@pytest.fixture
def tool(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("ablation")


@pytest.mark.parametrize("bundle", [one for one in BUNDLES if "ablation" in one.paper], ids=lambda one: one.name)
def test_rows_change_settings_that_the_bundle_has(bundle: Bundle) -> None:
    recipe, train, inference = bundle.paper["ablation"], bundle.config("train"), bundle.config("inference")
    names = [row["name"] for row in recipe["rows"]]
    assert len(set(names)) == len(names) > 1
    assert recipe["train"].split("--seed")[1].split()[0] != recipe["unseen"].split("--seed")[1].split()[0]
    for row in recipe["rows"]:
        config = inference if row.get("trained_as") in names else train
        ids = [key.rsplit("#", 1)[0] for key in {**recipe["settings"], **row.get("settings", {})}]
        assert all(key in train or key in config for key in ids)


def scores(folder: Path, row: str, seed: int, dices: list[float]) -> None:
    cases = [{"case": f"c{n}", "subject": f"s{n}", "lesion_ml_ref": 5.0 + 10 * (n % 2), "dsc": dice}
             for n, dice in enumerate(dices)]  # fmt: skip
    publish_json(folder / f"{row}_{seed}/scores.json", {"row": row, "seed": seed, "cases": cases})


def test_a_difference_is_decided_beyond_scans_and_trainings(tool: ModuleType, tmp_path: Path) -> None:
    plain = [0.2, 0.4, 0.6, 0.8]
    for seed, luck in enumerate((-0.02, 0.0, 0.02)):
        rows = {"default": 0.0, "better": 0.1, "by chance": 0.015, "one scan": [0.0, 0.0, 0.0, 0.16]}
        for row, gain in rows.items():
            gains = gain if isinstance(gain, list) else [gain] * 4
            scores(tmp_path, row, seed, [dice + luck + more for dice, more in zip(plain, gains, strict=True)])
    head, _, *lines = tool.table(["default", "better", "by chance", "one scan", "not run"], tmp_path).splitlines()
    assert head.count("|") == 7 and len(lines) == 4
    assert lines[0] == "| default | 3 | 0.500 ± 0.020 | 0.400 |  |  |"  # the first and the third are below 10 ml
    assert lines[1] == "| better | 3 | 0.600 ± 0.020 | 0.500 | +0.100 (0.100 to 0.100) | decided |"
    assert lines[2].endswith("| +0.015 (0.015 to 0.015) | undecided |")  # less than between trainings
    assert lines[3].endswith("| undecided |") and "+0.040 (0.000 to" in lines[3]  # by a scan of four


def test_one_training_decides_nothing(tool: ModuleType, tmp_path: Path) -> None:
    for row, seed, dice in (("default", 0, 0.2), ("better", 0, 0.6), ("default", 1, 0.9)):
        scores(tmp_path, row, seed, [dice, dice + 0.1])
    last = tool.table(["default", "better"], tmp_path).splitlines()[-1]
    assert last.endswith("| +0.400 (0.400 to 0.400) | undecided |")  # over the seed that both have


@pytest.mark.long
def test_rows_are_trained_and_scored_once(tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    mine = Path(shutil.copytree(ROOT / "bundles/unet", tmp_path / "unet"))
    words = {part: f"--cases {n} --seed {n} --max-slices 2 --no-series" for part, n in (("train", 9), ("unseen", 8))}
    rows = [{"name": "default"}, {"name": "narrow", "settings": {"widths": [4, 4, 8, 8, 8]}},
            {"name": "as default", "trained_as": "default"}]  # fmt: skip
    settings = {"max_epochs": 1, "widths": [8, 8, 8, 8, 8]}
    paper = json.loads((mine / "paper.json").read_text())
    publish_json(mine / "paper.json", paper | {"ablation": {**words, "settings": settings, "rows": rows}})
    out = tmp_path / "out"
    for _ in range(2):
        assert tool.main([str(mine), "--out", str(out), "--seeds", "0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("run training" in line for line in lines) == 2  # the second time nothing is done again
    scored = {row["name"]: json.loads((out / f"{tool.slug(row['name'], 0)}/scores.json").read_text()) for row in rows}
    assert scored["as default"]["cases"] == scored["default"]["cases"] and len(scored["default"]["cases"]) == 8
