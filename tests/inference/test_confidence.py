"""Entropy, confidence of each lesion, calibration and volume interval by hand, and in what ``predict`` writes."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import nibabel
import numpy as np
import pytest
from scipy.stats import entropy

from monai_isles.cli.main import main
from monai_isles.errors import IslesError
from monai_isles.inference.calibrated import Calibration
from monai_isles.inference.outputs import entropy_bits, lesion_confidence
from monai_isles.io import publish_json
from monai_isles.io.payload import sha256_of

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
        {"volume_ml": 1.5, "mean_probability": 0.6, "mean_uncertainty": 0.2, "confidence": None},
        {"volume_ml": 0.5, "mean_probability": 0.9, "mean_uncertainty": 0.0, "confidence": None},
        {"volume_ml": 0.5, "mean_probability": 0.3, "mean_uncertainty": 0.0, "confidence": None},
    ]
    assert lesion_confidence(lesion, p, None, 0.5)[0]["mean_uncertainty"] is None
    assert lesion_confidence(np.zeros((6, 6, 2)), p, u, 0.5) == []


def test_the_interval_and_the_chance_of_a_lesion_by_hand() -> None:
    groups = [{"up_to_ml": 9.0, "low": -0.7, "high": 0.5}, {"up_to_ml": None, "low": 0.0, "high": np.log(2)}]
    fitted = Calibration(1.0, 0.0, groups, [1.0, 2.0, -0.5])
    assert fitted.interval(9.0) == pytest.approx((10 * np.exp(-0.7) - 1, 10 * np.exp(0.5) - 1), abs=1e-3)
    assert fitted.interval(9.1) == pytest.approx((9.1, 2 * 10.1 - 1), abs=1e-3)
    assert (fitted.interval(0.0) or (1,))[0] == 0.0 and Calibration().interval(9.0) is None
    odds = np.exp(1.0) * 4.0**2 / np.e**0.5  # probability 0.8, e ml
    assert fitted.confidence(0.8, np.e) == pytest.approx(odds / (1 + odds))
    assert Calibration().confidence(0.8, 3.0) is None
    one = np.ones((1, 1, 1))
    assert lesion_confidence(one, 0.8 * one, None, np.e, fitted)[0]["confidence"] == round(odds / (1 + odds), 3)


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "FileNotFoundError"), ("[", "JSONDecodeError"), ('{"heat": 2}', "TypeError"),
     ('{"temperature": 0}', "temperature 0"), ('{"volume": [{"low": 1}]}', "KeyError")],
)  # fmt: skip
def test_a_calibration_that_makes_no_sense_is_refused(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / "c.json").write_text(content)
    with pytest.raises(IslesError, match=rf"E-INF-16(?s:.*){said}"):
        Calibration.read(tmp_path / "c.json")


def test_a_calibration_reads_back_what_it_records(tmp_path: Path) -> None:
    group = {"up_to_ml": None, "low": -0.5, "high": 0.25, "n": 40}
    fitted = Calibration(1.5, -0.25, [group], [1.0, 0.5, 0.25], about="40 scans")
    publish_json(tmp_path / "c.json", asdict(fitted))
    assert Calibration.read(tmp_path / "c.json") == fitted


def test_predict_writes_lesions_and_the_entropy_that_was_asked_for(
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
    assert "lesion_ml_interval" not in result  # weights that nothing was calibrated on
    assert sum(one["volume_ml"] for one in result["lesions"]) == pytest.approx(result["lesion_ml"], abs=0.01)
    for name, key in (("probability", "mean_probability"), ("uncertainty", "mean_uncertainty")):
        weighted = sum(one["volume_ml"] * one[key] for one in result["lesions"]) / result["lesion_ml"]
        assert weighted == pytest.approx(maps[name][inside].mean(), abs=2e-3)
    assert not (folder / "entropy.nii.gz").exists()
    assert main([*words, "--entropy"]) == 0
    written = nibabel.load(folder / "entropy.nii.gz")
    assert written.get_fdata() == pytest.approx(entropy_bits(maps["probability"]), abs=1e-5)
    np.testing.assert_allclose(written.affine, nibabel.load(folder / "lesion.nii.gz").affine)


def test_a_bundle_predicts_with_the_calibration_of_its_own_weights_alone(
    phantom_folder: Path, untrained_weights: Path, tmp_path: Path
) -> None:
    mine = Path(shutil.copytree(BUNDLE, tmp_path / "mine"))
    shutil.copyfile(untrained_weights, mine / "models/model.pt")
    metadata = json.loads((mine / "metadata.json").read_text())
    publish_json(mine / "metadata.json", metadata | {"weights_sha256": sha256_of(untrained_weights)})
    group = {"up_to_ml": None, "low": -1.0, "high": 1.0, "n": 40}
    publish_json(mine / "models/calibration.json", asdict(Calibration(2.0, 0.5, [group], [0.0, 1.0, 0.0])))
    config = json.loads((mine / "inference.json").read_text())
    config |= {"calibration": "$@bundle_root + '/models/calibration.json'", "threshold": 0.5, "min_size_vox": 1}
    publish_json(mine / "inference.json", config)
    words = ["predict", str(phantom_folder / "TRAINING/case_1"), "--bundle", str(mine), "--step", "32"]
    words += ["--mc-passes", "1", "--threshold", "0.5", "--min-size", "1", "--no-report", "--threads", "1"]
    read = {}
    for name, more in (("own", []), ("other", ["--weights", str(untrained_weights)]), ("sizes", ["--min-size", "2"])):
        assert main([*words, "--out", str(tmp_path / name), *more]) == 0
        folder = tmp_path / name / "case_1"
        read[name] = json.loads((folder / "result.json").read_text())
        maps = {key: nibabel.load(folder / f"{key}.nii.gz").get_fdata() for key in ("probability", "lesion")}
        read[f"{name} map"] = maps["probability"]
        assert ((maps["probability"] > 0.5) == (maps["lesion"] > 0)).all()
    raw = read["other map"]
    odds = np.sqrt(raw / (1 - raw)) * np.exp(0.5)
    assert read["own map"] == pytest.approx(odds / (1 + odds), abs=1e-5)
    low, high = read["own"]["lesion_ml_interval"]
    assert high == pytest.approx((read["own"]["lesion_ml"] + 1) * np.e - 1, rel=1e-3) and low < high
    first = read["own"]["lesions"][0]
    assert first["confidence"] == pytest.approx(first["mean_probability"], abs=1e-3)
    for name in ("other", "sizes"):  # neither was fitted on lesions of another rule
        assert "lesion_ml_interval" not in read[name] and read[name]["lesions"][0]["confidence"] is None
    np.testing.assert_array_equal(read["sizes map"], read["own map"])
    assert read["own"]["calibration_sha256"] and "calibration_sha256" not in read["other"]
