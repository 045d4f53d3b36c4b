"""Intensities unlike those of the training cases are told with both numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from monai_isles.bundle import Bundle
from monai_isles.data import find_entries
from monai_isles.inference import load_predictor
from monai_isles.inference.ischaemia import brain_facts
from monai_isles.phantom import make_dataset
from monai_isles.workflows.perfusion import intensity_flags
from monai_isles.workflows.predict import predict_cases

BRAIN = np.ones((10, 10, 2), bool)
METADATA = {
    "training_intensities": {"cbf": {"median": [20.0, 40.0], "p99": [80.0, 120.0]}},
    "modalities": {"tmax": {"typical_max_in_brain": 30}},
}


def image(median: float, top: float) -> np.ndarray:
    values = np.full(BRAIN.shape, median)
    values.flat[:10] = top
    return values


def test_the_facts_are_the_median_and_the_99th_percentile_of_the_brain() -> None:
    brain = BRAIN.copy()
    brain[0] = False
    values = np.where(brain, np.arange(200.0).reshape(BRAIN.shape), 1e6)
    inside = values[brain]
    assert brain_facts(values, brain) == {"median": np.percentile(inside, 50), "p99": np.percentile(inside, 99)}


def test_a_case_like_the_training_cases_draws_no_remark_with_a_tenth_of_room() -> None:
    assert intensity_flags({"cbf": image(30, 100)}, BRAIN, METADATA) == []
    assert intensity_flags({"cbf": image(18.1, 123.9)}, BRAIN, METADATA) == []


def test_other_units_are_told_with_both_ranges() -> None:
    flags = intensity_flags({"cbf": image(300, 1000)}, BRAIN, METADATA)
    assert [flag.code for flag in flags] == ["unseen-intensities"] * 2 and flags[0].severity == "warning"
    assert "cbf: median 300 in the brain, 20 to 40 in the training cases" in flags[0].text


def test_without_training_facts_the_stated_range_counts() -> None:
    (flag,) = intensity_flags({"tmax": image(5, 300)}, BRAIN, METADATA)
    assert "99th percentile 300 in the brain, the bundle states at most 30" in flag.text
    assert intensity_flags({"tmax": image(5, 20)}, BRAIN, METADATA) == []
    (flag,) = intensity_flags({"tmax": image(5, 20)}, BRAIN, {})
    assert flag.severity == "info" and "does not say" in flag.text


def test_the_metadata_is_read_from_either_layout(tmp_path: Path) -> None:
    assert Bundle(tmp_path).metadata == {}
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/metadata.json").write_text(json.dumps(METADATA))
    assert Bundle(tmp_path).metadata == METADATA


def test_what_is_said_of_other_weights_is_left_out_and_told(tmp_path: Path) -> None:
    content = METADATA | {"weights_sha256": "ab"}
    (tmp_path / "metadata.json").write_text(json.dumps(content))
    assert Bundle(tmp_path).metadata_of(["ab"]) == content == Bundle(tmp_path).metadata
    other = Bundle(tmp_path).metadata_of(["cd"])
    assert "training_intensities" not in other
    (told,) = intensity_flags({"cbf": image(500.0, 500.0)}, BRAIN, other)
    assert (told.code, told.severity) == ("unseen-intensities", "info") and "not those that the bundle" in told.text


def test_predict_remarks_images_unlike_those_of_the_training(tmp_path: Path) -> None:
    data = make_dataset(tmp_path / "data", cases=1, seed=7, series=False, max_slices=2)
    predictor = load_predictor("threshold", tmp_path / "out")
    assert predictor.trained == {} and load_predictor("abulnaga", tmp_path / "out").trained["cbf"]["p99"]
    like = {"cbf": {"median": [0.0, 1e3], "p99": [0.0, 1e4]}}
    unlike = like | {"mtt": {"median": [0.001, 0.002], "p99": [0.0, 1e4]}}
    entry = find_entries(data, keys=predictor.modalities)[0]
    for number, (trained, texts) in enumerate(((like, 0), (unlike, 1))):
        predict_cases(replace(predictor, trained=trained), [entry], out := tmp_path / str(number))
        result = json.loads((out / str(entry["case"]) / "result.json").read_text())
        told = [remark for remark in result.get("remarks", ()) if remark.startswith("E-VAL-21")]
        assert len(told) == texts and all("mtt: median" in remark for remark in told)
        assert result.get("remarks", [])[:texts] == told  # before those that need no action
