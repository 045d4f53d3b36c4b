"""Write the methods section of a run: steps, settings, and references."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from monai_isles.io.publish import publish_text

METHODS = "methods.md"
_DOI = re.compile(r"doi:\s*(10\.\S+?)[.,;]?(?:\s|$)", re.IGNORECASE)
_OF_METHOD = {"bayes": "boutelier2012", "learned": "boutelier2012"}


def publish_methods(
    out: Path, record: Mapping[str, Any], results: Sequence[Mapping[str, Any]], references: Sequence[str] = ()
) -> None:
    """Write ``methods.md`` of a run from its record: versions, settings, thresholds, references in BibTeX."""
    publish_text(out / METHODS, methods_text(record, results, references))


def methods_text(
    record: Mapping[str, Any], results: Sequence[Mapping[str, Any]], references: Sequence[str] = ()
) -> str:
    """Return the text of ``methods.md``; see ``publish_methods``."""
    settings = _common([(result.get("source") or {}).get("settings") or {} for result in results])
    cuts = _common([result.get("perfusion") or {} for result in results])
    cited = _citation_keys(settings, cuts)
    parts = [
        "# Methods",
        "Written by the run itself. Research only, not a medical device.",
        _software(record),
        _network(record, len(references)),
        *([_maps(settings)] if settings else []),
        *([_rules(cuts)] if "core_rcbf" in cuts else []),
        _studies(record),
        "## Settings of the network\n\n| setting | value |\n|---|---|\n" + _rows(record.get("settings") or {}),
        "## References\n\n```bibtex\n"
        + "\n\n".join([*map(_references().__getitem__, cited), *_own(references)])
        + "\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _common(blocks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the statements common to all blocks that have any."""
    remarks = [block for block in blocks if block]
    return {
        key: value
        for key, value in (remarks[0] if remarks else {}).items()
        if all(b.get(key) == value for b in remarks)
    }


def _software(record: Mapping[str, Any]) -> str:
    known = {name: version for name, version in (record.get("versions") or {}).items() if version != "not installed"}
    own = known.pop("monai_isles", "")
    others = ", ".join(f"{name} {version}" for name, version in known.items())
    return f"Lesions were segmented with monai_isles {own} ({others}) on MONAI [@monai]."


def _network(record: Mapping[str, Any], references: int) -> str:
    weights = record.get("weights") or {}
    sums = ", ".join(f"`{str(sha)[:16]}`" for sha in weights.values())
    cited = f" [{'; '.join(f'@bundle{n}' for n in range(1, references + 1))}]" if references else ""
    made = f"{len(weights)} network{'s' if len(weights) != 1 else ''}" if weights else "no trained weights"
    return f"The bundle `{record.get('bundle')}`{cited} was applied with {made}" + (
        f" (SHA-256 of the weights begins with {sums})." if sums else "."
    )


def _maps(settings: Mapping[str, Any]) -> str:
    method = settings.get("method")
    cited = _OF_METHOD.get(str(method), "wu2003")
    return (
        f"Perfusion maps were computed from the contrast series by the method `{method}` (setting "
        f"{settings.get('truncation')}) [@{cited}] after in-plane smoothing over "
        f"{settings.get('smoothing_mm', '5 to 10')} mm; "
        f"vessels above {settings.get('vessel_cbv_ml_100g')} ml/100 g were left out, tissue density was "
        f"{settings.get('density_g_ml')} g/ml and the hematocrit factor {settings.get('hematocrit_factor')}."
    )


def _rules(cuts: Mapping[str, Any]) -> str:
    return (
        f"Core was tissue with a blood flow below {100 * float(cuts['core_rcbf']):g} % of the mean of the other "
        f"hemisphere [@campbell2011], hypoperfused tissue had a Tmax above {float(cuts.get('delay_s', 6)):g} s "
        f"[@albers2018]; clusters below {float(cuts.get('min_cluster_ml', 0)):g} ml were left out of both."
    )


def _studies(record: Mapping[str, Any]) -> str:
    cases = record.get("cases") or {}
    failed = [name for name, case in cases.items() if case.get("outcome") == "failed"]
    left = f"; {len(failed)} could not be processed ({', '.join(failed)})" if failed else ""
    return f"Of {len(cases)} studies {len(cases) - len(failed)} were processed{left}."


def _rows(settings: Mapping[str, Any]) -> str:
    return "\n".join(f"| `{name}` | {_plain(value)} |" for name, value in settings.items()) or "| none | |"


def _plain(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def _citation_keys(settings: Mapping[str, Any], cuts: Mapping[str, Any]) -> list[str]:
    of_maps = [_OF_METHOD.get(str(settings["method"]), "wu2003"), "bridge2022"] if "method" in settings else []
    return ["monai", *of_maps, *(["campbell2011", "albers2018"] if "core_rcbf" in cuts else [])]


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
