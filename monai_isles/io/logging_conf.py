"""A logging.conf is evaluated by Python's logging: accept literal handlers only."""

from __future__ import annotations

import ast
import configparser
from pathlib import Path

from monai_isles.io.findings import ERROR, Finding

_CLASSES = frozenset({
    "StreamHandler", "FileHandler", "NullHandler", "Formatter",
    "logging.StreamHandler", "logging.FileHandler", "logging.NullHandler", "logging.Formatter",
})  # fmt: skip
_STREAMS = {"sys.stdout", "sys.stderr"}


def logging_findings(path: str | Path) -> list[Finding]:
    """Return what in a logging.conf would run code: other classes, or arguments that are no literals.

    Source: MONAI's rule since 1.6.1 (GHSA-wvpx-5qmp-46g3), made shorter; ``tests/io/test_logging_conf.py``.
    """
    path, parser = Path(path), configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except (configparser.Error, UnicodeDecodeError, OSError) as error:
        return [
            Finding(
                "E-FILE-19",
                ERROR,
                str(path),
                str(error).replace("\n", " "),
                "correct the file",
                "logging.conf cannot be read",
            )
        ]
    entries = [
        (s, k, parser.get(s, k))
        for s in ["DEFAULT", *parser.sections()]
        for k in (parser.options(s) if s != "DEFAULT" else parser.defaults())
    ]
    fix, fault = "use StreamHandler or FileHandler with plain values", "logging.conf would run code"
    return [
        Finding("E-SAFE-09", ERROR, f"{path}: [{section}] {option}", repr(value[:120]), fix, fault)
        for section, option, value in entries
        if not _harmless(option, value)
    ]


def _harmless(option: str, value: str) -> bool:
    if option == "class":
        return value.strip() in _CLASSES
    if option not in ("args", "kwargs"):
        return True
    try:
        tree = ast.parse(value.strip() or "()", mode="eval").body
    except (SyntaxError, ValueError, RecursionError):
        return False
    parts = [*tree.elts] if isinstance(tree, (ast.Tuple, ast.List)) else [tree]
    return all(ast.unparse(part) in _STREAMS or _literal(part) for part in parts)


def _literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        return False
    return True
