"""The pages of the docs are within reach, short enough to read, and true where they can be run."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), *DOCS.glob("notebooks/*.ipynb")])
MADE = {"changelog", "contributing", "security"}


def test_every_page_stands_in_the_contents() -> None:
    listed = set(re.findall(r"^([\w/]+)$", (DOCS / "index.md").read_text("utf-8"), re.M))
    pages = {str(page.relative_to(DOCS).with_suffix("")) for page in PAGES} | MADE
    assert pages - {"index"} <= listed and {name for name in listed - MADE if "/" not in name} <= pages


def test_files_of_the_package_that_a_page_names_exist() -> None:
    rooms = "|".join(path.name for path in (ROOT / "monai_isles").iterdir() if path.is_dir())
    named = {
        name
        for page in DOCS.glob("*.md")
        for name in re.findall(rf"\b(?:{rooms})/[\w/]+\.py\b", page.read_text("utf-8"))
    }
    assert len(named) > 10 and not [
        n for n in named if not ((ROOT / "monai_isles" / n).exists() or (ROOT / "tests" / n).exists())
    ]


def test_no_page_is_longer_than_300_lines_or_wider_than_120_columns() -> None:
    paths = [*(page for page in DOCS.glob("*.md") if page.stem not in MADE), *ROOT.glob("bundles/*/README.md")]
    paths += [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    pages = {str(path): path.read_text("utf-8").splitlines() for path in paths}
    assert {name for name, lines in pages.items() if len(lines) > 300} == set()
    assert [line for lines in pages.values() for line in lines if len(line) > 120] == []


def test_every_link_leads_to_a_file_and_to_a_heading_of_it() -> None:
    pages = [*ROOT.glob("*.md"), *DOCS.glob("*.md"), *ROOT.glob("bundles/*/*.md"), *ROOT.glob("bundles/*/docs/*.md")]
    dead = []
    for page in (page for page in pages if page.parent != DOCS or page.stem not in MADE):
        for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text("utf-8")):
            name, _, heading = target.partition("#")
            file = page.parent / name if name else page
            lines = re.findall(r"^#+ (.*)$", file.read_text("utf-8"), re.M) if heading and file.is_file() else []
            headings = {re.sub(r"[^\w -]", "", line).lower().replace(" ", "-") for line in lines}
            if not file.exists() or (heading and heading not in headings):
                dead.append(f"{page.relative_to(ROOT)}: {target}")
    assert dead == []


@pytest.mark.long
@pytest.mark.parametrize("name", ["first_segmentation", "train_and_compare"])
def test_a_notebook_runs_from_its_first_cell_to_its_last(name: str, tmp_path: Path) -> None:
    cells = json.loads((DOCS / f"notebooks/{name}.ipynb").read_text("utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    (tmp_path / "notebook.py").write_text(
        f"if __name__ == '__main__':\n{re.sub('^', '    ', code, flags=re.M)}\n", "utf-8"
    )
    paths = {"PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-W", "ignore", "notebook.py"], cwd=tmp_path, env=os.environ | paths, check=True)


@pytest.mark.long
@pytest.mark.skipif(importlib.util.find_spec("sphinx") is None, reason="Sphinx is not installed (make docs)")
def test_the_pages_build_without_a_warning(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", str(DOCS), str(tmp_path)]
    subprocess.run(build, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True)
