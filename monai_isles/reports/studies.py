"""Summarise many studies: a table with one row per study, a page with the outliers, the text of a methods section."""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from monai_isles.data.study import is_simulated
from monai_isles.io.publish import publish, publish_text
from monai_isles.io.runs import read_record, versions
from monai_isles.reports.canvas import SERIES, plot_axes
from monai_isles.reports.page import environment, plot

TABLE, PARQUET, PAGE, METHODS = "results.csv", "results.parquet", "studies.html", "methods.md"
FAR, FEWEST = 3.5, 8
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Column:
    """Describe one column; of a ``measured`` one outliers are sought and the distribution is drawn."""

    name: str
    label: str
    path: str
    meaning: str
    measured: bool
    form: str

    def text(self, value: object) -> str:
        """Return a value as the page prints it."""
        if isinstance(value, bool):
            return "met" if value else "not met"
        if isinstance(value, (int, float)):
            return format(value, self.form)
        return "" if value is None else str(value)


_LINES = (Path(__file__).parent / "templates/studies.csv").read_text(encoding="utf-8").splitlines()
COLUMNS = tuple(Column(measured=row.pop("measured") == "yes", **row) for row in csv.DictReader(_LINES))


def publish_studies(
    out: Path, record: Mapping[str, Any], references: Sequence[str] = (), *, wanted: bool = True
) -> list[Path]:
    """Write table, page and methods text of a run unless every study failed; Parquet where pandas can.

    Those of a former run are deleted where none are made or ``wanted``: they are of other settings.
    """
    cases = record["cases"]
    wanted &= any(case["outcome"] != "failed" for case in cases.values())
    for name in (PARQUET,) if wanted else (TABLE, PARQUET, PAGE, METHODS):
        (out / name).unlink(missing_ok=True)
    if not wanted:
        return []
    results = {
        name: read_record(out / name / "result.json") if case["outcome"] != "failed" else {}
        for name, case in cases.items()
    }
    flags = {name: _flags(result) for name, result in results.items()}
    rows = [_row(out, name, cases[name], result, flags[name]) for name, result in results.items()]
    table = pd.DataFrame(rows, columns=[column.name for column in COLUMNS], dtype=object)
    simulated = any(map(_is_simulated, results.values()))
    publish_text(out / METHODS, methods_text({"versions": versions(), **record}, list(results.values()), references))
    publish_text(out / TABLE, table.to_csv(index=False, lineterminator="\n"))
    written = [out / TABLE, *_parquet(table, out / PARQUET), out / PAGE]
    publish_text(out / PAGE, environment().get_template("studies.html").render(_facts(table, flags, simulated)))
    return written


def _is_simulated(result: Mapping[str, Any]) -> bool:
    images = list((result.get("modalities") or {}).values())[:1]
    return bool((result.get("source") or {}).get("simulated")) or any(map(is_simulated, images))


def _row(
    out: Path, name: str, record: Mapping[str, Any], result: Mapping[str, Any], flags: Mapping[str, str]
) -> dict[str, Any]:
    row: dict[str, Any] = {column.name: _at(result, column.path) if column.path else None for column in COLUMNS}
    error = str(record.get("error") or "").splitlines()
    page = Path(name) / "report.html"
    row |= {"study": name, "outcome": record["outcome"], "error": error[0] if error else None}
    row |= {"remarks": " ".join(flags) or None, "page": page.as_posix() if (out / page).is_file() else None}
    return row


def _at(content: Any, path: str) -> Any:
    """Return the value at a dotted path of nested dictionaries and lists, None if there is none."""
    for key in path.split("."):
        try:
            content = content[int(key) if isinstance(content, list) else key]
        except (KeyError, IndexError, TypeError, ValueError):
            return None
    return content


def _flags(result: Mapping[str, Any]) -> dict[str, str]:
    """Return the text of each kind of remark of a study."""
    results = {str(item["code"]): str(item["text"]) for item in result.get("quality") or ()}
    for line in map(str, result.get("remarks") or ()):
        code = re.match(r"(E-[A-Z]+-\d+)", line)
        results[code.group(1) if code else "remark"] = line
    return results


def _parquet(table: pd.DataFrame, path: Path) -> list[Path]:
    """Write the table as Parquet where pandas has an engine for it."""
    try:
        publish(path, lambda tmp: table.infer_objects().to_parquet(tmp, index=False))
    except ImportError as error:
        _log.info("no %s: %s", path.name, error)
        return []
    return [path]


def find_outliers(table: pd.DataFrame) -> list[SimpleNamespace]:
    """Return the values far from the median of eight studies or more: a modified z-score above 3.5 of log(1 + value).

    Where more than half of the values are the same, the mean deviation replaces the median deviation.

    Source: Iglewicz and Hoaglin, How to Detect and Handle Outliers, ASQC 1993; ``tests/reports/test_studies.py``.
    """
    results = []
    for column, values in _measured(table, FEWEST):
        logs = np.log1p(values)
        away = (logs - logs.median()).abs()
        spread = 1.4826 * away.median() or 1.2533 * away.mean()
        results += [
            SimpleNamespace(study=str(study), name=column.name, label=column.label, value=value, usual=values.median())
            for study, value in values[(spread > 0) & (away > FAR * spread)].items()
        ]
    return results


def _measured(table: pd.DataFrame, fewest: int) -> Iterator[tuple[Column, pd.Series]]:
    """Yield each measured column that enough studies have, with its numbers by study."""
    for column in (item for item in COLUMNS if item.measured):
        values = table.set_index("study")[column.name].dropna().astype(float)
        if len(values) >= fewest:
            yield column, values


def _facts(table: pd.DataFrame, flags: Mapping[str, Mapping[str, str]], simulated: bool) -> dict[str, Any]:
    rows, outliers = table.to_dict("records"), find_outliers(table)
    failed = [row for row in rows if row["outcome"] == "failed"]
    kinds = {code: [name for name, own in flags.items() if code in own] for own in flags.values() for code in own}
    return {
        "title": f"{len(rows)} {'study' if len(rows) == 1 else 'studies'}",
        "simulated": simulated,
        "tiles": {
            "Studies": len(rows),
            "Failed": len(failed),
            "With remarks": sum(bool(own) for own in flags.values()),
            "Unusual values": len(outliers),
        },
        "rows": rows,
        "columns": [column for column in COLUMNS if any(row[column.name] is not None for row in rows)],
        "far": {(outlier.study, outlier.name) for outlier in outliers},
        "outliers": outliers,
        "failed": failed,
        "kinds": [
            SimpleNamespace(code=code, studies=names, text=flags[names[0]][code])
            for code, names in sorted(kinds.items(), key=lambda kind: -len(kind[1]))
        ],
        "meanings": {f"{column.label} ({column.name})": column.meaning for column in COLUMNS},
        "plots": _plots(table),
        "fewest": FEWEST,
    }


def _plots(table: pd.DataFrame) -> list[SimpleNamespace]:
    plots = []
    for column, values in _measured(table, 2):
        figure, (axes,) = plot_axes(3.1, 2.0, pad=0.9)
        axes.hist(values, bins=min(20, max(5, len(values) // 3)), color=SERIES[0], edgecolor="none")
        axes.set(xlabel=column.label, ylabel="studies")
        axes.locator_params(axis="y", integer=True)
        quartiles = ", ".join(f"{q:.4g}" for q in np.percentile(values, [25, 50, 75]))
        caption = f"{column.meaning[:1].upper()}{column.meaning[1:]}; {len(values)} studies, quartiles {quartiles}."
        plots.append(plot(figure, f"Histogram of {column.label}", caption))
    return plots


_DOI = re.compile(r"doi:\s*(10\.\S+?)[.,;]?(?:\s|$)", re.IGNORECASE)


def methods_text(
    record: Mapping[str, Any], results: Sequence[Mapping[str, Any]], references: Sequence[str] = ()
) -> str:
    """Return the text of ``methods.md`` from a run's record: versions, settings, thresholds, references in BibTeX."""
    settings = _common([(result.get("source") or {}).get("settings") or {} for result in results])
    cuts = _common([result.get("perfusion") or {} for result in results])
    versions = {name: text for name, text in (record.get("versions") or {}).items() if text != "not installed"}
    cases, bayes = record.get("cases") or {}, settings.get("method") in ("bayes", "learned")
    maps_key = "boutelier2012" if bayes else "wu2003"
    cited = ["monai", *([maps_key, "bridge2022"] if "method" in settings else [])]
    cited += ["campbell2011", "albers2018"] if "core_rcbf" in cuts else []
    keys = "; ".join(f"@bundle{n}" for n in range(1, len(references) + 1))
    text = (Path(__file__).parent / "templates/references.bib").read_text(encoding="utf-8")
    known = {entry.split("{")[1].split(",")[0]: entry for entry in text.strip().split("\n\n")}
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
                 for name, value in (record.get("settings") or {}).items() if value is not None],
        "references": [*(known[key] for key in cited), *_own_entries(references)],
    }  # fmt: skip
    return environment().get_template("methods.md").render(facts) + "\n"


def _common(blocks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the statements common to all blocks that have any."""
    first, *others = [block for block in blocks if block] or [{}]
    return {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}


def _own_entries(references: Sequence[str]) -> list[str]:
    """Return the bundle's references: one line each in ``note``, the DOI separately if there is one."""
    entries = []
    for number, line in enumerate(references, 1):
        doi = _DOI.search(line)
        more = f",\n  doi = {{{doi.group(1)}}}" if doi else ""
        entries.append(f"@misc{{bundle{number},\n  note = {{{line}}}{more}\n}}")
    return entries
