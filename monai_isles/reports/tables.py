"""Format tables of methods as text, as Markdown or for a page, with published rows."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from monai_isles.metrics.overlap import RULES

Row = Mapping[str, Any]
Summaries = Mapping[str, Row]


class Column(NamedTuple):
    """Describe one column: the key of its number, its heading, and the digits and factor of the printed number."""

    key: str
    title: str
    digits: int
    scale: float = 1.0


METRICS: dict[str, dict[str, Any]] = tomllib.loads(Path(__file__).with_name("columns.toml").read_text(encoding="utf-8"))
COLUMNS = [Column(key, item["page"], item["digits"]) for key, item in METRICS.items() if "page" in item]
_NARROW = [Column(key, item["short"], item["digits"]) for key, item in METRICS.items() if "short" in item]
_NONE = "–"
_RULED = (("dsc", "Dice"), ("ppv", "PPV"), ("sensitivity", "sensitivity"))


@dataclass(frozen=True)
class Cell:
    """Hold one number of a table: mean ± SD, and the small print by its kind (interval, median, n, unit)."""

    main: str
    small: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """Return the number with its n and its unit where they differ from those of the row and the column."""
        return " ".join([self.main, *(f"({self.small[kind]})" for kind in ("n", "unit") if kind in self.small)])


def statistics(row: Row, key: str) -> dict[str, Any]:
    """Return the statistics of a metric, or ``{"mean": value}`` of an entry of the row or of its volumes."""
    result = row.get("metrics", {}).get(key, row.get(key, row.get("volumes", {}).get(key)))
    return dict(result) if isinstance(result, Mapping) else {"mean": result}


def cell(row: Row, column: Column) -> Cell:
    """Return the cell of a row, a dash for what it does not have."""
    result = statistics(row, column.key)
    mean, digits, scale = result.get("mean"), column.digits, column.scale
    if mean is None or isinstance(mean, str):
        return Cell(mean or _NONE)
    small = {}
    if result.get("ci95") and column.key == "dsc":
        small["interval"] = "95 % " + " to ".join(_plain(scale * end, digits) for end in result["ci95"])
    if result.get("median") is not None:
        small["median"] = f"median {_plain(scale * result['median'], digits)}"
    if result.get("n") not in (None, row.get("n")):
        small["n"] = f"n {result['n']}"
    if result.get("unit"):
        small["unit"] = result["unit"]
    main = _plain(scale * mean, digits)
    if "sd" in result:
        main += f" ± {_plain(None if result['sd'] is None else scale * result['sd'], digits)}"
    return Cell(main, small)


def _plain(value: float | None, digits: int) -> str:
    return _NONE if value is None else f"{value:.{digits}f}"


def as_lines(grid: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows of a table as lines of text, with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
    return ["  ".join(part.ljust(width) for part, width in zip(row, widths, strict=True)).rstrip() for row in grid]


def in_ascii(text: str) -> str:
    """Return a table in the signs that every terminal and file has."""
    return text.replace("±", "+-").replace(_NONE, "-")


def as_text(rows: Summaries, published: Summaries | None = None) -> str:
    """Return the table for a terminal, columns aligned, Dice with its interval and the counts in full."""
    return "\n".join([*as_lines(_grid(rows, published)), "", *notes(rows, published)])


def as_markdown(rows: Summaries, published: Summaries | None = None) -> str:
    """Return GitHub Markdown: a column for each method, a table for each paper (``paper: row``), the notes."""
    head, *lines = _grid(rows, published)
    tables: list[Iterable[Sequence[str]]] = [zip(*_drop_empty_columns([head, *lines[: len(rows)]]), strict=True)]
    for paper, of_paper in groupby(lines[len(rows) :], key=lambda line: line[0].rpartition(": ")[0]):
        body = [[line[0].rpartition(": ")[2], *line[1:]] for line in of_paper]
        tables.append(_drop_empty_columns([[paper, *head[1:]], *body]))
    below = [f"- {note.replace('<', '&lt;')}" for note in notes(rows, published)]
    return "\n\n".join([*map(_markdown_table, tables), "\n".join(below)])


def _drop_empty_columns(grid: Sequence[Sequence[str]]) -> list[list[str]]:
    """Leave out the columns in which no line has a number."""
    return [list(row) for row in zip(*(c for c in zip(*grid, strict=True) if set(c[1:]) != {_NONE}), strict=True)]


def _markdown_table(grid: Iterable[Sequence[str]]) -> str:
    safe = [[part.replace("|", "\\|").replace("<", "&lt;").replace(" ± –", "") for part in row] for row in grid]
    table = [f"| {' | '.join(row)} |" for row in safe]
    table.insert(1, f"|{' --- |' + ' ---: |' * (len(safe[0]) - 1)}")
    return "\n".join(table)


def page_table(rows: Summaries, published: Summaries | None = None) -> dict[str, Any]:
    """Return what ``_methods.html`` shows: headings, lines of kind, name and cells, and notes."""
    columns = _columns(rows, published)
    lines = [
        (kind, name, [_count(row), *(cell(row, column) for column in columns)])
        for kind, of_kind in (("", rows), ("published", published or {}))
        for name, row in of_kind.items()
    ]
    return {"head": ["Method", "n", *(c.title for c in columns)], "lines": lines, "notes": notes(rows, published)}


def _columns(rows: Summaries, published: Summaries | None) -> list[Column]:
    """Return the columns in which some row has a number; distances in voxels only beside a paper that prints them."""
    theirs = list((published or {}).values())
    shown = {column: theirs if column.key == "hd_vox" else [*rows.values(), *theirs] for column in COLUMNS}
    return [column for column, lines in shown.items() if any(cell(line, column).main != _NONE for line in lines)]


def _grid(rows: Summaries, published: Summaries | None) -> list[list[str]]:
    """Return the cells, headings first, our rows before the published ones; Dice takes three columns."""
    columns = _columns(rows, published)
    grid = [["Method", "n"]]
    for column in columns:
        grid[0] += [column.title, "95 % interval", "median"] if column.key == "dsc" else [column.title]
    for name, row in (*rows.items(), *(published or {}).items()):
        grid.append([name, _count(row).text])
        for column in columns:
            content = cell(row, column)
            grid[-1].append(content.main if column.key == "dsc" else content.text)
            if column.key == "dsc":
                words = (content.small.get(kind, _NONE) for kind in ("interval", "median"))
                grid[-1] += [word.removeprefix("95 % ").removeprefix("median ") for word in words]
    return grid


def _count(row: Row) -> Cell:
    return Cell(str(row.get("n", _NONE)), {"n": f"{row['subjects']} subjects"} if row.get("subjects") else {})


FEW_SUBJECTS = 16  # the interval of fewer holds the mean too seldom: docs/evaluation.md


def notes(rows: Summaries, published: Summaries | None = None) -> list[str]:
    """Return the notes of the table: definitions of the numbers, and the counts of empty masks."""
    few = any(row.get("subjects", FEW_SUBJECTS) < FEW_SUBJECTS for row in rows.values())
    text = [
        "Mean ± SD over cases; the 95 % interval is of the mean Dice, by bootstrap over subjects"
        + (f", which makes it too narrow for fewer than {FEW_SUBJECTS}." if few else "."),
        "Distances: cases where both masks hold a lesion, or neither (0 mm). R² about the identity line, over volumes.",
    ]
    if any("empty_references" in row for row in rows.values()):
        text.append("Empty masks: " + "; ".join(f"{title}: {RULES[key]}" for key, title in _RULED) + ".")
    text.extend(_counts(name, row) for name, row in rows.items() if "empty_references" in row)
    if published:
        text.append(
            "Published rows were measured on other cases, those they name: do not compare them number by number."
        )
    return text


def _counts(name: str, row: Mapping[str, Any]) -> str:
    undefined = row.get("undefined_distances", 0)
    filled = row["metrics"].get("hd_mm", {}).get("imputed", {}).get("mean") if undefined else None
    instead = "" if filled is None else f" (HD {filled:.1f} mm over all cases, the image diagonal in their place)"
    return (
        f"{name}: {row['empty_references']} references empty, {row['empty_predictions']} predictions empty, "
        f"{row.get('empty_both', 0)} both; {row.get('missing_predictions', 0)} predictions missing; "
        f"{undefined} distances undefined{instead}."
    )


def summary_table(summary: Mapping[str, Any]) -> str:
    """Return the table of a ``summary.json`` in the signs of every terminal, with its counts and rules below."""
    first = next(iter(summary["methods"].values()))
    kind = "simulated data, not patients" if summary["simulated"] else "data as given"
    head = f"{summary['data']} ({kind}): {first['n']} cases of {first['subjects']} subjects"
    grid = [["method", *(column.title for column in _NARROW)]]
    for name, method in summary["methods"].items():
        grid.append([name, *(cell(method, column).main for column in _NARROW)])
    notes = ["mean ± SD over cases; distances over cases where both masks hold a lesion, or neither (0 mm)"]
    notes += [f"left out {name}: {' '.join(error.split())}" for name, error in summary.get("left_out", {}).items()]
    if extra := summary.get("predictions_without_reference"):
        notes.append(f"predictions without a reference, not scored: {', '.join(extra)}")
    for name, method in summary["methods"].items():
        notes += [f"{name}: {line}" for line in (*_notes_of_method(method), *_notes_of_maps(method["calibration"]))]
    notes += [f"{name}: {text}" for name, text in summary.get("baselines", {}).items()]
    rules = (f"  {name}: {rule}" for name, rule in summary["rules"].items())
    table = as_lines([[in_ascii(part) for part in row] for row in grid])  # before the columns are aligned
    return in_ascii("\n".join([head, "", *table, "", *notes, "rules for empty masks:", *rules]))


def _notes_of_method(method: Row) -> list[str]:
    low, high = (_plain(end, 3) for end in method["metrics"]["dsc"]["ci95"] or (None, None))
    f1, f1_iou25, quality = (cell(method, Column(f"lesion_{key}", "", 3)).main for key in ("f1", "f1_iou25", "pq"))
    sized = [
        f"{size} {_plain(row['metrics']['dsc']['mean'], 3)} (n {row['n']}, {row['empty_predictions']} predicted empty)"
        for size, row in method["strata"].items() if row["n"]
    ]  # fmt: skip
    bias, *limits = (_plain(method["bland_altman"][key], 1) for key in ("bias_ml", "lower_ml", "upper_ml"))
    return [
        f"DSC 95 % interval {low} to {high} (bootstrap over subjects)",
        f"empty references {method['empty_references']}, empty predictions {method['empty_predictions']}, "
        f"missing predictions {method['missing_predictions']}, undefined distances {method['undefined_distances']}"
        f"; HD {_plain(method['metrics']['hd_mm']['imputed']['mean'], 1)} mm with the diagonal in their place",
        f"lesion detection F1 {f1} (any overlap), {f1_iou25} (one to one, IoU >= 0.25)",
        f"panoptic quality {quality}",
        f"DSC by size of the reference: {', '.join(sized)}",
        f"volume bias {bias} ml, limits of agreement {' to '.join(limits)} ml (n {method['bland_altman']['n']})",
    ]


def _notes_of_maps(calibration: Mapping[str, Any] | None) -> list[str]:
    if not calibration:
        return []
    n, interval, uncertain = calibration["n"], calibration["interval"], calibration.get("uncertainty")
    lines = [f"calibration of {n} maps: ECE {_plain(calibration['ece'], 3)}, by bin {_plain(calibration['ace'], 3)}"]
    if uncertain:
        auroc = uncertain["uncertainty_auroc"]
        lines.append(f"uncertainty tells wrong from right voxels: AUROC {_plain(auroc['mean'], 3)} (n {auroc['n']})")
    if interval["n"]:
        lines.append(f"volume interval holds the reference in {interval['holds_reference']} of {interval['n']} cases")
    return lines
