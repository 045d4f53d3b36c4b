"""The table that says which cases belong to one person."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from monai_isles.errors import IslesError


def read_subjects(path: str | Path, cases: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return the subject of every (section, case) from a CSV with the columns ``case``, ``subject``, ``section``.

    A table without ``section`` speaks of the training cases. Test cases may be left out.

    Raises:
        IslesError: ``E-LIST-09`` for missing columns, unknown cases, cases named twice, training cases not named.
    """
    path = Path(path)
    rows = _rows(path)
    table: dict[tuple[str, str], str] = {}
    for row in rows:
        key = ((row.get("section") or "training").strip().lower(), (row["case"] or "").strip())
        subject = (row["subject"] or "").strip()
        if key not in cases or not subject or key in table:
            fault = (
                "case is not in the folder"
                if key not in cases
                else "case is named twice"
                if key in table
                else "subject is empty"
            )
            raise IslesError(
                "E-LIST-09",
                "subject table does not fit",
                where=f"{path}: {key[0]} {key[1]}",
                found=fault,
                fix="correct this row: one row a case, columns case,subject,section",
            )
        table[key] = subject
    left_out = [name for section, name in cases if section == "training" and (section, name) not in table]
    if left_out:
        raise IslesError(
            "E-LIST-09",
            "subject table does not fit",
            where=str(path),
            found=f"no row for {', '.join(left_out)}",
            fix="add one row for each of these cases",
        )
    return table


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows, columns = list(reader), reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise IslesError(
            "E-LIST-09", "subject table cannot be read", where=str(path), found=str(error), fix="give a CSV file"
        ) from error
    if not {"case", "subject"} <= set(columns):
        raise IslesError(
            "E-LIST-09",
            "subject table does not fit",
            where=str(path),
            found=f"columns {', '.join(columns) or 'none'}",
            fix="name the columns case,subject,section",
        )
    return rows
