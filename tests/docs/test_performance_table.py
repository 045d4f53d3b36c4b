"""The tables of the page on performance come from the records, and nothing around them is touched."""

from __future__ import annotations

import json
from pathlib import Path

import performance_table
import pytest

RATIO = {
    "subject": "a", "row": "the task", "reference": "loop", "ours": "fast", "reference_s": 3.0, "ours_s": 0.1,
    "ratio": 30.0, "ratio_least": 29.0, "ratio_most": 31.0, "wanted": 20, "shares": {"loop": 0.1}, "agreed": True,
    "difference": 1e-07, "tolerance": 1e-06, "gflops": 50.0, "peak_gflops": 100.0, "peak_share": 0.5, "floor_s": 0.05,
    "floor": "the product", "machine": "2 x cores", "threads": 2,
}  # fmt: skip
SAID = {"subject": "b", "row": "alone", "said": "4 s", "machine": "2 x cores", "threads": 1}
GROWN = {"subject": "b", "row": "growth with x", "growth": "x", "points": [[1, 0.5], [2, 1.0]], "exponent": 1.0}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    (tmp_path / "a.jsonl").write_text(json.dumps(RATIO) + "\n")
    (tmp_path / "b.jsonl").write_text(json.dumps(SAID) + "\n" + json.dumps(GROWN) + "\n")
    return tmp_path


def test_every_record_becomes_a_row_between_the_markers(results: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{performance_table.BEGIN}\nold\n{performance_table.END}\nafter\n")
    assert performance_table.main(["--results", str(results), "--page", str(page)]) == 0
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert "| the task, 2 threads | 3 (e) | 0.1 | 30 |" in text
    assert (
        "- the task: against loop; ratio 29 to 31 (target 20); 50 GFLOP/s (50% of the peak); lower bound 0.05 s" in text
    )
    assert "- b: alone: 4 s\n" in text and "- b with x: exponent 1.00 (1: 0.5 s, 2: 1 s)\n" in text
    assert "Measured on: 2 x cores." in text
    performance_table.main(["--results", str(results), "--page", str(page)])
    assert page.read_text() == text


def test_a_page_without_markers_is_left_alone(results: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("no markers\n")
    with pytest.raises(SystemExit, match="wanted"):
        performance_table.main(["--results", str(results), "--page", str(page)])
    assert page.read_text() == "no markers\n"


def test_the_page_holds_the_tables_of_the_committed_results() -> None:
    text = performance_table.PAGE.read_text(encoding="utf-8")
    inside = text.split(performance_table.BEGIN)[1].split(performance_table.END)[0]
    assert inside.strip() == performance_table.page(performance_table.records(performance_table.RESULTS)).strip()
