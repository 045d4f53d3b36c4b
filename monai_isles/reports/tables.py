"""Format summary tables of methods as text, Markdown or HTML, with published rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from typing import Any

from monai_isles.evaluation.summary import align
from monai_isles.metrics.overlap import RULES

Summaries = Mapping[str, Mapping[str, Any]]
COLUMNS = (
    ("dsc", "Dice", 3),
    ("ppv", "PPV", 3),
    ("sensitivity", "Sensitivity", 3),
    ("hd_mm", "HD, mm", 1),
    ("hd_vox", "HD, voxels", 1),
    ("hd95_mm", "HD95, mm", 1),
    ("assd_mm", "ASSD, mm", 2),
    ("avd_ml", "Volume error, ml", 1),
)
_NONE, _OF_PAPERS = "–", "HD, voxels"
_RULED = (("dsc", "Dice"), ("ppv", "PPV"), ("sensitivity", "sensitivity"))


@dataclass(frozen=True)
class Cell:
    """Hold one number of a table: mean ± SD, and the small print (95 % interval, median, n if it differs)."""

    main: str
    small: tuple[str, ...] = ()


@dataclass(frozen=True)
class Line:
    """Hold one method: its name, n, cells by column title, and whether a paper printed it on other data."""

    name: str
    n: Cell
    cells: dict[str, Cell]
    published: bool = False


def lines_of(rows: Summaries, published: Summaries | None = None) -> list[Line]:
    """Return one line a method, the published ones last.

    Args:
        published: the same form with fewer entries: ``{"n", "metrics": {"dsc": {"mean", "sd"}}, "volumes": {"r2"}}``.
    """
    ours = [_line(name, row, published=False) for name, row in rows.items()]
    return ours + [_line(name, row, published=True) for name, row in (published or {}).items()]


def as_text(rows: Summaries, published: Summaries | None = None) -> str:
    """Return the table for a terminal, columns aligned, Dice with its interval and the counts in full."""
    lines = lines_of(rows, published)
    return "\n".join([*align(_grid(lines)), "", *notes(rows, published)])


def as_markdown(rows: Summaries, published: Summaries | None = None) -> str:
    """Return GitHub Markdown: a column for each method, then a table for each paper, and the notes below.

    A published row is named ``paper: row``. Names cannot break the tables.
    """
    head, *lines = _grid(lines_of(rows, published))
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
    safe = [[cell.replace("|", "\\|").replace("<", "&lt;").replace(" ± –", "") for cell in row] for row in grid]
    table = [f"| {' | '.join(row)} |" for row in safe]
    table.insert(1, f"|{' --- |' + ' ---: |' * (len(safe[0]) - 1)}")
    return "\n".join(table)


def as_html(rows: Summaries, published: Summaries | None = None) -> str:
    """Return the table as HTML, every text of the caller's escaped, notes below."""
    lines = lines_of(rows, published)
    titles = _titles(lines)
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in ("Method", "n", *titles))
    body = "".join(_html_row(line, titles) for line in lines)
    below = "".join(f"<li>{escape(note)}</li>" for note in notes(rows, published))
    return (
        f'<div class="wide"><table class="methods"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        f'<ul class="notes">{below}</ul>'
    )


def notes(rows: Summaries, published: Summaries | None = None) -> list[str]:
    """Return the notes of the table: definitions of the numbers, and the counts of empty masks."""
    text = [
        "Mean ± SD over cases; the 95 % interval is of the mean Dice, by bootstrap over subjects.",
        "Distances over the cases where both masks hold a lesion. R² about the identity line, over lesion volumes.",
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


def _line(name: str, row: Mapping[str, Any], *, published: bool) -> Line:
    cells = {
        title: _cell(row["metrics"].get(key), digits, row.get("n"), interval=key == "dsc")
        for key, title, digits in COLUMNS
    }
    cells["R²"] = Cell(_plain(row.get("volumes", {}).get("r2"), 2))
    subjects = (f"{row['subjects']} subjects",) if row.get("subjects") else ()
    return Line(name, Cell(str(row.get("n", _NONE)), subjects), cells, published)


def _cell(statistics: Mapping[str, Any] | None, digits: int, n: int | None, *, interval: bool) -> Cell:
    if not statistics or statistics.get("mean") is None:
        return Cell(_NONE)
    small = []
    if statistics.get("ci95") and interval:
        small.append(f"95 % {statistics['ci95'][0]:.{digits}f} to {statistics['ci95'][1]:.{digits}f}")
    if statistics.get("median") is not None:
        small.append(f"median {statistics['median']:.{digits}f}")
    if statistics.get("n") not in (None, n):
        small.append(f"n {statistics['n']}")
    small.extend(filter(None, [statistics.get("unit")]))
    return Cell(f"{_plain(statistics['mean'], digits)} ± {_plain(statistics.get('sd'), digits)}", tuple(small))


def _plain(value: float | None, digits: int) -> str:
    return _NONE if value is None else f"{value:.{digits}f}"


def _titles(lines: Sequence[Line]) -> list[str]:
    return [
        title
        for title in (*(title for _, title, _ in COLUMNS), "R²")
        if any(line.cells[title].main != _NONE and (line.published or title != _OF_PAPERS) for line in lines)
    ]


def _grid(lines: Sequence[Line]) -> list[list[str]]:
    titles = _titles(lines)
    head = [
        "Method",
        "n",
        *(part for title in titles for part in ([title, "95 % interval", "median"] if title == "Dice" else [title])),
    ]
    return [
        head,
        *([line.name, _flat(line.n), *(part for title in titles for part in _parts(title, line))] for line in lines),
    ]


def _parts(title: str, line: Line) -> list[str]:
    cell = line.cells[title]
    if title == "Dice":
        result = {
            word: next((s.removeprefix(word).strip() for s in cell.small if s.startswith(word)), _NONE)
            for word in ("95 %", "median")
        }
        return [cell.main, result["95 %"], result["median"]]
    return [_flat(Cell(cell.main, tuple(s for s in cell.small if s.startswith(("n ", "unit")))))]


def _flat(cell: Cell) -> str:
    return " ".join([cell.main, *(f"({small})" for small in cell.small)])


def _html_row(line: Line, titles: Sequence[str]) -> str:
    cells = "".join(map(_html_cell, (line.n, *(line.cells[title] for title in titles))))
    kind = ' class="published"' if line.published else ""
    return f'<tr{kind}><th scope="row">{escape(line.name)}</th>{cells}</tr>'


def _html_cell(cell: Cell) -> str:
    return f"<td>{escape(cell.main)}{''.join(f'<small>{escape(small)}</small>' for small in cell.small)}</td>"
