"""Reliability curve and Bland-Altman plot: what they draw, and that the cohort page shows them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from monai_isles.metrics import reliability
from monai_isles.reports.canvas import svg_text
from monai_isles.reports.figures import bland_altman_plot, reliability_plot
from monai_isles.workflows.evaluate import score_folder
from monai_isles.workflows.report import report


def test_the_curve_runs_through_the_filled_bins() -> None:
    curve = reliability(np.array([0.05, 0.55, 0.95, 0.95]), np.array([0, 1, 1, 0])).curve()
    (place,) = reliability_plot({"network": curve}).axes
    identity, line = place.get_lines()
    assert identity.get_xydata().tolist() == [[0, 0], [1, 1]]
    assert line.get_xydata() == pytest.approx(np.array([[0.05, 0], [0.55, 1], [0.95, 0.5]]))
    assert place.get_legend() is None and len(reliability_plot({"a": curve, "b": curve}).axes[0].get_lines()) == 3


def test_bias_and_limits_are_drawn_where_they_are() -> None:
    rows = [{"lesion_ml_ref": r, "lesion_ml_pred": p} for r, p in ((10, 12), (20, 22), (30, 26))]
    figure = bland_altman_plot({"network": rows, "one case": rows[:1], "none": []})
    heights = [line.get_ydata()[0] for line in figure.axes[0].get_lines()]
    assert heights == pytest.approx([0.0, -1.96 * np.sqrt(12), 1.96 * np.sqrt(12)])
    assert figure.axes[0].get_title(loc="left") == "network\nbias +0.0 ml, -6.8 to 6.8"
    assert len(figure.axes[1].get_lines()) == 1 and not figure.axes[2].get_lines()
    assert "predicted - reference" in svg_text(figure, "agreement")


def test_the_cohort_page_shows_both_where_there_are_maps(folders, tmp_path: Path) -> None:
    made = folders()
    score_folder(made["pred"], made["ref"], tmp_path / "scores")
    assert json.loads((tmp_path / "scores/summary.json").read_text())["methods"]["network"]["calibration"]["n"] == 2
    for scores, shown in ((tmp_path / "scores", 1), (made["scores"], 0)):
        report(str(made["pred"]), str(made["ref"]), [str(scores)], tmp_path / "page.html")
        page = (tmp_path / "page.html").read_text()
        assert page.count('aria-label="Reliability of the probability"') == shown
        assert page.count('aria-label="Bland-Altman plot of lesion volumes"') == 1
