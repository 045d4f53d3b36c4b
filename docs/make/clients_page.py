"""Write the table of ``docs/clients.md`` from ``docs/tables/clients.jsonl``, which ``tests/clients`` appends to.

``python docs/make/clients_page.py`` after ``CLIENT_RECORDS=docs/tables/clients.jsonl python -m pytest tests/clients``:
of several lines about one program and one act the last counts.
"""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Sequence
from pathlib import Path

from monai_isles.io.publish import publish_text

ROOT = Path(__file__).parents[2]
RECORDS, PAGE = ROOT / "docs" / "tables" / "clients.jsonl", ROOT / "docs" / "clients.md"
BEGIN, END = "<!-- clients: begin -->", "<!-- clients: end -->"


def main(words: Sequence[str] | None = None) -> int:
    """Rewrite the part of the page between the markers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=Path, default=RECORDS, help="lines that the tests wrote")
    parser.add_argument("--page", type=Path, default=PAGE, help="page that holds the markers")
    args = parser.parse_args(words)
    text = args.page.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise SystemExit(f"{args.page}: one line {BEGIN} and below it one {END} wanted")
    made = table(args.records.read_text(encoding="utf-8").splitlines())
    publish_text(args.page, f"{text.split(BEGIN)[0]}{BEGIN}\n{made}\n{END}{text.split(END)[1]}")
    return 0


def table(lines: Sequence[str]) -> str:
    """Return the rows as a Markdown list, programs by name, the acts of one in the order of their first line."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for line in lines:
        one = json.loads(line)
        rows[one["program"], one["what"]] = one
    ordered = sorted(rows.values(), key=lambda row: row["program"].lower())
    texts = ["{program} {version}: {what}: {result}".format(**row) for row in ordered]
    return "\n".join(
        textwrap.fill(text, 118, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False) for text in texts
    )


if __name__ == "__main__":
    raise SystemExit(main())
