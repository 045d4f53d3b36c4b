"""Read what ``monai-isles evaluate`` wrote, and lay several runs over the same cases side by side."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monai_isles.errors import refused

NETWORK = "network"
_FILES = {NETWORK: "per_case.csv", "rcbf30": "baseline_per_case.csv"}
_LABELS = {"rcbf30": "rCBF < 30 %", "single_threshold": "best single threshold"}
_NEEDED = ("case", "subject", "dsc", "lesion_ml_ref", "lesion_ml_pred")
_FIX = "give the output folder of monai-isles evaluate, as it wrote it"


@dataclass(frozen=True)
class Scores:
    """One or several folders of scores: ``summaries`` and ``per_case`` by method, the first network's method first."""

    data: str
    split: str
    simulated: bool
    summaries: dict[str, dict[str, Any]]
    per_case: dict[str, list[dict[str, str]]]
    said: dict[str, str] = field(default_factory=dict)

    @property
    def cases(self) -> list[str]:
        """Return the names of the scored cases, in the order of the first table."""
        return [row["case"] for row in next(iter(self.per_case.values()))]


def read_scores(folder: str | Path) -> Scores:
    """Read one folder of scores.

    Raises:
        IslesError: ``E-REP-01`` a file is missing, ``E-REP-02`` one cannot be read or lacks what it must hold.
    """
    folder = Path(folder)
    summary = _summary(folder / "summary.json")
    methods = summary["methods"]
    rows = {name: _rows(folder / _FILES.get(name, f"{name}_per_case.csv")) for name in methods}
    return Scores(
        str(summary.get("data", folder.name)),
        _split(summary),
        bool(summary.get("simulated")),
        dict(methods),
        rows,
        dict(summary.get("baselines") or {}),
    )


def side_by_side(folders: Sequence[str | Path], names: Sequence[str] | None = None) -> Scores:
    """Read several folders over the same cases: one network each under its name, the threshold rules once.

    Args:
        folders: outputs of ``monai-isles evaluate``.
        names: one a folder; the folders' own names when None.
    Raises:
        IslesError: ``E-REP-03`` names do not fit, ``E-REP-04`` other cases, and those of ``read_scores``.
    """
    labels = list(names) if names is not None else [Path(f).resolve().name for f in folders]
    if len(labels) != len(folders) or len(set(labels)) != len(labels) or set(labels) & set(_LABELS.values()):
        raise refused(
            "E-REP-03", where="--names against --scores", found=f"names {', '.join(labels)} for {len(folders)} folders"
        )
    read = [read_scores(folder) for folder in folders]
    for folder, scores in zip(folders[1:], read[1:], strict=True):
        _require_same_cases(read[0], scores, str(folder))
    summaries, per_case = {}, {}
    said: dict[str, str] = {}
    for label, scores in zip(labels, read, strict=True):
        summaries[label], per_case[label] = scores.summaries[NETWORK], scores.per_case[NETWORK]
    for scores in read:
        for method in (name for name in scores.summaries if name != NETWORK):
            label = _LABELS.get(method, method)
            summaries.setdefault(label, scores.summaries[method])
            per_case.setdefault(label, scores.per_case[method])
            said.setdefault(label, scores.said.get(method, ""))
    return Scores(
        read[0].data,
        read[0].split,
        any(s.simulated for s in read),
        summaries,
        per_case,
        {k: v for k, v in said.items() if v},
    )


def _summary(path: Path) -> dict[str, Any]:
    _require_file(path)
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise refused("E-REP-02", where=str(path), found=str(error), fix=_FIX) from error
    methods = summary.get("methods") if isinstance(summary, dict) else None
    if (
        not isinstance(methods, dict)
        or NETWORK not in methods
        or not all(isinstance(m, dict) and "metrics" in m for m in methods.values())
    ):
        raise refused("E-REP-02", where=str(path), found=f"no methods with metrics, {NETWORK} among them", fix=_FIX)
    return summary


def _rows(path: Path) -> list[dict[str, str]]:
    _require_file(path)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (ValueError, csv.Error) as error:
        raise refused("E-REP-02", where=str(path), found=str(error), fix=_FIX) from error
    missing = [name for name in _NEEDED if not rows or rows[0].get(name) is None]
    if missing:
        raise refused(
            "E-REP-02", where=str(path), found=f"{len(rows)} rows, without column {', '.join(missing)}", fix=_FIX
        )
    return rows


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise refused("E-REP-01", where=str(path), found="no such file", fault="file of scores is missing", fix=_FIX)


def _require_same_cases(first: Scores, other: Scores, where: str) -> None:
    apart = sorted(set(first.cases) ^ set(other.cases))
    if apart:
        raise refused(
            "E-REP-04",
            where=where,
            found=f"{len(apart)} cases in one table only: {', '.join(apart[:8])}",
            fault="scores are of other cases",
            fix="score every method on the same cases, then report them together",
        )


def _split(summary: dict[str, Any]) -> str:
    folds = summary.get("folds")
    section = f"section {summary['section']}" if summary.get("section") else ""
    return ", ".join(filter(None, [section, f"fold {', '.join(map(str, folds))}" if folds else ""]))
