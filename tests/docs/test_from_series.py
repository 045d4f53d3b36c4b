"""The tool that scores a bundle by the way its maps were made."""

from __future__ import annotations

import csv
from pathlib import Path

import from_series
import pytest


@pytest.mark.long
def test_maps_of_the_file_and_of_the_series_are_scored_side_by_side(tmp_path: Path, capsys) -> None:
    words = ["--cases", "1", "--seed", "5", "--max-slices", "2", "--step", "32", "--out", str(tmp_path / "t.csv")]
    assert from_series.main(words) == 0
    (row,) = csv.DictReader((tmp_path / "t.csv").read_text(encoding="utf-8").splitlines())
    assert min(float(row["data set: Dice"]), float(row["from series: Dice"])) > 0.3  # two makers of maps, one scan
    assert float(row["from series: remarks"]) >= float(row["data set: remarks"])
    assert "| from series |" in capsys.readouterr().out
