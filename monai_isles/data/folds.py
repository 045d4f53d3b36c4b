"""Folds that never split a subject, the same on every machine."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from itertools import groupby

from monai_isles.errors import IslesError


def group_folds(
    subjects: Sequence[str], folds: int, seed: int = 0, *, volumes_ml: Sequence[float] | None = None
) -> list[int]:
    """Return the fold of every case; the largest subjects first, each to the fold with the fewest cases.

    Subjects of one size go by lesion volume in strata of ``folds``, within a stratum by a hash of seed and name, so the
    order of the cases and the place of the files do not matter. Ties go to the fold with the smaller volume so far.

    Args:
        subjects: the subject of every case.
        folds: number of folds, at least 2.
        volumes_ml: lesion volume of every case, to balance; none unless told.
    Raises:
        IslesError: ``E-LIST-12`` with fewer than two folds or fewer subjects than folds.
    Source: ours; ``tests/data/test_folds.py``.
    """
    cases: dict[str, list[int]] = {}
    for index, subject in enumerate(subjects):
        cases.setdefault(subject, []).append(index)
    if folds < 2 or len(cases) < folds:
        raise IslesError(
            "E-LIST-12",
            "folds cannot be made",
            where=f"folds {folds}",
            found=f"{len(cases)} subjects in {len(subjects)} cases",
            fix="ask for at least 2 folds and at most one a subject",
        )
    volume = list(volumes_ml) if volumes_ml is not None else [0.0] * len(subjects)
    total = {subject: math.fsum(volume[i] for i in mine) for subject, mine in cases.items()}
    counts, loads, chosen = [0] * folds, [0.0] * folds, [0] * len(subjects)
    for subject in _order(cases, total, folds, seed):
        fold = min(range(folds), key=lambda k: (counts[k], loads[k], k))
        counts[fold] += len(cases[subject])
        loads[fold] += total[subject]
        for index in cases[subject]:
            chosen[index] = fold
    return chosen


def _order(cases: dict[str, list[int]], total: dict[str, float], folds: int, seed: int) -> list[str]:
    """Return the subjects by size, then stratum of volume, then hash."""
    ranked = sorted(cases, key=lambda name: (-len(cases[name]), -total[name], _hash(seed, name)))
    order = []
    for _, same in groupby(ranked, key=lambda name: len(cases[name])):
        rank = list(same)
        for start in range(0, len(rank), folds):
            order += sorted(rank[start : start + folds], key=lambda name: _hash(seed, name))
    return order


def _hash(seed: int, name: str) -> str:
    return hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()
