"""The fusion bundle trains on scans with series, then predicts from maps, from a series, and from both."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from monai_isles.bundle.bundle import Bundle
from monai_isles.bundle.configs import case_keys
from monai_isles.cli.main import main
from monai_isles.io import load_state
from monai_isles.io.payload import sha256_of
from monai_isles.io.weights import publish_state

BUNDLE = Path(__file__).parents[2] / "bundles/fusion"
MAPS, SMALL = ("CT_CBF", "CT_CBV", "CT_MTT", "CT_Tmax"), ["--overlay", "small.json"]
GIVEN, MEASURED, ABSENT = "given", "measured from the series", "absent"
LONG = ("maps", "no_ct", "both")
INPUTS = {
    "maps": (("CT", *MAPS), {"ct": GIVEN, "maps": GIVEN, "series": ABSENT}),
    "no_ct": (MAPS, {"ct": ABSENT, "maps": GIVEN, "series": ABSENT}),
    "series": (("CT_4DPWI",), {"ct": MEASURED, "maps": MEASURED, "series": GIVEN}),
    "both": (("CT", *MAPS, "CT_4DPWI"), {"ct": GIVEN, "maps": GIVEN, "series": GIVEN}),
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the smallest network as it is born."""
    path = tmp_path_factory.mktemp("fusion") / "model.pt"
    network = Bundle(BUNDLE, ("small.json",)).config("inference").get_parsed_content("network_def")
    publish_state(path, network.state_dict())
    return path


def test_the_shipped_weights_are_those_of_metadata_and_card_and_small() -> None:
    bundle, card = Bundle(BUNDLE), (BUNDLE / "README.md").read_text(encoding="utf-8")
    sha256 = bundle.metadata["weights_sha256"]
    assert sha256 == sha256_of(bundle.weights) and sha256 in card and bundle.weights.stat().st_size < 6e6
    assert "trained and measured on simulated data" in card and "unfit for patients" in card
    network = bundle.config("inference").get_parsed_content("network_def")
    network.load_state_dict(load_state(bundle.weights, sha256=sha256))


def test_no_modality_is_needed_by_itself() -> None:
    wanted = case_keys(Bundle(BUNDLE).config("inference"))
    assert wanted == {"keys": [], "optional": ["ct", "cbf", "cbv", "mtt", "tmax", "ctp"]}


@pytest.mark.parametrize("name", ["series", *(pytest.param(name, marks=pytest.mark.long) for name in LONG)])
def test_any_inputs_predict_by_one_file_of_weights(
    name: str, tiny_scans: dict[str, Path], weights: Path, tmp_path: Path
) -> None:
    (marks, groups), source = INPUTS[name], tiny_scans["ct"] / "TRAINING/case_1"
    for mark in marks:
        (found,) = source.glob(f"*.O.{mark}.*")
        shutil.copytree(found, tmp_path / "case_1" / found.name)
    words = ["--bundle", str(BUNDLE), *SMALL, "--weights", str(weights), "--out", str(tmp_path / "out")]
    assert main(["predict", str(tmp_path / "case_1"), *words]) == 0
    result = json.loads((tmp_path / "out/case_1/result.json").read_text(encoding="utf-8"))
    assert result["inputs"] == {**groups, "mirror": "rigid"} and result["registration"]["method"] == "rigid"
    page = (tmp_path / "out/case_1/report.html").read_text(encoding="utf-8")
    assert all(f"{group} {how}" in page for group, how in groups.items())
    (label,) = source.glob("*.OT.*/*.nii")
    truth, made = nibabel.load(label), nibabel.load(tmp_path / "out/case_1/lesion.nii.gz")
    assert made.shape == truth.shape and (made.affine == truth.affine).all()


@pytest.mark.long
def test_from_the_scanner_a_series_alone_is_one_view(tiny_scans: dict[str, Path], weights: Path, tmp_path: Path) -> None:
    (series,) = (tiny_scans["ct"] / "TRAINING/case_1").glob("*4DPWI*/*.nii")
    words = ["--bundle", str(BUNDLE), *SMALL, "--weights", str(weights), "--out", str(tmp_path / "out")]
    assert main(["predict-series", str(series), *words]) == 0
    (result,) = (tmp_path / "out").glob("*/result.json")
    made = json.loads(result.read_text(encoding="utf-8"))
    assert made["inputs"] == {**INPUTS["series"][1], "mirror": "rigid"}
    core = nibabel.load(result.parent / "core.nii.gz")  # the rules, on maps that the network did not read
    volume_ml = np.count_nonzero(core.dataobj) * np.prod(core.header.get_zooms()) / 1000
    assert made["perfusion"]["core_ml"] == pytest.approx(volume_ml, abs=1e-3)
    assert {file.name for file in result.parent.iterdir()} >= {"hypoperfused.nii.gz", "penumbra.nii.gz", "maps"}


def test_for_monai_label_a_study_and_one_image_of_its_channels_give_one_mask(
    tiny_scans: dict[str, Path], tmp_path: Path
) -> None:
    source, names = tiny_scans["ct"] / "TRAINING/case_1", ("CT", *MAPS)
    for mark in names:
        (found,) = source.glob(f"*.O.{mark}.*")
        shutil.copytree(found, tmp_path / "case_1" / found.name)
    images = [nibabel.load(next((tmp_path / "case_1").glob(f"*.O.{mark}.*/*.nii"))) for mark in names]
    stacked = np.stack([image.get_fdata(dtype=np.float32) for image in images], -1)
    nibabel.save(nibabel.Nifti1Image(stacked, images[0].affine), tmp_path / "one.nii.gz")
    config = Bundle(BUNDLE, ("small.json", "label.json")).config("inference")
    config["calibration"] = None
    before, infer, network, after = (
        config.get_parsed_content(name) for name in ("preprocessing", "inferer", "network_def", "postprocessing")
    )
    masks = []
    for path in (tmp_path / "case_1", tmp_path / "one.nii.gz"):
        case = before({"image": str(path), "device": "cpu"})
        assert case["device"] == "cpu" and not {"ct", "cbf", "tmax_measured", "curves"} & set(case)
        masks.append(after(case | {"pred": infer(case["image"][None], network.eval())[0]})["pred"])
    assert masks[0].shape[1:] == images[0].shape and torch.equal(masks[0], masks[1])


@pytest.mark.long
def test_it_trains_and_cross_validates_scans_of_which_some_have_no_series(
    tiny_scans: dict[str, Path], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(tiny_scans["ct"], data)
    (series,) = (data / "TRAINING/case_2").glob("*4DPWI*")
    shutil.rmtree(series)
    out = tmp_path / "cv"
    content = json.loads((tiny_scans["ct"] / "list.json").read_text(encoding="utf-8"))
    for entry in content["training"]:
        entry.pop("ctp", None)  # looked for by name
    (tmp_path / "list.json").write_text(json.dumps(content), encoding="utf-8")
    listed = ["--data-list", str(tmp_path / "list.json"), "--dataset-dir", str(data)]
    assert main(["crossval", str(BUNDLE), *SMALL, *listed, "--out", str(out)]) == 0
    seen = [json.loads((out / f"predictions/case_{n}/result.json").read_text())["inputs"]["series"] for n in (1, 2, 3)]
    assert seen == [GIVEN, ABSENT, GIVEN]
