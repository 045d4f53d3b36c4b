"""Write the model card of a bundle from a dictionary of facts; a fact that is missing is an error, not a gap."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_isles.errors import IslesError
from monai_isles.reports.tables import as_markdown

if TYPE_CHECKING:
    from jinja2 import Environment

REQUIRED = (
    "name",
    "summary",
    "simulated",
    "intended_use",
    "not_intended_use",
    "inputs",
    "outputs",
    "data",
    "split",
    "n_cases",
    "n_subjects",
    "lesion_ml_range",
    "training_command",
    "training_hours",
    "training_device",
    "metrics",
    "memory_gb",
    "seconds_per_case",
    "weights",
    "weights_sha256",
    "limits",
    "licence",
    "references",
)
OPTIONAL = ("published", "curves_figure", "picture", "commands", "uncertainty", "versions", "contact", "notes")


def model_card(facts: Mapping[str, Any]) -> str:
    """Return the card as Markdown.

    Units: ``training_hours`` h, ``memory_gb`` GB, ``seconds_per_case`` s, ``lesion_ml_range`` (lowest, highest) ml.
    Args:
        facts: every name of ``REQUIRED``, and any of ``OPTIONAL``. ``metrics`` and ``published`` are summaries by
            method name; ``not_intended_use``, ``inputs``, ``outputs``, ``limits``, ``references`` and ``notes`` are
            lists of sentences; ``commands`` and ``versions`` map labels to text; ``curves_figure`` and ``picture`` are
            addresses relative to the card; the rest is text or numbers.
    Raises:
        IslesError: ``E-REP-08`` listing every missing or unknown fact.
    Source: ours, with what a reader of a card needs to judge it; ``tests/reports/test_card.py``.
    """
    missing = [name for name in REQUIRED if facts.get(name) is None or facts[name] == ""]
    unknown = sorted(set(facts) - set(REQUIRED) - set(OPTIONAL))
    if missing or unknown:
        parts = {"missing": missing, "unknown": unknown}
        raise IslesError(
            "E-REP-08",
            "facts do not make a model card",
            where=str(facts.get("name", "model card")),
            found="; ".join(f"{word} {', '.join(names)}" for word, names in parts.items() if names),
            fix="state every fact; write 'not measured' where that is the truth",
        )
    table = as_markdown(facts["metrics"], facts.get("published"))
    text = _environment().get_template("card.md").render({**dict.fromkeys(OPTIONAL), **facts, "table": table})
    return text.strip() + "\n"


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(Path(__file__).parent / "templates")
    return Environment(loader=loader, autoescape=False, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
