"""The weights in the bundle are those of its metadata and card, and do what is claimed on unseen phantoms."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from monai_isles.cli.main import main
from monai_isles.io import load_state, sha256_of
from monai_isles.networks import AsymmetricResUNet

BUNDLE = Path(__file__).parents[2] / "bundles/clerigues"


def test_checksum_card_and_network_agree() -> None:
    weights, metadata = BUNDLE / "models/model.pt", json.loads((BUNDLE / "metadata.json").read_text(encoding="utf-8"))
    card = (BUNDLE / "README.md").read_text(encoding="utf-8")
    assert sha256_of(weights) == metadata["weights_sha256"] and metadata["weights_sha256"] in card
    assert "trained and measured on simulated data" in card and "unfit for patients" in card
    AsymmetricResUNet(2, 10).load_state_dict(load_state(weights, sha256=metadata["weights_sha256"]))


def test_they_beat_the_threshold_rule_on_scans_of_another_seed(phantom_folder: Path, tmp_path: Path) -> None:
    out, scores = tmp_path / "out", tmp_path / "scores"
    predict = ["predict", str(phantom_folder), "--bundle", str(BUNDLE), "--out", str(out), "--step", "16"]
    assert main([*predict, "--threads", "1", "--no-report"]) == 0
    assert main(["evaluate", "--pred", str(out), "--ref", str(phantom_folder), "--out", str(scores), "--baseline"]) == 0
    methods = json.loads((scores / "summary.json").read_text(encoding="utf-8"))["methods"]
    ours, rule = (methods[name]["metrics"]["dsc"]["mean"] for name in ("network", "rcbf30"))
    assert methods["network"]["n"] == 3 and ours > rule  # the margin stands in the card, n 48: three scans show none


def test_weights_that_changed_are_refused(tmp_path: Path) -> None:
    from monai_isles.errors import IslesError

    damaged = tmp_path / "model.pt"
    raw = bytearray((BUNDLE / "models/model.pt").read_bytes())
    raw[len(raw) // 2] ^= 1
    damaged.write_bytes(bytes(raw))
    with pytest.raises(IslesError, match="E-"):
        load_state(damaged)
