"""Plots of volumes, Dice and training, and the SVG they become."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from monai_isles.errors import IslesError
from monai_isles.reports.canvas import svg_text
from monai_isles.reports.curves import best_epoch, read_curves, training_curves
from monai_isles.reports.figures import dice_plot, finite_rows, volume_scatter

ROWS = [
    {"dsc": "0.5", "lesion_ml_ref": "10", "lesion_ml_pred": "12"},
    {"dsc": "0.7", "lesion_ml_ref": "30", "lesion_ml_pred": "28"},
    {"dsc": "nan", "lesion_ml_ref": "0", "lesion_ml_pred": ""},
]
CURVES = [
    {
        "epoch": float(e),
        "train_loss": 1 / e,
        "val_loss": 0.5 + e / 10,
        "val_l1_error": abs(e - 3) + 0.1,
        "val_dsc": e / 10,
    }
    for e in range(1, 6)
]


def test_blanks_and_nan_are_left_out_of_a_column() -> None:
    assert finite_rows(ROWS, "dsc").tolist() == [[0.5], [0.7]]
    assert finite_rows(ROWS, "lesion_ml_ref", "lesion_ml_pred").tolist() == [[10, 12], [30, 28]]
    assert finite_rows([], "a", "b").shape == (0, 2)


def test_the_scatter_states_r2_about_identity_and_n() -> None:
    title = volume_scatter({"net": ROWS}).axes[0].get_title(loc="left")
    assert title == "net\nR² 0.96, n 2"  # 1 - (4 + 4) / (100 + 100)


def test_the_scatter_shows_empty_and_large_lesions_on_one_axis() -> None:
    axes = volume_scatter(
        {"net": [{"lesion_ml_ref": 0, "lesion_ml_pred": 0.8}, {"lesion_ml_ref": 260, "lesion_ml_pred": 200}]}
    ).axes[0]
    assert axes.get_xscale() == "symlog" and axes.get_xlim()[0] < 0 < 260 < axes.get_xlim()[1]
    assert axes.get_xlabel() == "reference, ml" and axes.get_ylabel() == "predicted, ml"


def test_dice_plot_has_a_line_a_method_with_its_n_and_median() -> None:
    axes = dice_plot({"net": ROWS, "rule": [], "x" * 80: ROWS[:1]}).axes[0]
    assert [t.get_text().split(", ")[-1] for t in axes.get_yticklabels()] == ["n 2", "n 0", "n 1"]
    assert [t.get_text() for t in axes.texts] == ["0.60", "–", "0.50", "median"]


def test_the_best_epoch_is_the_lowest_early_stop_metric_then_the_highest_dice() -> None:
    assert best_epoch(CURVES) == 3
    assert best_epoch([{k: v for k, v in row.items() if k != "val_l1_error"} for row in CURVES]) == 5
    assert best_epoch([{"epoch": 1.0, "train_loss": 1.0}]) is None


def test_training_panels_follow_the_columns_that_exist() -> None:
    shown = [a.get_title(loc="left") for a in training_curves(CURVES).axes if a.get_visible()]
    assert shown == ["loss", "early-stop metric: L1 + error rate", "Dice of validation"]
    assert len(training_curves([{"epoch": 1.0}]).axes) == 1


def test_curves_come_back_as_written_and_blanks_as_nan(tmp_path: Path) -> None:
    path = tmp_path / "curves.csv"
    path.write_text("epoch,train_loss,val_dsc\n1,0.5,\n2,0.25,0.4\n")
    curves = read_curves(path)
    assert curves[1] == {"epoch": 2.0, "train_loss": 0.25, "val_dsc": 0.4} and np.isnan(curves[0]["val_dsc"])


def test_missing_curves_are_named(tmp_path: Path) -> None:
    with pytest.raises(IslesError, match=r"E-REP-01: file of training curves is missing\n.*none\.csv"):
        read_curves(tmp_path / "none.csv")


@pytest.mark.parametrize(
    "text",
    ["", "loss\n1\n", "epoch,loss\n1,abc\n", "epoch,loss\n1,2,3\n", "epoch,loss\n"],
    ids=["empty", "no-epoch", "word", "extra-column", "no-rows"],
)
def test_curves_that_are_no_table_of_numbers_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "curves.csv"
    path.write_text(text)
    with pytest.raises(IslesError, match=r"E-REP-07: training curves cannot be read\n.*curves\.csv"):
        read_curves(path)


def test_svg_takes_the_colour_of_the_page_and_keeps_its_ids_to_itself() -> None:
    first, second = svg_text(training_curves(CURVES), "a < b"), svg_text(training_curves(CURVES), "other")
    assert "currentColor" in first and "#010203" not in first and 'aria-label="a &lt; b"' in first
    ids = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in (first, second)]
    assert ids[0] and not ids[0] & ids[1]
    assert {m for m in re.findall(r"url\(#([^)]+)\)", first)} <= ids[0]
    assert "http" not in re.sub(r'xmlns(:xlink)?="[^"]*"', "", first)
    assert svg_text(training_curves(CURVES), "a < b") == first
