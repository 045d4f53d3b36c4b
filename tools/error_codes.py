"""Write docs/errors.md: every error code of the package, its fault, its exit code and the file that raises it."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEAD = """# Error codes

Every refusal prints four lines: the code and the fault, where, what was found, what to do. `--json` gives the same as
an object, `--debug` the traceback. Exit codes: 0 done, 1 our bug, 2 usage, 3 some cases failed, 4 input refused,
5 unsafe. A code without a fault here is a finding: several of them make one error.
This page is written by `python tools/error_codes.py`; `tests/test_architecture.py` keeps it true.

| code | fault | exit | raised in |
|---|---|---|---|
"""


def codes() -> list[tuple[str, str, str]]:
    """Return code, fault and file of every place that names a code and a fault as its first two arguments."""
    rows = set()
    for path in sorted((ROOT / "monai_isles").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and len(node.args) >= 2 and _text(node.args[0]).startswith("E-"):
                rows.add((_text(node.args[0]), _fault(node.args[1:3]), str(path.relative_to(ROOT))))
    return sorted(rows)


def page() -> str:
    """Return the text of the page."""
    exits = {"USE": 2, "SAFE": 5}
    lines = [f"| {code} | {fault} | {exits.get(code.split('-')[1], 4)} | {path} |" for code, fault, path in codes()]
    return HEAD + "\n".join(lines) + "\n"


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "..." for part in node.values)
    return ""


def _fault(nodes: list[ast.expr]) -> str:
    texts = [text for node in nodes if (text := _text(node)) and text not in ("error", "warning")]
    return texts[0].replace("|", "/") if texts else "stated by the caller"


if __name__ == "__main__":
    (ROOT / "docs/errors.md").write_text(page(), encoding="utf-8")
    sys.exit(0)
