"""Group scans into subjects: from a table, or from headers and tissue if there is no table."""

from __future__ import annotations

import csv
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from monai_isles.case import Case
from monai_isles.errors import refused
from monai_isles.io.findings import WARNING, finding, tell
from monai_isles.io.read import read_header, read_image
from monai_isles.progress import progress


def read_subjects(
    path: str | Path, cases: Sequence[tuple[str, str]], *, part: bool = False
) -> dict[tuple[str, str], str]:
    """Return the subject of every (section, case) that a CSV names: columns ``case``, ``subject``, ``section``.

    A table without ``section`` lists the training cases. Training cases without a row are remarked and left out,
    each a subject of its own; rows for cases that are not in the folder are passed over with a remark; where there are
    both, names may be misspelt, and the table is refused. As spreadsheets write it: semicolons or tabs, other
    capitals, empty rows, 1 for 01.

    Args:
        part: the cases are a part of the data set, so that rows for others are nothing to remark.
    """
    path = Path(path)
    exact = {(section, plain_name(name)): (section, name) for section, name in cases}
    times = Counter((section, _loose(name)) for section, name in cases)
    loose = {(part, _loose(name)): (part, name) for part, name in cases if times[part, _loose(name)] == 1}
    table: dict[tuple[str, str], str] = {}
    absent: list[str] = []
    for row in _rows(path):
        section, name = _section(row.get("section", "")), row.get("case", "")
        key = exact.get((section, plain_name(name))) or loose.get((section, _loose(name)))
        if key is None:
            absent.append(f"{section} {name}")
            continue
        if not row.get("subject") or key in table:
            fault = "case is named twice" if key in table else "subject is empty"
            fix = "correct this row: one row a case, columns case,subject,section"
            raise refused("E-LIST-09", where=f"{path}: {section} {name}", found=fault, fix=fix)
        table[key] = row["subject"]
    _judge_rows(path, [name for section, name in cases if section == "training" and (section, name) not in table],
                [] if part else absent, bool(table))  # fmt: skip
    return table


def _judge_rows(path: Path, left_out: Sequence[str], absent: Sequence[str], any_named: bool) -> None:
    """Remark cases without a row, or rows without a case; refuse both at once, and a table that names none."""
    listed = f"{', '.join(left_out[:8])}{f' and {len(left_out) - 8} more' if len(left_out) > 8 else ''}"
    rows = f"{len(absent)} rows: {', '.join(absent[:8])}"
    if left_out and (absent or not any_named):
        more = f"; it names {', '.join(absent[:8])}, which are not in the folder" if absent else ""
        raise refused("E-LIST-09", where=str(path), found=f"no row for {listed}{more}")
    if left_out:
        tell(finding("E-LIST-17", WARNING, where=str(path), found=f"{len(left_out)} cases: {listed}"))
    if absent:
        tell(finding("E-LIST-16", WARNING, where=str(path), found=rows))


def _section(text: str) -> str:
    word = text.lower() or "training"
    return next((section for section in ("training", "testing") if word.startswith(section[:-3])), word)


def _loose(name: str) -> str:
    """Return a name as a spreadsheet may change it: lower case, numbers without leading zeros."""
    text = plain_name(name).casefold()
    return str(int(text)) if text.isdecimal() else text


def plain_name(name: str) -> str:
    """Return a name in the form used for comparison: normalised accents, no surrounding blanks."""
    return unicodedata.normalize("NFC", name).strip()


def _rows(path: Path) -> list[dict[str, str]]:
    """Return the non-empty rows, headings in lower case; separated by commas, semicolons or tabs."""
    try:
        raw = path.read_bytes()
        text = _decode(raw)
    except (OSError, UnicodeDecodeError) as error:
        fault, fix = "subject table cannot be read", "give a CSV file in UTF-8"
        raise refused("E-LIST-09", where=str(path), found=str(error), fault=fault, fix=fix) from error
    lines = [line for line in text.splitlines() if line.strip(" ,;\t")]
    lines = lines[1:] if lines and lines[0].lower().startswith("sep=") else lines
    heading = lines[0] if lines else ""
    separator = max(",;\t|", key=heading.count)
    columns, *rows = list(csv.reader(lines, delimiter=separator)) or [[]]
    columns = [column.strip().lower() for column in columns]
    if not {"case", "subject"} <= set(columns):
        result, fix = f"columns {', '.join(columns) or 'none'}", "name the columns case,subject,section"
        raise refused("E-LIST-09", where=str(path), found=result, fix=fix)
    return [dict(zip(columns, (field.strip() for field in row), strict=False)) for row in rows]


def _decode(raw: bytes) -> str:
    """Return the text of a table: UTF-8 or UTF-16, else the Windows code page that spreadsheets save CSV in."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252")


MAX_GAP_MM = 40.0
LEAST_TISSUE = 0.90
LIKELY, CERTAIN = 0.65, 0.90
_SIDE = 64


@dataclass(frozen=True)
class Facts:
    """Hold the compared features: in-plane size and spacing, slab, frames, tissue histogram, small end slices."""

    name: str
    plane: tuple[float, ...]
    slab_mm: tuple[float, float]
    frames: int | None
    histogram: np.ndarray
    ends: np.ndarray


def gather(case: Case) -> Facts:
    """Read the non-contrast CT and the series' header of a case."""
    image = read_image(case.images["ct"], kind="ct", where=case.name)
    frames = read_header(case.images["ctp"], kind="ctp", where=case.name).frames if "ctp" in case.images else None
    height, width, depth = image.data.shape
    bottom = float(image.affine[2, 3])
    tissue = image.data[(image.data > 0) & (image.data < 100)]
    counts, _ = np.histogram(tissue, bins=50, range=(0, 100))
    ends = np.stack([_small(image.data[..., 0]), _small(image.data[..., -1])])
    plane = (height, width, *(round(mm, 3) for mm in image.spacing_mm))
    slab_mm = (bottom, bottom + image.spacing_mm[2] * (depth - 1))
    return Facts(case.name, plane, slab_mm, frames, counts / max(1, counts.sum()), ends)


def likeness(a: Facts, b: Facts) -> dict[str, float] | None:
    """Return the evidence that two scans show one head, None if headers or tissue contradict it.

    Units: ``gap_mm`` between the slabs, 0 when they touch or overlap; correlations from -1 to 1.
    """
    gap = max(0.0, max(a.slab_mm[0], b.slab_mm[0]) - min(a.slab_mm[1], b.slab_mm[1]))
    if a.plane != b.plane or a.frames != b.frames or gap > MAX_GAP_MM:
        return None
    tissue = _correlation(a.histogram, b.histogram)
    if tissue < LEAST_TISSUE:
        return None
    outline = max(_correlation(x, y) for x in a.ends for y in b.ends)
    return {"gap_mm": round(gap, 2), "tissue": round(tissue, 4), "outline": round(outline, 4)}


def group_by_evidence(cases: Sequence[Case]) -> tuple[dict[str, str], list[dict[str, object]]]:
    """Return the subject of every case, and the pairs that were joined with the reasons."""
    # Two scans with equal headers are joined if each is the other's best match of head outline above ``LIKELY``, or if
    # they pass ``CERTAIN``. 60 phantom scans gave 0.68 or more for slabs of one head, 0.83 at most for two heads.
    # Joining two people costs a little balance; separating one person would leak data. The list is marked provisional.
    facts = [gather(case) for case in progress(cases, "looking for slabs of one head")]
    scored = [(why["outline"], a.name, b.name, why) for a, b in combinations(facts, 2) if (why := likeness(a, b))]
    best: dict[str, tuple[float, str]] = {}
    for score, a, b, _ in scored:
        best[a], best[b] = max(best.get(a, (-2.0, "")), (score, b)), max(best.get(b, (-2.0, "")), (score, a))
    pairs = [
        (a, b, why)
        for score, a, b, why in scored
        if score >= CERTAIN or (score >= LIKELY and best[a][1] == b and best[b][1] == a)
    ]
    leader = {case.name: case.name for case in cases}
    for a, b, _ in pairs:
        keep, drop = leader[a], leader[b]
        leader = {name: keep if head == drop else head for name, head in leader.items()}
    return leader, [{"cases": [a, b], "why": why} for a, b, why in pairs]


def _small(plane: np.ndarray) -> np.ndarray:
    rows, columns = (np.linspace(0, n - 1, min(n, _SIDE)).round().astype(int) for n in plane.shape)
    return np.clip(plane[np.ix_(rows, columns)], -100, 400)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.ravel() - a.mean(), b.ravel() - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else 0.0
