"""docs/fidelity.md is made from paper.json; what it names exists, and its settings are the configs' defaults."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from monai_isles.bundle import Bundle
from monai_isles.papers.published import papers

ROOT = Path(__file__).parents[2]
STATEMENTS = [(name, one) for name, folder in papers().items() for one in Bundle(folder).paper["fidelity"]]


def test_the_page_is_made_from_the_papers_files() -> None:
    made = runpy.run_path(str(ROOT / "docs/make/fidelity.py"))["page"]()
    assert made == (ROOT / "docs/fidelity.md").read_text(encoding="utf-8"), "run python docs/make/fidelity.py"
    assert {name for name, _ in STATEMENTS} == set(papers()) and len(STATEMENTS) > 40


@pytest.mark.parametrize(("name", "one"), STATEMENTS, ids=[f"{name}-{n}" for n, (name, _) in enumerate(STATEMENTS)])
def test_a_statement_names_code_that_is_there_and_settings_that_hold(name: str, one: dict) -> None:
    assert (ROOT / one["where"]).exists(), one["where"]
    for file, values in one.get("ids", {}).items():
        config = ConfigParser(ConfigParser.load_config_file(str(ROOT / "bundles" / name / file)))
        assert {key: config[key] for key in values} == values
