"""The clinical baseline goes through the same commands as the networks, without weights, and equals ``rcbf30``."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel
import numpy as np
import onnxruntime
import pytest
import torch

from monai_isles.cli.main import main
from monai_isles.data import find_entries, make_datalist
from monai_isles.errors import IslesError
from monai_isles.inference.ischaemia import read_perfusion_case
from monai_isles.evaluation.threshold_baselines import RCBF30, single_threshold_core
from monai_isles.export.bundle import export_bundle
from monai_isles.inference import load_predictor
from monai_isles.bundle import Bundle
from monai_isles.io import load_state, publish_json, read_image
from monai_isles.networks import ThresholdRule
from tests.reliability.children import Forks

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "bundles/threshold"
MAPS = ("ct", "cbf", "cbv", "mtt", "tmax")


@pytest.fixture(scope="module")
def predicted(phantom_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("predicted") / "out"
    assert main(["predict", str(phantom_folder), "--bundle", str(BUNDLE), "--out", str(out)]) == 0
    return out


def mask(path: Path) -> np.ndarray:
    return read_image(path, kind="label").data > 0


def test_predict_needs_no_weights_and_says_that_there_are_none(predicted: Path) -> None:
    names = {"core.nii.gz", "hypoperfused.nii.gz", "lesion.nii.gz", "probability.nii.gz", "report.html", "result.json"}
    assert {p.name for p in (predicted / "case_1").iterdir()} == names
    result = json.loads((predicted / "case_1/result.json").read_text())
    assert result["weights_sha256"] == [] and json.loads((predicted / "run.json").read_text())["weights"] == {}
    assert (result["target"], result["core_rcbf"], result["delay_s"]) == ("core", 0.3, 6.0)


def test_masks_and_numbers_are_those_of_the_rule_in_the_evaluation(predicted: Path, phantom_folder: Path) -> None:
    filled = 0
    for entry in find_entries(phantom_folder, section="training", keys=MAPS):
        folder, case = predicted / entry["case"], read_perfusion_case(entry)
        core = single_threshold_core(case, RCBF30)
        assert np.array_equal(mask(folder / "core.nii.gz"), core)
        assert np.array_equal(mask(folder / "lesion.nii.gz"), core)
        block, voxel_ml = json.loads((folder / "result.json").read_text())["perfusion"], np.prod(case.spacing_mm) / 1000
        for key in ("core", "hypoperfused"):
            assert block[f"{key}_ml"] == pytest.approx(mask(folder / f"{key}.nii.gz").sum() * voxel_ml, abs=1e-3)
        assert block["tmax_ml"]["6"] == block["hypoperfused_ml"] and block["midline"] == case.midline == "mirror"
        filled += int(core.any())
    assert filled


def test_a_mask_lies_on_the_inputs_own_grid(predicted: Path, phantom_folder: Path) -> None:
    source = nibabel.load(next((phantom_folder / "TRAINING/case_1").glob("*CT_CBF*/*.nii")))
    image = nibabel.load(predicted / "case_1/core.nii.gz")
    assert (
        image.shape == source.shape and np.allclose(image.affine, source.affine) and image.get_data_dtype() == "uint8"
    )


def test_evaluate_gives_the_bundle_and_rcbf30_the_same_scores(
    predicted: Path, phantom_folder: Path, tmp_path: Path
) -> None:
    scores = tmp_path / "scores"
    words = ["--pred", str(predicted), "--ref", str(phantom_folder), "--out", str(scores), "--baseline"]
    assert main(["evaluate", *words]) == 0
    ours, theirs = (
        [row["dsc"] for row in csv.DictReader((scores / name).read_text().splitlines())]
        for name in ("per_case.csv", "baseline_per_case.csv")
    )
    assert ours == theirs and len(ours) == 3 and float(ours[0]) > 0


def test_the_overlay_makes_the_hypoperfused_tissue_the_target(
    predicted: Path, phantom_folder: Path, tmp_path: Path
) -> None:
    case = phantom_folder / "TRAINING/case_1"
    words = ["--bundle", str(BUNDLE), "--overlay", "hypoperfused.json", "--out", str(tmp_path), "--no-report"]
    assert main(["predict", str(case), *words]) == 0
    low = mask(predicted / "case_1/hypoperfused.nii.gz")
    assert low.any() and np.array_equal(mask(tmp_path / "case_1/lesion.nii.gz"), low)
    assert np.array_equal(mask(tmp_path / "case_1/core.nii.gz"), mask(predicted / "case_1/core.nii.gz"))


def test_another_threshold_moves_the_lesion_and_leaves_the_core(
    predicted: Path, phantom_folder: Path, tmp_path: Path
) -> None:
    case = phantom_folder / "TRAINING/case_1"
    words = ["--bundle", str(BUNDLE), "--threshold", "0.2", "--min-size", "0", "--out", str(tmp_path), "--no-report"]
    assert main(["predict", str(case), *words]) == 0
    core = mask(predicted / "case_1/core.nii.gz")
    assert np.array_equal(mask(tmp_path / "case_1/core.nii.gz"), core)
    assert mask(tmp_path / "case_1/lesion.nii.gz").sum() > core.sum()


def test_without_a_ct_the_overlay_takes_the_maps_alone(phantom_folder: Path, tmp_path: Path) -> None:
    entry = next(iter(find_entries(phantom_folder, section="training", keys=MAPS)))
    predictor = load_predictor(BUNDLE, tmp_path, device="cpu", changes={"modalities": list(MAPS[1:])})
    predictor.predict({key: entry[key] for key in ("case", *MAPS[1:])})
    assert mask(tmp_path / str(entry["case"]) / "core.nii.gz").shape[2] == 2


def test_folds_are_run_predicted_searched_and_not_done_again(
    phantom_folder: Path, data_list: Path, tmp_path: Path, predicted: Path, capsys: pytest.CaptureFixture[str],
    forked_folds: None,
) -> None:
    out = tmp_path / "cv"
    run = [
        "crossval",
        str(BUNDLE),
        "--data-list",
        str(data_list),
        "--dataset-dir",
        str(phantom_folder),
        "--out",
        str(out),
    ]
    assert main(run) == 0, capsys.readouterr()
    for number in (1, 2, 3):
        out_of_fold = mask(out / f"predictions/case_{number}/lesion.nii.gz")
        assert np.array_equal(out_of_fold, mask(predicted / f"case_{number}/lesion.nii.gz"))
    assert load_state(out / "fold_0/model.pt") == {}
    assert "nothing to learn" in json.loads((out / "fold_1/run.json").read_text())["outcome"]
    assert main(["search", str(out)]) == 0 and (out / "postprocessing.json").is_file()
    capsys.readouterr()
    assert main([*run, "--json"]) == 0
    assert {f["outcome"] for f in json.loads(capsys.readouterr().out)["folds"].values()} == {"done before"}


def test_the_verbatim_command_scores_the_fold_and_leaves_an_empty_model(
    phantom_folder: Path, data_list: Path, server: Forks, tmp_path: Path
) -> None:
    words = ["--config_file", "bundles/threshold/train.json", "--data_list", str(data_list)]
    words += ["--output_dir", str(tmp_path / "r")]
    done = server.bundle_run("training", *words, ISLES2018_DIR=str(phantom_folder))
    assert done.code == 0, done.text
    assert {p.name for p in (tmp_path / "r").iterdir()} == {"data_list.json", "model.pt", "run.json"}
    assert "nothing to learn" in done.text


def test_an_export_carries_an_empty_state_and_graphs_of_the_rule(tmp_path: Path) -> None:
    done = export_bundle(BUNDLE, tmp_path / "out")
    assert load_state(done.folder / "models/model.pt") == {} and not (BUNDLE / "models").exists()
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["threshold", "threshold.zip"]
    image = torch.rand(1, 3, 6, 5, 2)
    session = onnxruntime.InferenceSession(done.folder / "models/model.onnx", providers=["CPUExecutionProvider"])
    assert np.allclose(session.run(None, {"image": image.numpy()})[0], ThresholdRule()(image).numpy(), atol=1e-4)
    assert load_predictor(done.folder, tmp_path / "again", device="cpu").weights


def test_a_network_that_has_weights_still_asks_for_them(tmp_path: Path) -> None:
    config = json.loads((ROOT / "bundles/clerigues/inference.json").read_text())
    publish_json(tmp_path / "inference.json", config)
    with pytest.raises(IslesError, match=r"(?s)E-INF-11: no weights there.*models/model\.pt"):
        load_predictor(tmp_path, tmp_path / "out", device="cpu")


def test_training_and_inference_prepare_a_case_in_the_same_way() -> None:
    train, inference = (json.loads((BUNDLE / f"{name}.json").read_text()) for name in ("train", "inference"))
    shared = ("preprocessing", "network_def", "modalities", "maps", "target", "core_rcbf", "delay_s", "min_cluster_ml",
              "threshold", "min_size_vox")  # fmt: skip
    assert all(train[key] == inference[key] for key in shared)


def test_the_cuts_are_those_of_the_clinic_and_every_config_passes_the_allow_list() -> None:
    config = json.loads((BUNDLE / "inference.json").read_text())
    wanted = {"target": "core", "core_rcbf": 0.3, "delay_s": 6.0, "min_cluster_ml": 0.5, "threshold": 0.5}
    assert {key: config[key] for key in wanted} == wanted and Bundle(BUNDLE).judge() == []
