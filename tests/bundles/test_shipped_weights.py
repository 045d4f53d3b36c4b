"""The weights in the bundles are those of their metadata and cards, and do what is claimed on unseen phantoms."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import second_phantom
from sklearn.metrics import roc_auc_score

from monai_isles.bundle.bundle import Bundle, known_bundles
from monai_isles.cli.main import main
from monai_isles.data import make_datalist
from monai_isles.errors import IslesError
from monai_isles.inference.predictor import load_predictor
from monai_isles.io import load_state, publish_json, read_image
from monai_isles.io.payload import sha256_of
from monai_isles.phantom import make_dataset

ROOT = Path(__file__).parents[2] / "bundles"
SHIPPED = [one for one in map(Bundle, known_bundles().values()) if one.weights.is_file()]
SHIPPED += [Bundle(one.root, (f"{name}.json",)) for one in SHIPPED for name in one.metadata.get("variants", {})]
of_each = pytest.mark.parametrize("bundle", SHIPPED, ids=lambda one: f"{one.name}-{one.weights.stem}")


@of_each
def test_checksum_card_and_network_agree(bundle: Bundle, tmp_path: Path) -> None:
    card = (bundle.root / "README.md").read_text(encoding="utf-8")
    assert sha256_of(bundle.weights) == bundle.weights_sha256 and str(bundle.weights_sha256) in card
    assert "trained and measured on simulated data" in card and "unfit for patients" in card.lower()
    assert bundle.weights.stat().st_size < 20e6
    predictor = load_predictor(bundle, tmp_path)  # refuses weights of another network, or another checksum
    assert list(predictor.weights.values()) == [bundle.weights_sha256] and predictor.calibration.about
    assert predictor.settings["calibration_sha256"]


@of_each
def test_the_metadata_states_the_images_of_these_weights_and_what_they_are_normalised_over(bundle: Bundle) -> None:
    config, metadata = bundle.config("inference"), bundle.metadata
    assert set(config["modalities"]) <= set(metadata["modalities"])
    upper = metadata["image_classes"].upper()
    assert all(key.upper() in upper for key in config["modalities"] if key != "ctp"), metadata["image_classes"]
    if config.get("normalise_over", "") == "foreground":
        assert "z-scored over the brain" in metadata["image_classes"]


def test_the_systems_of_the_papers_and_the_baseline_have_weights() -> None:
    assert {"abulnaga", "clerigues", "clerigues_mri", "unet", "wang"} <= {bundle.name for bundle in SHIPPED}


def found_lesion(bundle: Bundle, folder: Path, out: Path) -> float:
    """Return the chance that a voxel of the first case's lesion has a higher probability than one outside it."""
    entry = make_datalist(folder, folds=2)["training"][0]
    image = folder / entry[bundle.config("inference")["modalities"][0]]
    case = image.parent if image.parents[1] == folder else image.parents[1]
    words = ["--overlay", *bundle.overlays] if bundle.overlays else []
    words += ["--fast"] if "fast_step" in bundle.config("inference") else []
    assert main(["predict", str(case), "--bundle", str(bundle.root), "--out", str(out), *words, "--no-report"]) == 0
    (path,) = out.rglob("probability.nii.gz")
    truth = read_image(folder / entry["label"], kind="label", label_values=entry.get("label_values")).data > 0
    assert 0 < truth.sum() < truth.size / 2
    return float(roc_auc_score(truth.ravel(), read_image(path, kind="probability").data.ravel()))


@pytest.mark.parametrize("name", ["abulnaga", "clerigues", "unet"])
def test_ct_weights_find_the_lesion_of_another_seed(name: str, phantom_folder: Path, tmp_path: Path) -> None:
    assert found_lesion(Bundle(ROOT / name), phantom_folder, tmp_path / "out") > 0.9


@pytest.mark.parametrize("name", ["abulnaga", "clerigues", "fusion", "unet"])
def test_ct_weights_find_the_lesion_of_another_generator(name: str, tmp_path: Path) -> None:
    second_phantom.main([str(tmp_path / "data"), "--cases", "2", "--seed", "17"])
    assert found_lesion(Bundle(ROOT / name), tmp_path / "data", tmp_path / "out") > 0.9


@pytest.mark.long
def test_the_weights_that_need_a_series_find_the_lesion(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "data", cases=2, seed=5, max_slices=2)
    assert found_lesion(Bundle(ROOT / "wang"), folder, tmp_path / "out") > 0.9


@pytest.mark.long
def test_mri_weights_find_the_lesion(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "data", cases=2, seed=5, kind="siss")
    assert found_lesion(Bundle(ROOT / "clerigues_mri"), folder, tmp_path / "out") > 0.9


@pytest.mark.long
def test_they_beat_the_threshold_rules_on_scans_of_another_seed(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "data", cases=30, seed=5, series=False, max_slices=2, variety="unseen")
    publish_json(tmp_path / "list.json", make_datalist(folder, folds=5))
    data = ["--data-list", str(tmp_path / "list.json"), "--folds", "0", "1", "2", "3"]
    out, scores = tmp_path / "out", tmp_path / "scores"
    words = ["predict", str(folder), *data, "--bundle", "clerigues", "--out", str(out), "--fast", "--no-report"]
    assert main(words) == 0
    ref = ["--pred", str(out), "--ref", str(folder), *data, "--out", str(scores), "--baseline"]
    assert main(["evaluate", *ref]) == 0
    methods = json.loads((scores / "summary.json").read_text())["methods"]
    ours, core, single = (methods[name]["metrics"]["dsc"] for name in ("network", "rcbf30", "single_threshold"))
    assert methods["network"]["n"] == 24
    assert ours["ci95"][0] > core["mean"] and ours["mean"] > single["mean"] + 0.05


def test_weights_that_changed_are_refused(tmp_path: Path) -> None:
    damaged = tmp_path / "model.pt"
    raw = bytearray((ROOT / "clerigues/models/model.pt").read_bytes())
    raw[len(raw) // 2] ^= 1
    damaged.write_bytes(bytes(raw))
    with pytest.raises(IslesError, match="E-"):
        load_state(damaged)
