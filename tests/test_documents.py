"""The documents about safety say what the package declares and name what exists."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

from monai_isles.cli.main import NOTICE, main

ROOT = Path(__file__).parents[1]
SAFETY = ["SECURITY.md", "docs/limits.md", "docs/dependencies.md"]


def declared() -> dict[str, str]:
    """Return the range of every dependency of the package and of its optional parts."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = config["options.extras_require"]
    tools = ("test", "lint", "docs", "clients", "label")
    lines = [config["options"]["install_requires"], *(extras[name] for name in extras if name not in tools)]
    return dict(re.match(r"([\w-]+)(.*)", line).groups() for text in lines for line in text.split())


def test_the_table_of_dependencies_holds_every_one_with_its_range() -> None:
    rows = re.findall(r"^\| ([\w-]+) \| ([<>=][^|]*) \|", (ROOT / "docs/dependencies.md").read_text("utf-8"), re.M)
    assert dict(rows) == declared()


def test_the_floors_are_those_of_the_advisories() -> None:
    assert declared()["monai"].startswith(">=1.6.1") and declared()["torch"].startswith(">=2.10")


@pytest.mark.parametrize("page", SAFETY)
def test_every_file_that_a_page_names_exists(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    named = re.findall(r"`(tests/[\w/.*]+?|tools/[\w/.]+?|docs/[\w/.]+?)`", text)
    missing = [name for name in named if not list(ROOT.glob(name))]
    assert named and not missing
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert not [link for link in links if not (ROOT / page).parent.joinpath(link).exists()]


def test_every_test_and_script_that_the_package_or_a_page_names_exists() -> None:
    sources = [*(ROOT / "monai_isles").rglob("*.py"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("docs/make/*.py")]
    sources += [ROOT / "README.md", ROOT / "SECURITY.md", ROOT / "Makefile", *ROOT.glob("benchmarks/*.py")]
    sources = [
        source for source in sources if source.name != "changelog.md"
    ]  # what make docs copies names the past too
    path = re.compile(r"\b(?:tests|tools|docs/make|benchmarks)/[\w/]+\.py\b")
    named = {name for source in sources for name in path.findall(source.read_text("utf-8"))}
    assert len(named) > 100 and not [name for name in named if not (ROOT / name).exists()]


@pytest.mark.parametrize("page", ["SECURITY.md", "docs/limits.md", "README.md"])
def test_it_is_labelled_as_research(page: str) -> None:
    assert re.search(r"[Rr]esearch (only|software), not a medical device", (ROOT / page).read_text("utf-8"))


def test_the_version_says_research_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip().endswith(NOTICE) and NOTICE == "Research only, not a medical device."
