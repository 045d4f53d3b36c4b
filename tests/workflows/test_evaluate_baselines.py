"""The threshold rules beside the network, on a folder in the ISLES 2018 layout."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from monai_isles.errors import IslesError
from monai_isles.evaluation.threshold_baselines import SingleThreshold, _sentence
from monai_isles.workflows.evaluate import score_folder

KEYS = {"ct": "CT", "cbf": "CT_CBF", "cbv": "CT_CBV", "mtt": "CT_MTT", "tmax": "CT_Tmax", "label": "OT"}


@pytest.fixture
def isles(tmp_path: Path, make_head, save_volume) -> tuple[Path, Path]:
    """Return predictions (one voxel column too few) and an ISLES folder of four tilted heads."""
    for number, angle in enumerate((0.0, 8.0, -6.0, 11.0), start=1):
        volumes, _ = make_head(angle)
        name = f"case_{number}"
        for key, word in KEYS.items():
            stem = f"SMIR.Brain.XX.O.{word}.{number}{len(word)}"
            save_volume(tmp_path / "data" / "TRAINING" / name / stem / f"{stem}.nii", volumes[key])
        short = volumes["label"].copy()
        short[np.nonzero(short)[0].min()] = False
        save_volume(tmp_path / "pred" / name / "lesion.nii.gz", short)
    return tmp_path / "pred", tmp_path / "data"


def _data_list(folder: Path) -> Path:
    def path(number: int, key: str) -> str:
        stem = f"SMIR.Brain.XX.O.{KEYS[key]}.{number}{len(KEYS[key])}"
        return f"TRAINING/case_{number}/{stem}/{stem}.nii"

    cases = [
        {"case": f"case_{n}", "subject": f"s{n}", "fold": n % 2, **{key: path(n, key) for key in KEYS}}
        for n in range(1, 5)
    ]
    content = {"name": "four heads", "description": "", "simulated": True, "labels": {"0": "background", "1": "lesion"}}
    content |= {"grouping": {"source": "file", "provisional": False, "evidence": {}}, "numTraining": 4, "numTest": 0}
    target = folder / "list.json"
    target.write_text(json.dumps({**content, "training": cases, "test": []}))
    return target


def _column(path: Path, name: str) -> list[str]:
    with path.open(newline="") as file:
        return [row[name] for row in csv.DictReader(file)]


def test_network_and_rule_stand_in_one_summary_with_a_row_a_case_each(isles, tmp_path: Path) -> None:
    summary = score_folder(*isles, tmp_path / "out", baseline=True)
    assert list(summary["methods"]) == ["network", "rcbf30"]
    assert summary["methods"]["rcbf30"]["metrics"]["dsc"]["mean"] == 1.0  # the core flows at a fifth of the other side
    assert 0.8 < summary["methods"]["network"]["metrics"]["dsc"]["mean"] < 1.0
    assert summary["baselines"]["rcbf30"] == "CBF below 30% of the contralateral mean, clusters of at least 0.5 ml"
    names = [f"case_{n}" for n in range(1, 5)]
    for file, method, midline in (("per_case.csv", "network", ""), ("baseline_per_case.csv", "rcbf30", "mirror")):
        assert _column(tmp_path / "out" / file, "case") == names
        assert _column(tmp_path / "out" / file, "method") == [method] * 4
        assert _column(tmp_path / "out" / file, "midline") == [midline] * 4


def test_a_data_list_with_folds_scores_them_and_tunes_the_cut_on_the_others(isles, tmp_path: Path) -> None:
    summary = score_folder(*isles, tmp_path / "out", data_list=_data_list(tmp_path), folds=[1], baseline=True)
    assert summary["data"] == "four heads" and summary["simulated"] and summary["folds"] == [1]
    assert _column(tmp_path / "out" / "per_case.csv", "case") == ["case_1", "case_3"]
    assert _column(tmp_path / "out" / "per_case.csv", "subject") == ["s1", "s3"]
    assert summary["predictions_without_reference"] == ["case_2", "case_4"]
    assert summary["methods"]["single_threshold"]["metrics"]["dsc"]["mean"] == 1.0
    assert "rCBF < 0.25" in summary["baselines"]["single_threshold"]
    assert "on 2 training cases" in summary["baselines"]["single_threshold"]
    assert _column(tmp_path / "out" / "single_threshold_per_case.csv", "case") == ["case_1", "case_3"]


def test_the_rules_score_a_list_without_a_plain_ct_and_split_the_sides_at_the_middle(isles, tmp_path: Path) -> None:
    listed = _data_list(tmp_path)
    content = json.loads(listed.read_text())
    for case in content["training"]:
        del case["ct"]
    listed.write_text(json.dumps(content))
    summary = score_folder(*isles, tmp_path / "out", data_list=listed, folds=[1], baseline=True)
    assert list(summary["methods"]) == ["network", "rcbf30", "single_threshold"]
    assert _column(tmp_path / "out" / "baseline_per_case.csv", "midline") == ["centroid"] * 2


def test_with_every_fold_scored_no_cut_is_tuned(isles, tmp_path: Path, caplog) -> None:
    chosen = {"data_list": _data_list(tmp_path), "folds": [0, 1], "baseline": True}
    summary = score_folder(*isles, tmp_path / "out", **chosen, strict=False)
    assert list(summary["methods"]) == ["network", "rcbf30"] and "no single threshold" in caplog.text
    with pytest.raises(IslesError, match="E-LIST-05"):
        score_folder(*isles, tmp_path / "strict", **chosen, strict=True)


@pytest.mark.parametrize("fault", ["damaged", "missing"])
def test_the_cut_is_tuned_without_a_case_that_cannot_be_read(isles, tmp_path: Path, caplog, fault: str) -> None:
    tmax = next((isles[1] / "TRAINING" / "case_4").rglob("*Tmax*.nii"))
    tmax.write_bytes(tmax.read_bytes()[:1000]) if fault == "damaged" else tmax.unlink()
    chosen = {"data_list": _data_list(tmp_path), "folds": [1], "baseline": True}
    summary = score_folder(*isles, tmp_path / "out", **chosen, strict=False)
    assert "on 1 training cases" in summary["baselines"]["single_threshold"]
    assert "left out: case_4: E-" in caplog.text and not summary["left_out"]
    with pytest.raises(IslesError, match="case_4"):
        score_folder(*isles, tmp_path / "strict", **chosen, strict=True)


def test_a_case_name_in_both_sections_is_ambiguous(isles, tmp_path: Path) -> None:
    shutil.copytree(isles[1] / "TRAINING" / "case_2", isles[1] / "TESTING" / "case_2")
    with pytest.raises(
        IslesError, match=r"(?s)E-EVAL-07: two masks for one case.*case_2.*TRAINING.*TESTING.*--data-list"
    ):
        score_folder(*isles, tmp_path / "out")


def test_a_delay_cut_is_described_in_seconds() -> None:
    text = _sentence(SingleThreshold("tmax", 9.0, 1.0, 0.41234, 7))
    assert text == "Tmax > 9 s, clusters of at least 1 ml; best mean Dice 0.412 on 7 training cases"
