"""Read the tables printed in papers from ``paper.json`` of the bundles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai_isles.bundle.bundle import Bundle, known_bundles
from monai_isles.errors import refused

Rows = dict[str, dict[str, Any]]
PLAIN = ("n", "threshold", "min_size_vox", "parameters_m")


def papers() -> dict[str, Path]:
    """Return the folders of the bundles that reproduce a paper, by name."""
    return {name: folder for name, folder in known_bundles().items() if "published" in Bundle(folder).paper}


def published_tables(paper: str | Path) -> dict[str, Rows]:
    """Return every table of one paper, ``{"table1": {row: {"n", "metrics": {key: {"mean", "sd", "n"}}}}}``.

    Units: overlaps 0 to 1, distances mm or voxels as the key says, PSNR dB, sizes in voxels, parameters in millions;
    ``unit`` beside a number says where it is in another. A number that is not printed is None.
    """
    folder = paper if isinstance(paper, Path) else _require_known(paper, papers())
    return {name: printed_rows(table) for name, table in Bundle(folder).paper["published"].items()}


def published_rows(name: str) -> Rows:
    """Return the rows of a paper to print with a cohort; ``name`` is a key of ``beside`` in some ``paper.json``."""
    beside = {
        key: (folder, item) for folder in papers().values() for key, item in Bundle(folder).paper["beside"].items()
    }
    folder, item = _require_known(name, beside)
    rows = published_tables(folder)[item["table"]]
    shown = item.get("rows") or {row: row for row in rows}
    return {f"{item['data']}: {title}": rows[row] for row, title in shown.items()}


def printed_rows(table: Mapping[str, Any]) -> Rows:
    """Return the rows of a printed table by name, ``{"n", "metrics": {key: {"mean", "sd", "n"}}, ...}``.

    Args:
        table: ``rows`` as the paper prints them, ``name | mean ± sd | ...``, an empty cell for what it does not give;
            ``columns``, the keys of the cells (those of ``PLAIN`` become entries of the row itself, ``r2`` goes to its
            ``volumes``); ``n`` and ``of``, what the means are over; ``percent`` where overlaps are printed in percent;
            ``units``, text beside a number; ``more``, further entries by row.
    """
    result, units = {}, table.get("units", {})
    in_percent = ("dsc", "ppv", "sensitivity") if table.get("percent") else ()
    for line in table["rows"]:
        name, *cells = (cell.strip() for cell in line.split("|"))
        row: dict[str, Any] = {"n": table.get("n"), **{key: table[key] for key in ("of",) if key in table}}
        printed = dict(zip(table["columns"], cells, strict=True))
        row |= {key: float(cell) if "." in cell else int(cell) for key, cell in printed.items() if key in PLAIN}
        row |= table.get("more", {}).get(name, {})
        row["volumes"] = {"r2": float(printed["r2"]) if printed.get("r2") else None}
        row["metrics"] = {
            key: _statistics(cell, row["n"], 100 if key in in_percent else 1, units.get(key))
            for key, cell in printed.items()
            if key not in (*PLAIN, "r2")
        }
        result[name] = row
    return result


def _statistics(cell: str, n: int | None, divisor: int, unit: str | None) -> dict[str, Any] | str:
    """Return a cell as a statistic; a rank such as ``6th/38`` stays text."""
    if "/" in cell:
        return cell
    if not cell:
        return {"n": None, "mean": None, "sd": None}
    mean, _, sd = cell.partition("±")
    result = {"n": n, "mean": float(mean) / divisor, "sd": float(sd) / divisor if sd else None}
    return result | ({"unit": unit} if unit else {})


def _require_known(name: str, known: Mapping[str, Any]) -> Any:
    if name not in known:
        raise refused("E-REP-09", where=name, found=f"rows of {', '.join(known)}")
    return known[name]
