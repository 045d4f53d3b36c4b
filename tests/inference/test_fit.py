"""Weights of another network are refused with what both were built from; results state the size that counts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from torch import nn

from monai_isles.bundle.bundle import Bundle
from monai_isles.errors import IslesError
from monai_isles.inference.predictor import load_predictor, require_fit


def test_weights_that_fit_pass(tmp_path: Path) -> None:
    require_fit(nn.Linear(2, 3), nn.Linear(2, 3).state_dict(), tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("beside", "content", "said"),
    [
        ("runs/a/run.json", {"settings": {"network": "Other( (a): b )"}}, r"trained as Other \(.*run\.json"),
        ("runs/metadata.json", {"name": "The other bundle"}, r"trained as The other bundle \(.*metadata\.json"),
        ("runs/a/run.json", {"settings": []}, r"first weight: \(4, 2\) for \(3, 2\)\n"),
    ],
)  # fmt: skip
def test_shapes_and_both_origins_are_named(tmp_path: Path, beside: str, content: dict, said: str) -> None:
    (tmp_path / "runs/a").mkdir(parents=True)
    (tmp_path / beside).write_text(json.dumps(content))
    weights = tmp_path / "runs/a/model.pt"
    with pytest.raises(IslesError, match=rf"E-INF-12.*\n.*model\.pt against b/inference\.json\n.*2 tensors.*{said}"):
        require_fit(nn.Linear(2, 3), nn.Linear(2, 4).state_dict(), weights, "b/inference.json")


def test_a_file_that_holds_no_dictionary_fits_nothing() -> None:
    with pytest.raises(IslesError, match=r"E-INF-12(?s:.*)weight: missing for \(3, 2\)"):
        require_fit(nn.Linear(2, 3), [1, 2], None)


def test_the_weights_of_a_record_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(Bundle.open("unet").weights, tmp_path / "w.pt")
    monkeypatch.chdir(tmp_path)
    predictor = load_predictor(Bundle.open("unet"), tmp_path, weights=[Path("w.pt")])
    assert list(predictor.weights) == [str(tmp_path / "w.pt")]


def test_a_size_in_voxels_replaces_the_one_in_ml(tmp_path: Path) -> None:
    sizes = {}
    for name, changes in (("own", {}), ("given", {"min_size_vox": 5})):
        settings = load_predictor("fusion", tmp_path, changes=changes).settings
        sizes[name] = {key: settings[key] for key in ("min_size_vox", "min_cluster_ml") if key in settings}
    assert sizes["own"]["min_size_vox"] is None and sizes["own"]["min_cluster_ml"] > 0
    assert sizes["given"] == {"min_size_vox": 5}


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("abulnaga", {"dilate_first": True}),
        ("clerigues", {"masked": True}),
        ("clerigues_mri", {"cover": "centre"}),
        ("clerigues_mri", {"masked": True}),
        ("fusion", {"step_s": 2.0}),
        ("wang", {"run_length": 4}),
    ],
)
def test_a_result_states_what_an_overlay_changed_or_it_would_pass_for_done_before(
    name: str, changed: dict[str, object], tmp_path: Path
) -> None:
    folder = Path(__file__).parents[2] / "bundles" / name
    usual, other = (load_predictor(folder, tmp_path, changes=changes).settings for changes in ({}, changed))
    assert other == usual | changed != usual
