"""The table of the fast modes on one small simulated scan."""

from __future__ import annotations

import csv
from pathlib import Path

import fast_modes
import pytest


@pytest.mark.long
def test_the_first_mode_is_the_reference_of_the_others(tmp_path: Path) -> None:
    modes = ["step 32", "step 64", "whole slices, one pass"]
    assert fast_modes.main(["--cases", "1", "--modes", *modes, "--out", str(tmp_path)]) == 0
    rows = list(csv.DictReader((tmp_path / "tables/fast_modes.csv").read_text().splitlines()))
    assert [row["mode"] for row in rows] == modes
    assert (float(rows[0]["dice_to_first"]), float(rows[0]["largest_difference"])) == (1.0, 0.0)
    assert all(0 < float(row["dice_to_first"]) <= 1 and 0 <= float(row["dice_to_truth"]) <= 1 for row in rows)
    assert float(rows[2]["windows_a_slice"]) == 1.0
    assert (tmp_path / "figures/fast_modes.png").stat().st_size > 5000
