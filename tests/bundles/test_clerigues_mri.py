"""The MRI bundle trains both tasks by the verbatim command, predicts either, and holds the paper's settings."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

from monai_isles.cli.main import main
from monai_isles.export.bundle import check_metadata
from monai_isles.inference import load_predictor
from monai_isles.bundle import Bundle
from monai_isles.io.weights import publish_state
from monai_isles.phantom import make_dataset
from tests.reliability.children import Forks

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "bundles/clerigues_mri"
OVERLAYS = ("spes", "dwi_adc", "baseline", "balanced", "proposed", "small", "demo", "phantom", "siss_2mm")
TINY = ("--base_channels", "2", "--patches_per_case", "16", "--validation_patches_per_case", "16", "--max_epochs", "1",
        "--fold_count", "2", "--validation_step", "[24,24,16]")  # fmt: skip


def network(*overlays: str, **settings: object) -> torch.nn.Module:
    config = Bundle.open(BUNDLE, overlays=[f"{name}.json" for name in overlays], settings=settings).config("train")
    config["device"] = "cpu"
    return config.get_parsed_content("network_def")


@pytest.fixture(scope="module")
def scans(tiny_scans: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two simulated scans a task, on coarse grids of the real field of view."""
    spes = tmp_path_factory.mktemp("mri") / "spes"
    return {"siss": tiny_scans["mr"], "spes": make_dataset(spes, cases=2, seed=3, kind="spes", spacing_mm=4.0)}


@pytest.fixture(scope="module", params=["siss", "spes"])
def trained(request, scans: dict[str, Path], server: Forks, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    out = tmp_path_factory.mktemp("train") / "run"
    files = ["train.json", *(["spes.json"] if request.param == "spes" else [])]
    names = "[" + ",".join(f"'bundles/clerigues_mri/{name}'" for name in files) + "]"
    done = server.bundle_run(
        "training", "--config_file", names, "--dataset_dir", str(scans[request.param]), "--output_dir", str(out), *TINY
    )
    assert done.code == 0, done.text
    return request.param, out


def test_one_config_trains_either_task(trained: tuple[str, Path]) -> None:
    kind, out = trained
    (row,) = csv.DictReader((out / "curves.csv").read_text().splitlines())
    assert 0 < float(row["val_l1_error"]) < 2 and 0 <= float(row["val_dsc"]) <= 1
    content = json.loads((out / "data_list.json").read_text())
    assert content["labels"]["1"] == {"siss": "lesion", "spes": "penumbra"}[kind]


def test_the_trained_network_predicts_a_case_on_its_own_grid(
    trained: tuple[str, Path], scans: dict[str, Path], tmp_path: Path
) -> None:
    kind, out = trained
    overlay, case = ["--overlay", "spes.json"] if kind == "spes" else [], scans[kind] / "TRAINING/1"
    bundle = tmp_path / "bundle"
    shutil.copytree(BUNDLE, bundle)
    config = dict(Bundle.open(BUNDLE, overlays=overlay[1:], settings={"base_channels": 2}).config("inference").get())
    (bundle / "inference.json").write_text(json.dumps(config))
    words = ["predict", str(case), "--bundle", str(bundle), "--weights", str(out / "model.pt"), "--fast"]
    assert main([*words, *overlay, "--threads", "1", "--no-report", "--out", str(tmp_path / "out")]) == 0
    (lesion,), source = (tmp_path / "out").glob("*/lesion.nii.gz"), next(case.glob("*MR_DWI*/*.nii"))
    a, b = nib.load(lesion), nib.load(source)
    assert a.shape == b.shape and np.allclose(a.affine, b.affine)
    result = json.loads((lesion.parent / "result.json").read_text())
    assert result["step"] == [12, 12, 8] and len(result["modalities"]) == {"siss": 4, "spes": 7}[kind]


def test_dwi_and_adc_alone_go_through_and_come_back_on_their_own_grid(scans: dict[str, Path], tmp_path: Path) -> None:
    source = nib.load(next((scans["siss"] / "TRAINING/1").glob("*MR_DWI*/*.nii")))
    turned = np.asarray(source.dataobj)[::-1, :, :].astype(np.float32)  # stored right to left
    affine = source.affine @ np.diag([-1, 1, 1, 1])
    affine[:3, 3] += source.affine[:3, 0] * (source.shape[0] - 1)
    case = tmp_path / "case"
    case.mkdir()
    nib.save(nib.Nifti1Image(turned, affine), case / "sub-1_dwi.nii.gz")
    nib.save(nib.Nifti1Image(np.where(turned > 0, 0.8, 0).astype(np.float32), affine), case / "sub-1_adc.nii.gz")
    weights = tmp_path / "model.pt"
    publish_state(weights, network("dwi_adc", "small").state_dict())
    words = ["predict", str(case), "--bundle", str(BUNDLE), "--overlay", "dwi_adc.json", "small.json", "--fast"]
    out = tmp_path / "out"
    assert main([*words, "--weights", str(weights), "--threads", "1", "--no-report", "--out", str(out)]) == 0
    written = nib.load(next(out.glob("*/probability.nii.gz")))
    assert written.shape == turned.shape and np.allclose(written.affine, affine, atol=1e-4)
    inside = np.asarray(written.dataobj)[turned > 0]
    assert (inside > 0).all() and (inside < 1).all()


@pytest.mark.parametrize(
    ("overlays", "channels", "count"),
    [((), 8, 7_037_122), (("spes",), 14, 7_042_306), (("balanced",), 4, None), (("spes", "balanced"), 7, None)],
)
def test_the_configs_build_the_papers_networks(overlays: tuple[str, ...], channels: int, count: int | None) -> None:
    built = network(*overlays)
    assert built.first.in_channels == channels
    if count is not None:
        assert sum(p.numel() for p in built.parameters() if p.requires_grad) == count


def test_the_default_settings_are_the_papers() -> None:
    train = json.loads((BUNDLE / "train.json").read_text())
    paper = {"patch": [24, 24, 16], "patches_per_case": 10000, "batch_size": 16, "max_epochs": 200, "patience": 8,
             "focal_gamma": 2.0, "focal_alpha": [0.25, 0.75], "random_offset": True,
             "augment": "axial", "base_channels": 32, "border": [12, 12, 8]}  # fmt: skip
    assert {key: train[key] for key in paper} == paper
    assert (train["optimizer"]["_target_"], train["optimizer"]["rho"]) == ("torch.optim.Adadelta", 0.95)
    inference = json.loads((BUNDLE / "inference.json").read_text())
    paper = {"step": [4, 4, 1], "cover": "touch", "mc_passes": 1, "threshold": 0.5, "min_size_vox": 200}
    assert {key: inference[key] for key in paper} == paper


def test_the_task_overlay_tunes_nothing() -> None:
    """The paper's claim: the same training for both tasks; only the images, the target and the phantom differ."""
    spes = json.loads((BUNDLE / "spes.json").read_text())
    assert set(spes) == {
        "phantom_kind",
        "phantom_folder",
        "phantom_cases",
        "target",
        "modalities",
        "twins",
        "mirror_head",
    }


def test_the_rows_of_the_table_differ_as_the_paper_says() -> None:
    rows = {name: json.loads((BUNDLE / f"{name}.json").read_text()) for name in ("baseline", "balanced", "proposed")}
    assert rows["balanced"] == {"twins": []}
    assert rows["baseline"] == {"twins": [], "focal_gamma": 0.0, "focal_alpha": None, "random_offset": False,
                                "augment": None}  # fmt: skip
    train = json.loads((BUNDLE / "train.json").read_text())
    assert all(train[key] == value for key, value in rows["proposed"].items())


def test_without_symmetric_modalities_nothing_is_registered() -> None:
    for overlays, expected in (((), True), (("balanced",), False)):
        config = Bundle.open(BUNDLE, overlays=[f"{name}.json" for name in overlays]).config("train")
        config["dataset_dir"] = "nowhere"
        chain = config.get_parsed_content("preprocessing").transforms
        assert any(type(step).__name__ == "SymmetricModalitiesd" for step in chain) is expected


def test_training_and_inference_prepare_a_case_in_the_same_way() -> None:
    train, inference = (json.loads((BUNDLE / f"{name}.json").read_text()) for name in ("train", "inference"))
    for key in ("preprocessing", "network_def", "modalities", "twins", "channels", "mirror_head", "patch", "border"):
        assert train[key] == inference[key], key


def test_every_overlay_is_sound_and_allowed_and_has_a_place_in_training_or_inference() -> None:
    assert Bundle(BUNDLE).judge() == []
    known = {key for name in ("train", "inference") for key in json.loads((BUNDLE / f"{name}.json").read_text())}
    for name in OVERLAYS:
        assert set(json.loads((BUNDLE / f"{name}.json").read_text())) <= known, name
    check_metadata(json.loads((BUNDLE / "metadata.json").read_text()), "metadata.json")


def test_overlays_reach_the_predictor(tmp_path: Path) -> None:
    bundle = Bundle(BUNDLE, ("spes.json", "balanced.json", "small.json"))
    weights = tmp_path / "model.pt"
    publish_state(weights, network("spes", "balanced", "small").state_dict())
    predictor = load_predictor(bundle, tmp_path / "out", weights=[weights], device="cpu")
    assert predictor.networks[0].first.in_channels == 7 and predictor.inferer.cover == "touch"
    assert ConfigParser.load_config_file(str(BUNDLE / "inference.json"))["fast_step"] == [12, 12, 8]
