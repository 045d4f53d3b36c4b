"""Write the methods section of a run: steps, settings, and references."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from monai_isles.reports.card import environment

METHODS = "methods.md"
_DOI = re.compile(r"doi:\s*(10\.\S+?)[.,;]?(?:\s|$)", re.IGNORECASE)
_OF_METHOD = {"bayes": "boutelier2012", "learned": "boutelier2012"}


def methods_text(
    record: Mapping[str, Any], results: Sequence[Mapping[str, Any]], references: Sequence[str] = ()
) -> str:
    """Return the text of ``methods.md`` from a run's record: versions, settings, thresholds, references in BibTeX."""
    settings = _common([(result.get("source") or {}).get("settings") or {} for result in results])
    cuts = _common([result.get("perfusion") or {} for result in results])
    versions = {name: text for name, text in (record.get("versions") or {}).items() if text != "not installed"}
    cases, maps_key = record.get("cases") or {}, _OF_METHOD.get(str(settings.get("method")), "wu2003")
    cited = ["monai", *([maps_key, "bridge2022"] if "method" in settings else [])]
    cited += ["campbell2011", "albers2018"] if "core_rcbf" in cuts else []
    keys = "; ".join(f"@bundle{n}" for n in range(1, len(references) + 1))
    facts = {
        "versions": versions,
        "others": ", ".join(f"{name} {text}" for name, text in versions.items() if name != "monai_isles"),
        "bundle": record.get("bundle"),
        "bundle_keys": f" [{keys}]" if keys else "",
        "weights": [f"`{str(sha)[:16]}`" for sha in (record.get("weights") or {}).values()],
        "settings": settings,
        "maps_key": maps_key,
        "core": f"{100 * float(cuts['core_rcbf']):g}" if "core_rcbf" in cuts else "",
        "late": f"{float(cuts.get('delay_s', 6)):g}",
        "least": f"{float(cuts.get('min_cluster_ml', 0)):g}",
        "cases": cases,
        "failed": [name for name, case in cases.items() if case.get("outcome") == "failed"],
        "rows": [(name, str(value).replace("|", "\\|").replace("\n", " "))
                 for name, value in (record.get("settings") or {}).items()],
        "references": [*map(_references().__getitem__, cited), *_own(references)],
    }  # fmt: skip
    return environment().get_template("methods.md").render(facts) + "\n"


def _common(blocks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the statements common to all blocks that have any."""
    first, *others = [block for block in blocks if block] or [{}]
    return {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}


@cache
def _references() -> dict[str, str]:
    text = (Path(__file__).parent / "templates/references.bib").read_text(encoding="utf-8")
    return {entry.split("{")[1].split(",")[0]: entry for entry in text.strip().split("\n\n")}


def _own(references: Sequence[str]) -> list[str]:
    """Return the bundle's references: one line each in ``note``, the DOI separately if there is one."""
    entries = []
    for number, line in enumerate(references, 1):
        doi = _DOI.search(line)
        more = f",\n  doi = {{{doi.group(1)}}}" if doi else ""
        entries.append(f"@misc{{bundle{number},\n  note = {{{line}}}{more}\n}}")
    return entries
