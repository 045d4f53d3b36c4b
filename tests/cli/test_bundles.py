"""The list of bundles says what each is, and tells shipped weights from none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from monai_isles.bundle.bundle import Bundle
from monai_isles.cli.bundles import _dice_text
from monai_isles.cli.main import main
from monai_isles.io.payload import sha256_of
from monai_isles.workflows.bundles import describe

ROOT = Path(__file__).parents[2]


def test_every_bundle_is_listed_with_what_its_files_say(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundles", "--json"]) == 0
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert sorted(found) == sorted(path.parent.name for path in (ROOT / "bundles").glob("*/inference.json"))
    for name, one in found.items():
        metadata = json.loads((ROOT / "bundles" / name / "metadata.json").read_text())
        assert one["task"] == metadata["task"] and one["inputs"].keys() == metadata["modalities"].keys()
        assert one["measured"] == metadata.get("eval_metrics") and one["licence"].startswith("Apache-2.0")
    shipping = [name for name in found if (ROOT / "bundles" / name / "models/model.pt").is_file()]
    assert {"abulnaga", "clerigues"} <= set(shipping)
    for name in shipping:
        shipped = ROOT / "bundles" / name / "models/model.pt"
        assert found[name]["weights"] == "shipped" and found[name]["weights_sha256"] == sha256_of(shipped)
        assert found[name]["weights_mb"] == round(shipped.stat().st_size / 1e6, 2)
    assert found["threshold"]["weights"] == "none needed"
    metadata = Bundle.open("clerigues_mri").metadata
    others = {name: one["eval_metrics"] for name, one in metadata.get("variants", {}).items()}
    assert found["clerigues_mri"]["variants"] == others
    assert found["threshold"]["inputs"]["cbf"] == "ml/100 g/min"
    assert found["wang"]["training_only"] == ["dwi"] and "ctp" in found["fusion"]["optional"]


def test_a_bundle_without_weights_is_told_from_one_that_has_them(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "bundles/unet", tmp_path / "unet", ignore=shutil.ignore_patterns("models"))
    about = describe("unet", Bundle(tmp_path / "unet"))
    assert about["weights"] == "none: train it first" and about["weights_mb"] is about["weights_sha256"] is None


def test_the_text_names_the_score_of_the_bundle_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundles"]) == 0
    parts = dict(part.split(": ", 1) for part in capsys.readouterr().out.split("\n\n"))
    for name in ("abulnaga", "clerigues"):
        dice = json.loads((ROOT / "bundles" / name / "metadata.json").read_text())["eval_metrics"]["mean_dice"]
        assert f"mean Dice {dice['these weights']['mean']} (95 % interval" in parts[name]
    assert _dice_text(None) == _dice_text({}) == "nothing of these weights"
