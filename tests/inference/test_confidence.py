"""Entropy, confidence of each lesion and the volume interval by hand, and in what ``predict`` writes."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from scipy.stats import entropy

from monai_isles.cli.main import main
from monai_isles.inference import entropy_bits, lesion_confidence, volume_interval
from monai_isles.postprocessing import binarise

BUNDLE = Path(__file__).parents[2] / "bundles/clerigues"


def test_entropy_agrees_with_scipy_and_is_0_and_1_at_its_ends() -> None:
    p = np.random.default_rng(0).random((4, 5, 2))
    assert entropy_bits(p) == pytest.approx(entropy(np.stack([p, 1 - p]), base=2), abs=1e-6)
    assert entropy_bits(np.array([0.0, 0.5, 1.0])).tolist() == [0.0, 1.0, 0.0]


def test_each_lesion_has_its_own_confidence_the_largest_first() -> None:
    lesion, p, u = np.zeros((6, 6, 2)), np.zeros((6, 6, 2)), np.zeros((6, 6, 2))
    lesion[0, 0, 0] = lesion[3, 0:3, 1] = lesion[4, 3, 1] = 1  # the corner of the last one touches nothing
    p[0, 0, 0], p[3, 0:3, 1], p[4, 3, 1] = 0.9, (0.5, 0.6, 0.7), 0.3
    u[3, 0:3, 1] = (0.1, 0.2, 0.3)
    found = lesion_confidence(lesion, p, u, 0.5)
    assert found == [
        {"volume_ml": 1.5, "mean_probability": 0.6, "mean_uncertainty": 0.2},
        {"volume_ml": 0.5, "mean_probability": 0.9, "mean_uncertainty": 0.0},
        {"volume_ml": 0.5, "mean_probability": 0.3, "mean_uncertainty": 0.0},
    ]
    assert lesion_confidence(lesion, p, None, 0.5)[0]["mean_uncertainty"] is None
    assert lesion_confidence(np.zeros((6, 6, 2)), p, u, 0.5) == []


def test_the_interval_by_hand() -> None:
    p, u = np.zeros((8, 1, 1)), np.zeros((8, 1, 1))
    p[:4, 0, 0], u[:4, 0, 0] = (0.9, 0.6, 0.45, 0.3), (0.1, 0.2, 0.2, 0.05)
    assert volume_interval(p, u, 0.5, 1, 0.25) == (0.25, 0.75)
    assert volume_interval(p, u, 0.5, 2, 0.25) == (0.0, 0.75)  # one voxel is too small a lesion
    assert volume_interval(p, np.zeros_like(p), 0.5, 1, 0.25) == (0.5, 0.5)


def test_the_prediction_is_always_in_its_interval() -> None:
    random = np.random.default_rng(4)
    for size in (1, 5, 20):
        p, u = random.random((12, 12, 3)).astype(np.float32), 0.3 * random.random((12, 12, 3)).astype(np.float32)
        low, high = volume_interval(p, u, 0.6, size, 1.0)
        assert low <= binarise(p, 0.6, size).sum() <= high and low < high


def test_predict_writes_lesions_interval_and_the_entropy_that_was_asked_for(
    phantom_folder: Path, untrained_weights: Path, tmp_path: Path
) -> None:
    words = [
        "predict",
        str(phantom_folder / "TRAINING/case_1"),
        "--bundle",
        str(BUNDLE),
        "--out",
        str(tmp_path / "out"),
    ]
    words += [
        "--weights",
        str(untrained_weights),
        "--step",
        "32",
        "--mc-passes",
        "2",
        "--min-size",
        "1",
        "--threads",
        "1",
    ]
    words += ["--threshold", "0.45", "--no-report"]
    assert main(words) == 0
    folder = tmp_path / "out/case_1"
    result = json.loads((folder / "result.json").read_text())
    maps = {n: nibabel.load(folder / f"{n}.nii.gz").get_fdata() for n in ("lesion", "probability", "uncertainty")}
    inside = maps["lesion"] > 0
    low, high = result["lesion_ml_interval"]
    assert low <= result["lesion_ml"] <= high and low < high
    assert sum(one["volume_ml"] for one in result["lesions"]) == pytest.approx(result["lesion_ml"], abs=0.01)
    for name, key in (("probability", "mean_probability"), ("uncertainty", "mean_uncertainty")):
        weighted = sum(one["volume_ml"] * one[key] for one in result["lesions"]) / result["lesion_ml"]
        assert weighted == pytest.approx(maps[name][inside].mean(), abs=2e-3)
    assert not (folder / "entropy.nii.gz").exists()
    assert main([*words, "--entropy"]) == 0
    written = nibabel.load(folder / "entropy.nii.gz")
    assert written.get_fdata() == pytest.approx(entropy_bits(maps["probability"]), abs=1e-5)
    np.testing.assert_allclose(written.affine, nibabel.load(folder / "lesion.nii.gz").affine)
