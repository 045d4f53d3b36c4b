"""The tool that measures perfusion maps against truth: curves, tiles, OSIPI curves, one scan."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import perfusion_curves
import perfusion_truth
import pytest
import torch
from true_perfusion import case_with_truth

from monai_isles.perfusion import PerfusionMaps

OSIPI = os.environ.get("OSIPI_DSC", "")


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    ways = {name: perfusion_curves.WAYS[name] for name in ("bayes", "bcsvd 0.10", "osvd 0.065")}
    monkeypatch.setattr(perfusion_curves, "WAYS", ways)
    monkeypatch.setattr(perfusion_curves, "COPIES", 5)
    monkeypatch.setattr(perfusion_curves, "NOISE_HU", (0.0,))
    monkeypatch.setattr(perfusion_curves, "MTT_S", (2.0, 9.0))


def test_flow_is_lost_where_transit_is_short_and_delay_is_answered_one_to_one() -> None:
    rows = [row for row in perfusion_curves.curve_rows() if row["method"] == "bcsvd 0.10"]
    assert len(rows) == 6
    for kind in ("exponential", "box", "gamma"):
        short, long = (next(r for r in rows if r["residue"] == kind and r["mtt_s"] == mtt) for mtt in (2.0, 9.0))
        assert short["cbf_ratio"] < 0.7 < long["cbf_ratio"]
        assert 0.9 < short["tmax_slope"] < 1.1 and abs(short["cbf_change_over_3s_delay"]) < 0.05
        assert 0.9 < short["cbv_ratio"] < 1.02


def test_tiles_keep_their_order() -> None:
    for row in perfusion_curves.tile_rows(side_vox=8, noise_hu=0.5):
        assert row["cbf_r"] > 0.95 and row["cbv_r"] > 0.95 and 0.85 < row["tmax_slope"] < 1.15


@pytest.mark.skipif(not Path(OSIPI).is_file(), reason="OSIPI_DSC does not name dsc_data.csv")
def test_osipi_curves_come_back_within_the_stated_bias() -> None:
    rows = perfusion_curves.osipi_rows(Path(OSIPI))
    assert {row["curves"] for row in rows} == {7}
    assert all(row["cbf_r"] > 0.95 and 0.95 < row["cbv_ratio"] < 1.15 for row in rows)
    assert all(0.55 < row["cbf_ratio_highest_flow"] < 1.0 for row in rows)


def test_a_perfect_measurement_scores_one() -> None:
    _, true = case_with_truth(1, seed=7, max_slices=2, scan=False)
    brain = true.matter > 0.5
    perfect = PerfusionMaps(true.cbf, true.cbv, true.mtt, true.delay, true.blood_hu, true.delay, brain=brain)
    (row,) = perfusion_truth.case_rows("case_1", {"perfect": perfect}, true)
    keys = ("aif_area_ratio", "cbf_ratio", "cbv_ratio", "mtt_ratio", "cbf_r", "cbv_r", "mtt_r", "tmax_slope", "tmax_r")
    assert all(row[key] == pytest.approx(1.0, abs=1e-3) for key in keys) and abs(row["tmax_at_0s"]) < 0.01
    assert "| perfect |" in perfusion_truth.as_table(perfusion_truth.summary([row], ("way",), keys))
    assert len(perfusion_truth.as_csv([row]).splitlines()) == 2 and np.isfinite(row["cbf_x_area_mtt_3.5_5"])
