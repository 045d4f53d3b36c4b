"""The list of bundles says what each is, and tells shipped weights from none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from monai_isles.cli.main import main
from monai_isles.io import sha256_of

ROOT = Path(__file__).parents[2]


def test_every_bundle_is_listed_with_what_its_files_say(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundles", "--json"]) == 0
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert sorted(found) == sorted(path.parent.name for path in (ROOT / "bundles").glob("*/inference.json"))
    for name, one in found.items():
        metadata = json.loads((ROOT / "bundles" / name / "metadata.json").read_text())
        assert one["task"] == metadata["task"] and one["inputs"].keys() == metadata["modalities"].keys()
        assert one["measured"] == metadata.get("eval_metrics") and one["licence"].startswith("Apache-2.0")
    shipped = ROOT / "bundles/clerigues/models/model.pt"
    assert found["clerigues"]["weights"] == "shipped"
    assert found["clerigues"]["weights_sha256"] == sha256_of(shipped)
    assert found["clerigues"]["weights_mb"] == round(shipped.stat().st_size / 1e6, 2)
    assert found["threshold"]["weights"] == "none needed" and found["unet"]["weights"] == "none: train it first"
    assert found["threshold"]["inputs"]["cbf"] == "ml/100 g/min"


def test_the_text_names_the_score_of_the_bundle_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundles"]) == 0
    parts = dict(part.split(": ", 1) for part in capsys.readouterr().out.split("\n\n"))
    dice = json.loads((ROOT / "bundles/clerigues/metadata.json").read_text())["eval_metrics"]["mean_dice"]
    assert f"mean Dice {dice['these weights']['mean']} (95 % interval" in parts["clerigues"]
    assert "  measured nothing of these weights" in parts["wang"] and "unet" in parts
