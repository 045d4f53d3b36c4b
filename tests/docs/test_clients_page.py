"""The page of programs is made of the lines that their tests wrote, and stands as made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import clients_page
import pytest


def line(**values: str) -> str:
    return json.dumps({"program": "b", "version": "1", "what": "read", "result": "same"} | values)


def test_the_last_line_of_an_act_counts_and_programs_are_in_order() -> None:
    made = clients_page.table([line(result="old"), line(program="A", result="x | y"), line(what="write"), line()])
    assert made.splitlines() == ["- A 1: read: x | y", "- b 1: read: same", "- b 1: write: same"]


def test_the_page_stands_as_its_records_make_it(tmp_path: Path) -> None:
    page = Path(shutil.copy(clients_page.PAGE, tmp_path / "clients.md"))
    assert clients_page.main(["--page", str(page)]) == 0
    assert page.read_text(encoding="utf-8") == clients_page.PAGE.read_text(encoding="utf-8")


def test_a_page_without_its_markers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("nothing\n")
    with pytest.raises(SystemExit, match="wanted"):
        clients_page.main(["--page", str(tmp_path / "page.md")])
