"""What the phantom writes as SISS and SPES is found, listed and free of findings; its masks hold the true volumes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from monai_isles.data import find_inputs, load_entries, make_datalist
from monai_isles.data.checks import check_folder
from monai_isles.data.layouts import find_layout
from monai_isles.io import read_image
from monai_isles.modalities import SISS_CHANNELS, SPES_CHANNELS
from monai_isles.phantom import make_dataset

TRUTH = {"siss": {None: "lesion_ml"}, "spes": {"core": "core_ml", "penumbra": "penumbra_ml", "area": "lesion_ml"}}


@pytest.mark.parametrize(("kind", "channels"), [("siss", SISS_CHANNELS), ("spes", SPES_CHANNELS)])
def test_a_simulated_mri_folder_goes_round(tmp_path: Path, kind: str, channels: tuple[str, ...]) -> None:
    folder = make_dataset(tmp_path / "d", cases=2, seed=3, test_cases=1, kind=kind, spacing_mm=8.0)
    assert find_layout(folder).name == f"isles2015_{kind}" and check_folder(folder)[0] == []
    assert [case.name for case in find_inputs([folder], section="training", keys=channels)] == ["case_1", "case_2"]
    for target, key in TRUTH[kind].items():
        content = make_datalist(folder, folds=2, target=target)
        assert content["simulated"] and content["name"].startswith(f"phantom_{kind}") and content["numTest"] == 1
        for entry in load_entries(content, folder, keys=channels, need_label=True):
            label = read_image(entry["label"], kind="label", label_values=entry.get("label_values"))
            truth = json.loads((folder / "truth" / f"{entry['case']}.json").read_text(encoding="utf-8"))
            assert label.data.sum() * 8.0**3 / 1000 == pytest.approx(truth[key], rel=1e-6)
