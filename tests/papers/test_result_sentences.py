"""Sentences below the committed tables are those that their numbers give."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
MAKER = runpy.run_path(str(DOCS / "make/result_sentences.py"))


@pytest.mark.parametrize("page", ["ablation.md", "mri.md", "wang.md"])
def test_the_page_holds_what_the_numbers_say(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    assert "<!-- sentences: " in text and MAKER["filled"](text) == text, "run python docs/make/result_sentences.py"


def test_the_sentences_state_what_the_old_page_denied() -> None:
    siss = MAKER["made"]("clerigues_mri_siss_phantom")
    assert "Hausdorff distance 26.4 mm lower (p 0.021," in siss[0] and "27.6 mm higher (p 0.0133," in siss[1]
    (first, *_) = MAKER["made"]("clerigues_table1_phantom")
    assert "Dice 3.1 points lower (p 0.0126, 0.202 corrected, sd 2.2 between trainings); undecided: PPV" in first
