"""Write docs/errors.md: every error code of the package, its fault, what to do, its exit code, and who raises it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from monai_isles.errors import fault_texts

ROOT = Path(__file__).resolve().parents[2]
HEAD = """# Error codes

Every refusal prints four lines: the code and the fault, where, what was found, what to do. `--json` gives the same as
an object, `--debug` the traceback. Exit codes: 0 done, 1 our bug, 2 usage, 3 some cases failed, 4 input refused,
5 unsafe. `{names}` stand for what is filled in; a place that can say more than the table does so.
This page is written by `python docs/make/error_codes.py` from `monai_isles/faults.toml`; `tests/test_architecture.py`
keeps it true.

| code | fault | fix | exit | raised in |
|---|---|---|---|---|
"""
EXITS = {"USE": 2, "SAFE": 5}


def places() -> dict[str, list[str]]:
    """Return the files that name each code, by code."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "monai_isles").rglob("*.py")):
        for code in sorted(set(re.findall(r'"(E-[A-Z]+-\d+)"', path.read_text(encoding="utf-8")))):
            found.setdefault(code, []).append(str(path.relative_to(ROOT / "monai_isles")))
    return found


def page() -> str:
    """Return the text of the page."""
    texts, named = fault_texts(), places()
    lines = [
        f"| {code} | {_cell(text['fault'])} | {_cell(text['fix'])} | {EXITS.get(code.split('-')[1], 4)} | "
        f"{', '.join(named.get(code, []))} |"
        for code, text in sorted(texts.items())
    ]
    return HEAD + "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    (ROOT / "docs/errors.md").write_text(page(), encoding="utf-8")
    sys.exit(0)
