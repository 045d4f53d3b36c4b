"""Write docs/errors.md: every error code of the package, its fault, its exit code and the file that raises it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from monai_isles.errors import fault_texts

ROOT = Path(__file__).resolve().parents[2]
HEAD = """# Error codes

Every refusal prints four lines: the code and the fault, where, what was found, what to do. `--json` gives the same as
an object, `--debug` the traceback. Exit codes: 0 done, 1 our bug, 2 usage, 3 some cases failed, 4 input refused,
5 unsafe. `{names}` stand for what is filled in.
This page is written by `python docs/make/error_codes.py`; `tests/test_architecture.py` keeps it true.

| code | fault | exit | raised in |
|---|---|---|---|
"""


def codes() -> list[tuple[str, str, str]]:
    """Return code, fault and file of every place that raises or collects a code of ``faults.toml``."""
    texts = fault_texts()
    rows = set()
    for path in sorted((ROOT / "monai_isles").rglob("*.py")):
        for code in re.findall(r'"(E-[A-Z]+-\d+)"', path.read_text(encoding="utf-8")):
            if code in texts:
                rows.add((code, texts[code]["fault"].replace("|", "/"), str(path.relative_to(ROOT))))
    return sorted(rows)


def page() -> str:
    """Return the text of the page."""
    exits = {"USE": 2, "SAFE": 5}
    lines = [f"| {code} | {fault} | {exits.get(code.split('-')[1], 4)} | {path} |" for code, fault, path in codes()]
    return HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    (ROOT / "docs/errors.md").write_text(page(), encoding="utf-8")
    sys.exit(0)
