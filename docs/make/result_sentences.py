"""Write the sentences below the committed tables of docs/ from their numbers: ``python docs/make/result_sentences.py``.

A page holds ``<!-- sentences: TABLE -->`` and ``<!-- end -->``; what stands between is made from
``docs/tables/TABLE_tests.csv``, the table's own CSV and the paper's rows.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import pandas as pd

from monai_isles.io.publish import publish_text
from monai_isles.papers.published import published_tables
from monai_isles.papers.tables import sentences

DOCS = Path(__file__).parents[1]
TABLES = {
    "clerigues_table1_phantom": ("clerigues", "table1"),
    "clerigues_mri_siss_phantom": ("clerigues_mri", "table1_siss"),
    "clerigues_mri_spes_phantom": ("clerigues_mri", "table1_spes"),
    "wang_table5_phantom": ("wang", "table5"),
}


def read_tests(path: Path) -> list[dict[str, Any]]:
    """Return the tests that ``tests_csv`` wrote, in the form that ``sentences`` takes."""
    results = []
    for line in pd.read_csv(path, dtype={"row": str, "against": str}).astype(object).to_dict("records"):
        known = {str(key): None if value != value else value for key, value in line.items()}
        item: dict[str, Any] = {key: known[key] for key in ("row", "against", "metric", "spread") if key in known}
        item["ci95"] = None if known.get("ci_low") is None else [known["ci_low"], known["ci_high"]]
        for unit in ("cases", "subjects"):
            item[unit] = {key.removeprefix(f"{unit}_"): value for key, value in known.items() if key.startswith(unit)}
        results.append(item)
    return results


def made(name: str) -> list[str]:
    """Return the sentences of one committed table, one a tested pair."""
    paper, table = TABLES[name]
    rows = pd.read_csv(DOCS / "tables" / f"{name}.csv")
    ours = rows[(rows["kind"] != "published") & (rows["protocol"] == "paper" if "protocol" in rows else True)]
    r2 = dict(zip(ours["row"], ours["r2"], strict=True)) if "r2" in ours else {}
    return sentences(read_tests(DOCS / "tables" / f"{name}_tests.csv"), published_tables(paper)[table], r2)


def filled(text: str) -> str:
    """Return a page with the sentences made anew."""
    mark = r"(<!-- sentences: (\w+) -->\n).*?(<!-- end -->)"
    return re.sub(mark, lambda m: m[1] + "".join(map(_item, made(m[2]))) + m[3], text, flags=re.DOTALL)


def _item(line: str) -> str:
    return textwrap.fill(line, 118, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False) + "\n"


if __name__ == "__main__":
    for path in sorted(DOCS.glob("*.md")):
        before = path.read_text(encoding="utf-8")
        if filled(before) != before:
            publish_text(path, filled(before))
