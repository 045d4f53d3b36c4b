"""Score one case, or every case of a method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import numpy as np

from monai_isles.case import Case
from monai_isles.cohort.engine import run_cases
from monai_isles.cohort.task import HERE, Place, Record, Task
from monai_isles.errors import IslesError, refused
from monai_isles.evaluation.maps import map_scores
from monai_isles.evaluation.pairs import on_reference_grid
from monai_isles.io.read import Image, read_image
from monai_isles.metrics import overlap
from monai_isles.metrics.surface import hd_vox, surface_distances
from monai_isles.metrics.volume import avd_ml, rve, size_stratum, volume_ml
from monai_isles.modalities import LABEL

Masks = Callable[[Case], Callable[[Case, Image], tuple[np.ndarray, dict[str, object]]]]
NETWORK = "network"
FILES = {NETWORK: "per_case.csv", "rcbf30": "baseline_per_case.csv"}
COLUMNS = (
    "case", "subject", "dsc", "ppv", "sensitivity", "hd_mm", "hd95_mm", "assd_mm", "hd_vox", "avd_ml", "rve",
    "lesion_ml_ref", "lesion_ml_pred", "assd_half_sum_mm", "lesion_f1", "lesions_ref", "lesions_pred", "empty",
    "diagonal_mm", "diagonal_vox", "missing", "midline", "method", "lesion_f1_iou25", "stratum", "lesion_pq",
)  # fmt: skip


def score_case(
    pred: np.ndarray, ref: np.ndarray, spacing_mm: Sequence[float], *, connectivity: int = 6
) -> dict[str, float | int | str]:
    """Return every metric of one case, and which side is empty (``none``, ``prediction``, ``reference``, ``both``).

    Shapes: two binary masks ``(H, W, D)``. Units: in the names; spacing in mm.
    Raises: ``E-MET-01`` shapes, ``E-MET-02`` values, ``E-MET-03`` spacing, and others.
    Source: each metric's own; ``docs/evaluation.md``.

    >>> score_case(np.ones((2, 2, 1)), np.ones((2, 2, 1)), (1.0, 1.0, 5.0))["dsc"]
    1.0
    """
    pred, ref = overlap.paired_masks(pred, ref)
    surfaces = surface_distances(pred, ref, spacing_mm)
    return {
        "dsc": overlap.dsc(pred, ref),
        "ppv": overlap.ppv(pred, ref),
        "sensitivity": overlap.sensitivity(pred, ref),
        "hd_mm": surfaces.hd,
        "hd95_mm": surfaces.hd95,
        "assd_mm": surfaces.assd,
        "hd_vox": hd_vox(pred, ref),
        "avd_ml": avd_ml(pred, ref, spacing_mm),
        "rve": rve(pred, ref),
        "lesion_ml_ref": volume_ml(ref, spacing_mm),
        "lesion_ml_pred": volume_ml(pred, spacing_mm),
        "assd_half_sum_mm": surfaces.assd_half_sum,
        "lesion_f1": overlap.lesion_f1(pred, ref, connectivity),
        "lesions_ref": overlap.count_lesions(ref, connectivity),
        "lesions_pred": overlap.count_lesions(pred, connectivity),
        "empty": overlap.emptiness(pred, ref),
        "diagonal_mm": overlap.diagonal(ref.shape, spacing_mm),
        "diagonal_vox": overlap.diagonal(ref.shape, (1.0,) * ref.ndim),
        "lesion_f1_iou25": overlap.matched_lesion_f1(pred, ref, connectivity=connectivity),
        "stratum": size_stratum(volume_ml(ref, spacing_mm)),
        "lesion_pq": overlap.panoptic_quality(pred, ref, connectivity),
    }


def score_cases(
    cases: Sequence[Case],
    mask_of: Masks,
    method: str = NETWORK,
    *,
    place: Place = HERE,
    left_out: dict[str, IslesError] | None = None,
    connectivity: int = 6,
) -> list[dict[str, object]]:
    """Return one row per case, in the order of ``cases``.

    Args:
        mask_of: returns the reader of a case's mask on its reference's grid, and of further entries of its row.
        left_out: receives the fault of every case that cannot be scored, as long as another one can.
    """
    tasks = [Task(case.name, (case, mask_of(case), method, connectivity)) for case in cases]
    records = run_cases(_score, tasks, **place, title=f"scoring {method}")
    faults = []
    for name, item in ((name, item) for name, item in records.items() if "row" not in item):
        text = " ".join(str(item.get("error")).split())
        faults.append((name, item.get("fault") or refused("E-EVAL-50", where=name, found=text)))
    if left_out is not None and len(faults) < len(cases):
        left_out |= dict(faults)
    elif len(faults) == 1:
        raise faults[0][1]
    elif faults:
        listed = "; ".join(f"{name}: {error.code} {error.fault} ({error.found})" for name, error in faults)
        raise refused("E-EVAL-08", where=method, found=f"{len(faults)} of {len(cases)} cases: {listed}")
    return [record["row"] for record in records.values() if "row" in record]


def _score(task: Task) -> Record:
    case, read, method, connectivity = task.about
    try:
        ref = read_image(cast(Path, case.label), kind="label", where=case.name, label_values=case.label_values)
        mask, facts = read(case, ref)
        scores = score_case(mask, ref.data > 0, ref.spacing_mm, connectivity=connectivity)
    except IslesError as error:
        return {"outcome": "failed", "fault": error}
    row = {"case": case.name, "subject": case.subject, **scores, "missing": 0, "midline": "", "method": method}
    return {"outcome": "ok", "row": row | facts}


def read_prediction(path: Path | None, case: Case, ref: Image) -> tuple[np.ndarray, dict[str, object]]:
    """Return the mask of a file and the scores of the maps beside it; an empty mask without a file."""
    if path is None:
        return np.zeros(ref.data.shape, bool), {"missing": 1}
    try:
        pred = read_image(path, kind="label", where=case.name)
    except IslesError as error:
        fix = "save the prediction with 1 where it is lesion and 0 elsewhere" if error.code == "E-LBL-01" else error.fix
        raise IslesError(error.code, error.fault, where=error.where, found=error.found, fix=fix) from error
    mask = on_reference_grid(pred, ref, case, kind=LABEL).data > 0
    return mask, map_scores(path, mask, ref, case=case)
