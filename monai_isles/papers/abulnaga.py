"""Networks compared over the same folds, without a search: cross-validated, cut at one half, scored fold by fold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from monai_isles.case import Case
from monai_isles.crossval.out_of_fold import OutOfFold, find_out_of_fold
from monai_isles.crossval.plan import make_plan
from monai_isles.crossval.run import cross_validate
from monai_isles.evaluation.score import score_case
from monai_isles.io.read import Image
from monai_isles.papers.ablation import Study, require_whole
from monai_isles.postprocessing.components import binarise
from monai_isles.progress import progress

THRESHOLD, MIN_SIZE_VOX = 0.5, 0
CaseMap = Callable[[Case], tuple[np.ndarray, Image]]
Row = dict[str, object]


@dataclass(frozen=True)
class NetworkRow:
    """Name one network and the loss it is trained with.

    Args:
        key: folder of its cross-validation.
        architecture, loss: as tables and figures print them.
        overlays: config files of the bundle that make it; those of the study lie above them.
        settings: value by id, above the study's.
    """

    key: str
    architecture: str
    loss: str
    overlays: tuple[str, ...]
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class NetworkResult:
    """Hold a cross-validated row: its out-of-fold maps, and one line a case with ``fold`` and every metric."""

    row: NetworkRow
    found: OutOfFold
    cases: list[Row]


def run_network_row(study: Study, row: NetworkRow, out: Path) -> NetworkResult:
    """Cross-validate one row in ``out/<key>`` and score every scan by the network that was not trained on it.

    The scored scans choose the epoch whose weights are kept, as in the paper. What is done is not done again.

    Raises:
        IslesError: ``E-REPR-02`` a fold or case failed, and those of ``make_plan`` and ``cross_validate``.
    Source: Abulnaga & Rubin 2018 (doi:10.1007/978-3-030-11723-8_36), section 5.1;
        ``tests/papers/test_abulnaga.py``.
    """
    plan, content = make_plan(
        study.bundle,
        data_list=study.data_list,
        dataset_dir=study.dataset_dir,
        overlays=(*row.overlays, *study.overlays),
        settings={**study.settings, **row.settings},
    )
    folder = out / row.key
    require_whole(cross_validate(plan, content, folder), f"{row.architecture}, {row.loss}: {folder}")
    found = find_out_of_fold(folder)
    return NetworkResult(row, found, score_maps(found.cases, found.read, row.key))


def score_maps(cases: Sequence[Case], read: CaseMap, title: str) -> list[Row]:
    """Return one line a case: its scores at a threshold of one half, no component removed (the larger of two classes).

    Args:
        read: gives the probability map of a case and its reference, on one grid.
        title: of the progress bar.
    """
    lines = []
    for case in progress(cases, f"scoring {title}", total=len(cases)):
        probability, reference = read(case)
        mask = binarise(probability, THRESHOLD, MIN_SIZE_VOX)
        scores = score_case(mask, reference.data > 0, reference.spacing_mm)
        lines.append({"case": case.name, "subject": case.subject, "fold": case.fold, **scores, "missing": 0})
    return lines


def dice_by_fold(cases: Sequence[Mapping[str, object]]) -> dict[int, float]:
    """Return the mean Dice of the scored scans of each fold."""
    folds = sorted({int(line["fold"]) for line in cases})
    return {fold: float(np.mean([line["dsc"] for line in cases if line["fold"] == fold])) for fold in folds}


def over_folds(cases: Sequence[Mapping[str, object]]) -> dict[str, float | int | None]:
    """Return mean, sd (n - 1) and n of the folds' mean Dice: the totals of the paper's Table 1 and bars of Figure 3.

    Source: Abulnaga & Rubin 2018, Table 1, whose totals are these statistics of its five folds;
        ``tests/papers/test_abulnaga.py``.
    """
    means = np.array(list(dice_by_fold(cases).values()))
    spread = float(means.std(ddof=1)) if len(means) > 1 else None
    return {"mean": float(means.mean()), "sd": spread, "n": len(means)}
