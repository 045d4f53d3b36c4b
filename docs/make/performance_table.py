"""Write the tables of ``docs/performance.md`` from the records in ``benchmarks/results``.

``python docs/make/performance_table.py`` after ``make bench`` puts three tables between the page's markers: what was
measured against a reference, what was measured alone, and how each cost grows. All numbers of the page come from here.
"""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_isles.io.publish import publish_text

ROOT = Path(__file__).parents[2]
RESULTS, PAGE = ROOT / "benchmarks" / "results", ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"
Record = Mapping[str, Any]


def main(words: Sequence[str] | None = None) -> int:
    """Rewrite the part of the page between the markers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the records")
    parser.add_argument("--page", type=Path, default=PAGE, help="page that holds the markers")
    args = parser.parse_args(words)
    text = args.page.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise SystemExit(f"{args.page}: one line {BEGIN} and below it one {END} wanted")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    tables = page(records(args.results))
    publish_text(args.page, f"{before}{BEGIN}\n{tables}\n{END}{after}")
    return 0


def records(folder: Path) -> list[Record]:
    """Return every record of the folder, subjects in the order of their files."""
    return [
        json.loads(line)
        for path in sorted(folder.glob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]


def page(found: Sequence[Record]) -> str:
    """Return the tables as Markdown."""
    against = [one for one in found if "ratio" in one]
    alone = [one for one in found if "said" in one]
    grown = [one for one in found if "growth" in one]
    parts = [_machines(found), _against(against), _alone(alone), _grown(grown)]
    return "\n\n".join(part for part in parts if part)


def _machines(found: Sequence[Record]) -> str:
    machines = sorted({one["machine"] for one in found if "machine" in one})
    return "Measured on: " + "; ".join(machines) + "." if machines else ""


def _against(found: Sequence[Record]) -> str:
    head = "| subject | reference, s | ours, s | ratio |"
    rows = [
        f"| {one['row']}{_threads(one)} | {_seconds(one, 'reference')} | {_seconds(one, 'ours')} | {one['ratio']:.3g} |"
        for one in found
    ]
    more = [
        _item(
            f"{one['row']}: against {one['reference']}; {_ratio(one)}; {_rate(one)}{_floor(one)}"
            f"difference {one['difference']}, tolerance {one['tolerance']:g}"
        )
        for one in found
    ]
    between = "(e): extrapolated. For each row: reference, range of the ratio, target, speed, lower bound, difference:"
    return "\n\n".join([_table("## Against a reference", head, rows), between, "\n".join(more)]) if rows else ""


def _alone(found: Sequence[Record]) -> str:
    rows = [_item(f"{one['subject']}: {one['row']}: {one['said']}{_threads(one)}") for one in found]
    return "\n".join(["## Measured alone", *rows]) if rows else ""


def _grown(found: Sequence[Record]) -> str:
    rows = [
        _item(
            f"{one['subject']} with {one['growth']}: exponent {one['exponent']:.2f} "
            f"({', '.join(f'{a:g}: {s:.3g} s' for a, s in one['points'])})"
        )
        for one in found
    ]
    return "\n".join(["## How each cost grows", *rows]) if rows else ""


def _item(text: str) -> str:
    return textwrap.fill(text, 118, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False)


def _table(title: str, head: str, rows: Sequence[str]) -> str:
    line = "|" + "---|" * (head.count("|") - 1)
    return "\n".join([title, head, line, *rows]) if rows else ""


def _threads(one: Record) -> str:
    return "" if one.get("threads", 1) == 1 else f", {one['threads']} threads"


def _seconds(one: Record, who: str) -> str:
    extrapolated = one[who] in one.get("shares", {})
    return f"{one[f'{who}_s']:.3g}{' (e)' if extrapolated else ''}"


def _ratio(one: Record) -> str:
    return f"ratio {one['ratio_least']:.3g} to {one['ratio_most']:.3g}{_wanted(one)}"


def _wanted(one: Record) -> str:
    return f" (target {one['wanted']:g})" if one.get("wanted") else ""


def _rate(one: Record) -> str:
    return f"{one['gflops']:.3g} GFLOP/s ({one['peak_share']:.0%} of the peak); " if "gflops" in one else ""


def _floor(one: Record) -> str:
    return f"lower bound {one['floor_s']:.2g} s ({one['floor']}); " if "floor_s" in one else ""


if __name__ == "__main__":
    raise SystemExit(main())
