"""The tool that scores a bundle by the way its maps were made."""

from __future__ import annotations

import csv
from pathlib import Path

import from_series


def test_maps_made_as_trained_score_like_the_data_sets_own(tmp_path: Path, capsys) -> None:
    words = ["--cases", "1", "--seed", "5", "--max-slices", "2", "--step", "32", "--out", str(tmp_path / "t.csv")]
    assert from_series.main(words) == 0
    (row,) = csv.DictReader((tmp_path / "t.csv").read_text(encoding="utf-8").splitlines())
    assert float(row["from series, as trained: Dice"]) == float(row["data set: Dice"]) > 0.1
    assert row["from series, as trained: remarks"] == row["data set: remarks"]
    assert float(row["from series, measured: remarks"]) > float(row["data set: remarks"])
    assert "| from series, as trained |" in capsys.readouterr().out
