"""`--fold all` trains on every scan without validation, in every bundle, and keeps the last epoch's weights."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest
from monai.bundle import ConfigWorkflow

from monai_isles.data import make_datalist
from monai_isles.io import publish_json
from monai_isles.phantom import make_dataset
from tests.fixtures.training import TINY

ROOT = Path(__file__).parents[2]
BUNDLES = sorted(path.parent.name for path in ROOT.glob("bundles/*/train.json"))
LONG = {"abulnaga", "fusion", "wang"}
SMALL = {
    "clerigues": {"patches_per_case": 8},
    "clerigues_mri": {"patches_per_case": 4, "base_channels": 2, "twins": [], "modalities": ["flair"]},
    "fusion": TINY["fusion"],
}


@pytest.fixture(scope="module")
def folders(series_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three scans with series and DWI, and two of SISS; read only."""
    mri = make_dataset(tmp_path_factory.mktemp("all") / "mri", cases=2, seed=5, kind="siss", spacing_mm=6.0)
    return {"ct": series_folder, "mri": mri}


@pytest.mark.parametrize("bundle", [pytest.param(b, marks=[pytest.mark.long] * (b in LONG)) for b in BUNDLES])
def test_every_scan_is_trained_on_for_the_epochs_that_were_stated(
    bundle: str, folders: dict[str, Path], prepared: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    data = folders["mri" if bundle == "clerigues_mri" else "ct"]
    content = make_datalist(data, folds=2)
    publish_json(tmp_path / "list.json", content)
    small = ROOT / "bundles" / bundle / "small.json"
    files = [f"bundles/{bundle}/train.json", *([str(small)] if bundle in ("abulnaga", "wang", "unet") else [])]
    settings = {"data_list": str(tmp_path / "list.json"), "dataset_dir": str(data), "max_epochs": 2, "fold": "all"}
    settings |= {} if bundle == "threshold" else {"cache_dir": prepared}
    out = tmp_path / "run"
    workflow = ConfigWorkflow(
        files, workflow_type="train", run_id="training", logging_file=False, output_dir=str(out), **settings,
        **SMALL.get(bundle, {}),
    )  # fmt: skip
    workflow.initialize()
    workflow.run()
    outcome = json.loads((out / "run.json").read_text())["outcome"]
    assert "no validation" in outcome and (out / "model.pt").exists()
    if bundle == "threshold":
        return
    assert workflow.parser.get_parsed_content("validate#evaluator") is None
    assert workflow.parser.get_parsed_content("train#dataloader").names == [case["case"] for case in content["training"]]
    with (out / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert not {name for name in rows[0] if name.startswith("val_")}
