"""Maps beside the masks: their columns, their summary, and nothing of either where there is none."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from monai_isles.errors import IslesError
from monai_isles.evaluation.maps import MAP_COLUMNS
from monai_isles.evaluation.score import COLUMNS
from monai_isles.io import publish_json
from monai_isles.reports.tables import summary_table
from monai_isles.workflows.evaluate import score_folder


@pytest.fixture
def mapped(mask_folders, save_volume) -> tuple[Path, Path]:
    """Add maps to case_1 (right, sure) and case_2 (half found, uncertain where it is missed)."""
    pred, ref, masks = mask_folders
    for name, inside, missed in (("case_1", 0.95, 0.0), ("case_2", 0.75, 0.25)):
        found = np.zeros_like(masks[name])
        found[2:6, 2:6, 0] = True
        probability = np.where(found, inside, np.where(masks[name], missed, 0.0))
        save_volume(pred / name / "probability.nii.gz", probability)
        save_volume(pred / name / "uncertainty.nii.gz", np.where(masks[name] & ~found, 0.3, 0.1))
        publish_json(pred / name / "result.json", {"lesion_ml_interval": [0.3, 0.5]})
    return pred, ref


def test_columns_and_summary_by_hand(mapped: tuple[Path, Path], tmp_path: Path) -> None:
    summary = score_folder(*mapped, tmp_path / "out")
    with (tmp_path / "out/per_case.csv").open(newline="") as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    assert list(rows["case_1"]) == [*COLUMNS, *MAP_COLUMNS]
    # case_2: 16 voxels of 0.75 and 16 of 0.25, all lesion
    assert float(rows["case_1"]["ece"]) == pytest.approx(0.05, abs=1e-6)
    assert float(rows["case_2"]["ece"]) == pytest.approx(0.5, abs=1e-6)
    assert float(rows["case_2"]["brier"]) == pytest.approx((0.25**2 + 0.75**2) / 2, abs=1e-6)
    assert (rows["case_1"]["uncertainty_auroc"], rows["case_2"]["uncertainty_auroc"]) == ("nan", "1")
    assert float(rows["case_2"]["uncertainty_wrong"]) == pytest.approx(0.3, abs=1e-6)
    assert rows["case_3"]["ece"] == "" and rows["case_2"]["lesion_ml_high"] == "0.5"
    found = summary["methods"]["network"]["calibration"]
    assert (found["n"], found["voxels"]) == (2, 48)
    assert found["ece"] == pytest.approx((16 * 0.05 + 16 * 0.25 + 16 * 0.75) / 48, abs=1e-6)
    assert found["ace"] == pytest.approx((0.05 + 0.25 + 0.75) / 3, abs=1e-6)
    assert found["uncertainty"]["levels"][1]["wrong"] == 0.0 and found["uncertainty"]["levels"][5]["wrong"] == 1.0
    # references of 16 and 32 voxels of 24 mm3: 0.384 ml is in the interval, 0.768 ml is not
    assert found["interval"] == {"n": 2, "holds_reference": 1}
    assert json.loads((tmp_path / "out/summary.json").read_text())["methods"]["network"]["calibration"]["n"] == 2
    said = summary_table(summary)
    assert "calibration of 2 maps: ECE 0.350" in said and "holds the reference in 1 of 2 cases" in said


def test_without_maps_there_is_nothing_of_them(mask_folders, tmp_path: Path) -> None:
    pred, ref, _ = mask_folders
    network = score_folder(pred, ref, tmp_path / "out")["methods"]["network"]
    assert network["calibration"] is None
    assert (tmp_path / "out/per_case.csv").read_text().splitlines()[0] == ",".join(COLUMNS)


def test_a_map_on_another_grid_is_refused(mapped: tuple[Path, Path], save_volume, tmp_path: Path) -> None:
    save_volume(mapped[0] / "case_1/probability.nii.gz", np.zeros((12, 10, 2)), spacing=(2.0, 2.0, 9.0))
    with pytest.raises(IslesError, match=r"(?s)E-GEOM-03.*case_1.*probability"):
        score_folder(*mapped, tmp_path / "out")


def test_strata_and_agreement_by_hand(mask_folders, tmp_path: Path) -> None:
    pred, ref, _ = mask_folders
    summary = score_folder(pred, ref, tmp_path / "out")
    network = summary["methods"]["network"]
    strata = network["strata"]
    assert {name: one["n"] for name, one in strata.items()} == {"no lesion": 2, "<10 ml": 3, "10-50 ml": 0, ">50 ml": 0}
    assert strata["<10 ml"]["metrics"]["dsc"]["mean"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert strata["<10 ml"]["empty_predictions"] == 1 and strata["no lesion"]["metrics"]["dsc"]["mean"] == 0.5
    voxel = 0.024  # predicted minus reference: 0, -16, -8, 8, 0 voxels
    assert network["bland_altman"]["bias_ml"] == pytest.approx(-16 / 5 * voxel)
    said = summary_table(summary)
    assert "DSC by size of the reference: no lesion 0.500 (n 2, 1 predicted empty), <10 ml 0.556" in said
    assert "lesion detection F1" in said and "limits of agreement" in said
