"""Write our rows beside those that a paper printed, as text to read and as CSV to compute with."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from monai_isles.errors import refused
from monai_isles.reports.tables import aligned

Row = Mapping[str, Any]
Metric = tuple[str, str, int, float]
_NONE = "-"
_NOTES = (
    "mean +- sd over cases, or over what the n column names; (n ...) where a metric is defined on fewer.",
    "published: printed by the paper, measured on its own data; to be read beside ours, not compared number by number.",
)


@dataclass(frozen=True)
class PaperHead:
    """What must be known before the first number is read.

    Args:
        title: paper and table, ``Abulnaga and Rubin 2018, Table 1``.
        data: name of the data that ours were measured on.
        simulated: the data are the phantom's.
        n: cases that ours were measured on.
        split: which part of the data they are, and what trained and chose.
        command: the command that makes the table again; no path of a machine in it.
        notes: further sentences, below the table.
    """

    title: str
    data: str
    simulated: bool
    n: int
    split: str
    command: str
    notes: Sequence[str] = ()

    @property
    def kind(self) -> str:
        """Return whether the data are simulated, in the words of every table."""
        return "simulated data, not patients" if self.simulated else "data as given, not simulated"


def paper_table(
    ours: Sequence[Row], published: Mapping[str, Row], metrics: Sequence[Metric], *, head: PaperHead
) -> str:
    """Return the table to read: each of our rows, the published one below it, those without one of ours last.

    Units: those of the rows times the scale of the metric.
    Args:
        ours: ``{"name", "n", "metrics": {key: {"mean", "sd", "n"}}, ...}``, so ``{"name": ..., **summarise(rows)}``
            will do; ``published`` names the row of the paper where it has another name, ``of`` what n counts
            (cases unless said).
        published: rows by name, as ``published_tables(paper)[table]`` gives them.
        metrics: key, heading, digits, scale; a key that is not in ``metrics`` is looked up in the row itself, so
            ``threshold`` or ``parameters_m`` work too.
    Raises:
        IslesError: ``E-REP-10`` when a row names a published row that is not there.
    Source: ours; ``tests/papers/test_method_table.py``.
    """
    grid = [["row", "n", *(heading for _, heading, _, _ in metrics)]]
    for kind, name, row in _lines(ours, published):
        shown = {"ours": name, "published": "  published", "alone": f"  published, no row of ours: {name}"}[kind]
        grid.append([shown, _count(row), *(_cell(row, metric) for metric in metrics)])
    first = [head.title, f"{head.data} ({head.kind}), n {head.n}; {head.split}", f"command: {head.command}"]
    return "\n".join([*first, "", *aligned(grid), "", *_NOTES, *head.notes]) + "\n"


def paper_csv(ours: Sequence[Row], published: Mapping[str, Row], metrics: Sequence[Metric], *, head: PaperHead) -> str:
    """Return the same lines as CSV, numbers unscaled; the data, the split and the command stand on every line of ours.

    Args and Raises: those of ``paper_table``.
    """
    statistics = [f"{key}_{what}" for key, *_ in metrics for what in ("mean", "sd", "n", "unit")]
    names = ["table", "row", "kind", "n", "n_of", *statistics, "data", "simulated", "split", "command"]
    lines = []
    for kind, name, row in _lines(ours, published):
        own = kind == "ours"
        line: dict[str, object] = {"table": head.title, "row": name, "kind": "ours" if own else "published"}
        line |= {"n": row.get("n"), "n_of": row.get("of", "cases") if row.get("n") is not None else None}
        for key, *_ in metrics:
            line |= {f"{key}_{what}": value for what, value in _found(row, key).items()}
        if own:
            line |= {"data": head.data, "simulated": head.simulated, "split": head.split, "command": head.command}
        lines.append({key: f"{v:.9g}" if isinstance(v, float) else v for key, v in line.items() if v is not None})
    filled = {key for line in lines for key in line}
    text = io.StringIO()
    table = csv.DictWriter(text, [n for n in names if n in filled], lineterminator="\n", restval="")
    table.writeheader()
    table.writerows(lines)
    return text.getvalue()


def _lines(ours: Sequence[Row], published: Mapping[str, Row]) -> Iterator[tuple[str, str, Row]]:
    """Yield kind, name and row: ours, then its published one; in the end the published ones that none of ours meets."""
    met = set()
    for row in ours:
        yield "ours", str(row["name"]), row
        wanted = row.get("published", row["name"])
        if wanted in published:
            met.add(wanted)
            yield "published", wanted, published[wanted]
        elif row.get("published") is not None:
            raise refused(
                "E-REP-10", where=str(row["name"]), found=f"{wanted!r} among {', '.join(published) or 'no rows'}"
            )
    yield from (("alone", name, row) for name, row in published.items() if name not in met)


def _found(row: Row, key: str) -> dict[str, Any]:
    found = row.get("metrics", {}).get(key, row.get(key))
    if isinstance(found, Mapping):
        return {what: found.get(what) for what in ("mean", "sd", "n", "unit")}
    return {"mean": found, "sd": None, "n": None, "unit": None}


def _cell(row: Row, metric: Metric) -> str:
    key, _, digits, scale = metric
    found = _found(row, key)
    if found["mean"] is None:
        return _NONE
    if isinstance(found["mean"], str):
        return found["mean"]
    text = f"{scale * found['mean']:.{digits}f}"
    if found["sd"] is not None:
        text += f" +- {scale * found['sd']:.{digits}f}"
    small = [f"n {found['n']}"] if found["n"] not in (None, row.get("n")) else []
    small += [found["unit"]] if found["unit"] else []
    return " ".join([text, *(f"({part})" for part in small)])


def _count(row: Row) -> str:
    if row.get("n") is None:
        return _NONE
    return f"{row['n']} {row['of']}" if row.get("of") else str(row["n"])
