"""Write the model card of a bundle from a dictionary of facts; a missing fact is an error."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from textwrap import wrap
from typing import Any

from monai_isles.errors import refused
from monai_isles.reports.page import environment
from monai_isles.reports.tables import as_markdown

WIDTH = 120
HEADINGS = ("## Intended use", "## Memory, time, weights")
_FACTS: dict[str, Any] = tomllib.loads(Path(__file__).with_name("card.toml").read_text(encoding="utf-8"))
REQUIRED, WITHOUT_WEIGHTS, OPTIONAL = (_FACTS[kind] for kind in ("required", "without_weights", "optional"))
COST, OPTIONAL_COST = _FACTS["cost"], _FACTS["optional_cost"]


def model_card(facts: Mapping[str, Any]) -> str:
    """Return the card as Markdown.

    Units: ``training_hours`` h, ``memory_gb`` GB, ``seconds_per_case`` s, ``lesion_ml_range`` (lowest, highest) ml.
    Args:
        facts: every name of ``REQUIRED``, and any of ``OPTIONAL``; with ``weights`` None every name of
            ``WITHOUT_WEIGHTS`` instead, and the card says that none are shipped and the bundle has to be trained,
            or ``bare`` instead: why nothing has to be. ``metrics`` and ``published`` are summaries by method name;
            ``not_intended_use``, ``inputs``, ``outputs``, ``limits``, ``references`` and ``notes`` are lists of
            sentences; ``commands`` and ``versions`` map labels to text; ``cost`` has every name of ``COST`` and any of
            ``OPTIONAL_COST``, None for a number that was not measured; the rest is text or numbers.
    Raises: ``E-REP-08`` listing every missing or unknown fact.
    Source: ours, with what a reader of a card needs to judge it; ``tests/reports/test_card.py``.

    >>> model_card({"name": "my network"})  # a missing fact is an error
    Traceback (most recent call last):
    ...
    monai_isles.errors.IslesError: E-REP-08: ...
    """
    bare = "weights" in facts and facts["weights"] is None
    missing = [name for name in (WITHOUT_WEIGHTS if bare else REQUIRED) if facts.get(name) is None or facts[name] == ""]
    unknown = sorted(set(facts) - set(REQUIRED) - set(OPTIONAL))
    if facts.get("cost") is not None:
        missing += [f"cost.{name}" for name in COST if name not in facts["cost"]]
        unknown += sorted(f"cost.{name}" for name in facts["cost"] if name not in COST | OPTIONAL_COST)
    if missing or unknown:
        parts = {"missing": missing, "unknown": unknown}
        found = "; ".join(f"{word} {', '.join(names)}" for word, names in parts.items() if names)
        raise refused("E-REP-08", where=str(facts.get("name", "model card")), found=found)
    table = None if bare else as_markdown(facts["metrics"], facts.get("published"))
    shown = {**dict.fromkeys((*REQUIRED, *OPTIONAL)), **facts, "table": table, "cost": _cost(facts.get("cost"))}
    return fit_width(environment().get_template("card.md").render(shown))


def fit_width(markdown: str) -> str:
    """Wrap prose at 120 columns, break commands at their options, and move long rows of facts below their table."""
    out: list[str] = []
    moved: list[str] = []
    code = False
    for line in markdown.splitlines():
        code ^= line.startswith("```")
        if moved and not line.startswith("|"):
            out, moved = [*out, "", *moved], []
        if len(line) <= WIDTH or line.startswith("#"):
            out.append(line)
        elif line.startswith("|"):
            label, text = line.strip("| ").split(" | ", 1)
            moved += _wrap_line(f"- {label}: {text}")
        else:
            out += _command_lines(line) if code else _wrap_line(line)
    return "\n".join([*out, *moved]) + "\n"


def _wrap_line(line: str) -> list[str]:
    indent = "  " if line.startswith("- ") else ""
    return wrap(line, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _command_lines(command: str) -> list[str]:
    lines = [""]
    for part in re.split(r" (?=--)", command):
        if lines[-1] and len(f"{lines[-1]} {part} \\") > WIDTH:
            lines[-1] += " \\"
            lines.append("   ")
        lines[-1] += f" {part}" if lines[-1] else part
    return lines


def require_card(path: Path) -> None:
    """Refuse to overwrite a text that is not a card."""
    lines: list[str] = list(HEADINGS)
    with suppress(FileNotFoundError):
        lines = path.read_text(encoding="utf-8").splitlines()
    missing = [heading for heading in HEADINGS if heading not in lines]
    if missing:
        found = f"no section {', '.join(heading.removeprefix('## ') for heading in missing)}"
        raise refused("E-REP-13", where=str(path), found=found)


def _cost(cost: Mapping[str, Any] | None) -> dict[str, str]:
    shown = {}
    for name, (label, unit) in (COST | OPTIONAL_COST).items():
        value = (cost or {}).get(name, "")
        if value is None:
            shown[label] = "not measured"
        elif value != "":
            shown[label] = value if isinstance(value, str) else f"{value}{unit}"
    return shown
