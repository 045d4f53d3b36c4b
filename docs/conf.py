"""Sphinx settings: Markdown pages, the Python API from docstrings, commands from the parsers, cards of the bundles."""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path[:0] = [str(ROOT), str(DOCS)]

from monai_isles import __version__  # noqa: E402
from monai_isles.cli.main import VERBS  # noqa: E402

project, author, release = "monai_isles", "the monai_isles authors", __version__
copyright = "2026, the monai_isles authors. Apache-2.0"
highlight_language = "text"  # of fences without a language: commands and file lists
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinxarg.ext"]
html_theme = "furo"
html_title = f"monai_isles {release}"
exclude_patterns = ["_build", "make"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the notebooks carry their outputs; tests/docs/test_pages.py runs them
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
napoleon_google_docstring = True
suppress_warnings = ["config.cache"]


def write_generated_pages() -> None:
    """Write the pages made at every build: the Python API by sub-package, the cards, and the pages of the checkout."""
    for stub in sorted((ROOT / "monai_isles").rglob("__init__.pyi")):
        _write(DOCS / "api" / f"{stub.parent.name}.md", _room_page(stub))
    for card in sorted((ROOT / "bundles").glob("*/README.md")):
        pictures = f"](../../bundles/{card.parent.name}/docs/"
        _write(DOCS / "cards" / f"{card.parent.name}.md", card.read_text(encoding="utf-8").replace("](docs/", pictures))
    for name in ("CHANGELOG", "CONTRIBUTING", "SECURITY"):
        text = (ROOT / f"{name}.md").read_text(encoding="utf-8")
        _write(DOCS / f"{name.lower()}.md", text.replace("](docs/", "]("))


def _room_page(stub: Path) -> str:
    room = ".".join(stub.parent.relative_to(ROOT).parts)
    lines = [f"# {room}", "", importlib.import_module(room).__doc__ or "", "", "```{eval-rst}"]
    for node in ast.parse(stub.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            lines += [
                _directive(f"{room}.{node.module}" if node.level else str(node.module), a.name) for a in node.names
            ]
    return "\n".join([*lines, "```", ""])


def _directive(module: str, name: str) -> str:
    thing = getattr(importlib.import_module(module), name)
    kind = "class" if isinstance(thing, type) else "function" if inspect.isroutine(thing) else "data"
    return f".. auto{kind}:: {module}.{name}"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def link_to_cards(app: Sphinx, docname: str, source: list[str]) -> None:
    """Point links at the cards in the checkout to the pages that show them here."""
    source[0] = re.sub(r"\]\((?:\.\./)*bundles/(\w+)/README\.md\)", r"](/cards/\1.md)", source[0])


def lay_out_docstring(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Make the one-line parts of our docstrings paragraphs of their own, and leave Args and Raises to napoleon."""
    if what == "data":  # the docstring of its type
        lines[:] = []
    laid: list[str] = []
    inside = False
    for line in lines:
        part = re.match(r"(Shapes|Units|Source|Raises(?=: .)): ?(.*)", line)
        if part:
            line = f"**{part[1]}:** {part[2]}"
        elif inside and line.startswith("    "):
            line = line.strip()
        if (
            part
            or line in ("Args:", "Raises:")
            or (line.startswith(">>>") and laid and not laid[-1].startswith((">>>", "...")))
        ):
            laid.append("")
        inside = bool(part) or (inside and bool(line) and line not in ("Args:", "Raises:"))
        laid.append(re.sub(r"(?<=[(, ])\*(?=[a-z])", r"\\*", line) if "``" not in line else line)
    lines[:] = laid


def whole_parser() -> argparse.ArgumentParser:
    """Return the parser of every command, for the page of commands."""
    parser = argparse.ArgumentParser(prog="monai-isles")
    verbs = parser.add_subparsers()
    for name, summary in VERBS.items():
        verb = verbs.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        importlib.import_module(f"monai_isles.cli.{name.replace('-', '_')}").arguments(verb)
    return parser


def setup(app: Sphinx) -> None:
    """Register the steps above with Sphinx."""
    write_generated_pages()
    app.connect("source-read", link_to_cards)
    app.connect("autodoc-process-docstring", lay_out_docstring, priority=100)
