"""Read rows as a paper prints them, ``name | mean ± sd | ...``, into the form of a summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

PLAIN = ("threshold", "min_size_vox", "parameters_m")
OVERLAP = ("dsc", "ppv", "sensitivity")


def printed_rows(
    text: str,
    columns: Sequence[str],
    *,
    n: int | None,
    percent: bool = False,
    units: Mapping[str, str] | None = None,
    **more: object,
) -> dict[str, dict[str, Any]]:
    """Return the rows by name, ``{"n", "metrics": {key: {"mean", "sd", "n"}}, ...}``.

    Units: fractions for Dice, PPV and sensitivity whatever the paper prints; the others as printed.
    Args:
        text: one line a row; an empty cell is a number that the paper does not give.
        columns: keys of the cells after the name; those of ``PLAIN`` become entries of the row itself.
        n: how many the paper's mean is over, None where it does not say.
        percent: Dice, PPV and sensitivity are printed in percent.
        units: what to say beside a number, by key.
        more: further entries of every row.
    """
    found = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        name, *cells = (cell.strip() for cell in line.split("|"))
        row: dict[str, Any] = {"n": n, **more, "metrics": {}}
        for key, cell in zip(columns, cells, strict=True):
            if key in PLAIN:
                row[key] = int(cell) if cell.isdigit() else float(cell)
                continue
            unit = (units or {}).get(key)
            row["metrics"][key] = _statistics(cell, n, 100 if percent and key in OVERLAP else 1, unit)
        found[name] = row
    return found


def _statistics(cell: str, n: int | None, divisor: int, unit: str | None) -> dict[str, Any]:
    if not cell:
        return {"n": None, "mean": None, "sd": None}
    mean, _, sd = cell.partition("±")
    found = {"n": n, "mean": float(mean) / divisor, "sd": float(sd) / divisor if sd else None}
    return found | ({"unit": unit} if unit else {})
