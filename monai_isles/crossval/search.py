"""Search threshold and smallest lesion of a cross-validation, and calibrate on cases not trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np
from scipy.special import expit

from monai_isles.case import Case
from monai_isles.crossval.out_of_fold import CaseMap, OutOfFold, find_out_of_fold
from monai_isles.crossval.protocols import (
    HD_MAX_VOX,
    RULE,
    SIZES_VOX,
    GridScores,
    Protocol,
    grid_scores,
    optimism,
    protocol_tables,
    require_pair,
)
from monai_isles.evaluation.score import NETWORK
from monai_isles.inference.calibrated import Calibration, lesion_features
from monai_isles.io.payload import sha256_of
from monai_isles.io.publish import publish_csv, publish_json
from monai_isles.io.read import Image, read_header
from monai_isles.io.runs import RunFolder
from monai_isles.metrics import calibration
from monai_isles.metrics.calibration import Reliability
from monai_isles.perfusion.thresholds import cluster_vox, connected_parts
from monai_isles.postprocessing.components import binarise
from monai_isles.progress import progress
from monai_isles.workflows.evaluate import publish_scores

SEARCH, POSTPROCESSING = "search", "postprocessing.json"


def search_folder(
    folder: str | Path,
    *,
    nested: str | Path | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[GridScores, tuple[Protocol, Protocol], dict[str, Any]]:
    """Search the out-of-fold maps of a cross-validation, score it by both ways of tuning, and write all results.

    ``folder/postprocessing.json`` receives the pair chosen on all predictions, as an overlay for ``inference.json``;
    ``folder/search/`` receives ``grid.csv`` (means and score by pair), ``cases.csv`` (Dice and distance by case and
    pair), ``<protocol>/per_case.csv`` and ``summary.json`` as ``evaluate`` writes them, ``search.json``, ``run.json``.

    The smallest sizes are those of the bundle's ``paper.json``, where it states any (``sizes_vox``).

    Args:
        nested: the same cross-validation by the nested protocol; adds the optimism of the paper's in Dice points.
    Source: Clerigues 2019, section 3.3 and 4.1; ``tests/cli/test_search.py``.
    """
    predictions = find_out_of_fold(folder).with_masks()
    other = None if nested is None else find_out_of_fold(nested).with_masks()
    if other is not None:
        require_pair(predictions, other)
    bootstrap = {"resamples": resamples, "seed": seed}
    plan = predictions.plan  # one of an earlier version holds no sizes
    sizes_vox = plan.sizes_vox or plan.open_bundle().paper.get("sizes_vox", SIZES_VOX)
    with RunFolder(predictions.folder / SEARCH) as run:
        grid = grid_scores(predictions, sizes_vox)
        # The same grid serves both ways of tuning, so their difference is the tuning alone.
        tables = protocol_tables(predictions, grid, **bootstrap)
        differences = [optimism(tables[0], tables[1], **bootstrap)]
        if other is not None:
            theirs = protocol_tables(other, grid_scores(other, sizes_vox), **bootstrap)
            differences.append(optimism(tables[0], theirs[1], **bootstrap))
        record = _record(predictions, grid, tables, differences)
        _publish(predictions, grid, tables, record)
        inputs = {case.name: {"probability": sha256_of(predictions.path(case))} for case in predictions.cases}
        settings = {"nested": None if nested is None else str(nested), **bootstrap}
        run.finish({"command": "search", "settings": settings, "inputs_sha256": inputs})
    return grid, tables, record


@dataclass(frozen=True)
class Calibrated:
    """Hold the calibration of a network on cases not trained on, and the threshold moved by it.

    Args:
        curve: predicted lesions in five bins of their confidence, with the number that touches a true lesion.
        before, after: reliability of the probability over all voxels that a window reached.
    """

    calibration: Calibration
    threshold: float
    curve: list[dict[str, float | int | None]]
    before: Reliability
    after: Reliability


def fit_calibration(
    cases: Sequence[Case], read: CaseMap, *, threshold: float, min_size_vox: int = 0, min_cluster_ml: float = 0.0,
    about: str = "",
) -> Calibrated:  # fmt: skip
    """Fit temperature, volume errors and the confidence of predicted lesions on the maps of cases not trained on.

    Args:
        read: returns the uncalibrated probability map of a case and its reference, on one grid.
        threshold, min_size_vox: the pair for the masks, on the uncalibrated map; or ``min_cluster_ml``.
    Raises: ``E-CAL-04`` no lesion at all, and what ``read`` raises.
    Source: ``fit_temperature``, ``fit_volume_errors`` and ``fit_chance`` of ``monai_isles.metrics``.

    >>> from monai_isles.data import find_cases
    >>> from monai_isles.io import read_image
    >>> def read(case):  # here the "network" is sure of the true mask
    ...     mask = read_image(case.label, kind="label")
    ...     return np.where(mask.data > 0, 0.9, 0.1), mask
    >>> fit_calibration(find_cases(folder), read, threshold=0.5, min_size_vox=0).calibration.temperature < 1
    True
    """
    counts, before = np.zeros((2, len(calibration.LOGITS)), np.int64), []
    for case in progress(cases, "calibrating"):
        p, truth = _reached_voxels(*read(case))
        counts += calibration.logit_counts(p, truth)
        before.append(calibration.reliability(p, truth))
    # First the probabilities: volumes and lesions below are those of the calibrated maps.
    line = Calibration(*calibration.fit_temperature(counts))
    # The calibration is monotonic, so the same voxels pass the moved threshold.
    cut = round(float(line.probability(np.array(threshold))), 4)
    after, volumes, result = [], [], []
    for case in progress(cases, "volumes and lesions"):
        raw, reference = read(case)
        probability, truth = line.probability(raw), reference.data > 0
        voxel_ml = prod(reference.spacing_mm) / 1000
        mask = binarise(probability, cut, max(min_size_vox, cluster_vox(min_cluster_ml, reference.spacing_mm)))
        volumes.append((float(mask.sum()) * voxel_ml, float(truth.sum()) * voxel_ml))
        result += _found_lesions(mask, probability, truth, voxel_ml)
        after.append(calibration.reliability(*_reached_voxels(probability, reference)))
    features = np.array([item[0] for item in result]).reshape(-1, 2)
    right = np.array([item[1] for item in result], bool)
    slopes = calibration.fit_chance(features, right) if len(result) else []
    pred_ml, ref_ml = zip(*volumes, strict=True)
    fitted = Calibration(
        line.temperature, line.shift, calibration.fit_volume_errors(pred_ml, ref_ml), slopes, about=about
    )
    chance = expit(slopes[0] + features @ slopes[1:]) if slopes else np.zeros(0)
    curve = calibration.reliability(chance, right, bins=5).curve()
    return Calibrated(fitted, cut, curve, sum(before[1:], before[0]), sum(after[1:], after[0]))


def _reached_voxels(probability: np.ndarray, reference: Image) -> tuple[np.ndarray, np.ndarray]:
    # Voxels that no window reached are exactly 0: counting them would drown every other bin.
    truth = reference.data > 0
    seen = (probability > 0) | truth
    return probability[seen], truth[seen]


def _found_lesions(
    mask: np.ndarray, probability: np.ndarray, truth: np.ndarray, voxel_ml: float
) -> list[tuple[tuple[float, float], bool]]:
    """Return the features of every component of a mask, and whether it touches a true lesion."""
    labels, sizes = connected_parts(mask)
    sums, hits = (np.bincount(labels.ravel(), weights=part.ravel()) for part in (probability, truth))
    parts = zip(sizes[1:], sums[1:], hits[1:], strict=True)
    return [(lesion_features(float(p / size), float(size) * voxel_ml), bool(hit)) for size, p, hit in parts]


def _record(
    predictions: OutOfFold, grid: GridScores, tables: Sequence[Protocol], differences: list[dict[str, object]]
) -> dict[str, object]:
    # Smallest sizes are voxels: the record also states them in mm3, by the median voxel of the cases.
    voxel_mm3 = [prod(read_header(cast(Path, case.label)).spacing_mm) for case in predictions.cases]
    middle, choice = float(np.median(voxel_mm3)), grid.choose()
    return {
        "data": predictions.plan.data_name,
        "simulated": predictions.plan.simulated,
        "cases": len(predictions.cases),
        "left_out": predictions.left_out,
        "training": predictions.plan.protocol,
        "grid": {"thresholds": list(grid.thresholds), "sizes_vox": list(grid.sizes_vox), "hd_max_vox": HD_MAX_VOX},
        "rule": RULE,
        "chosen": {
            "threshold": choice.threshold,
            "min_size_vox": choice.min_size_vox,
            "min_size_mm3": round(choice.min_size_vox * middle, 3),
            "score": choice.score,
        },
        "voxel_mm3": {"median": middle, "least": float(min(voxel_mm3)), "most": float(max(voxel_mm3))},
        "protocols": {
            name: {"description": about["protocol"], "choices": about["choices"], "method": about["methods"]}
            for name, about in ((table.name, table.summary) for table in tables)
        },
        "optimism": differences,
    }


def _publish(predictions: OutOfFold, grid: GridScores, tables: Sequence[Protocol], record: Mapping[str, Any]) -> None:
    folder = predictions.folder / SEARCH
    (dsc, hd), scores, undefined = grid.means(), grid.scores(), np.isnan(grid.hd_vox).sum(axis=0)
    pairs = [(t, s, threshold, size) for t, threshold in enumerate(grid.thresholds)
             for s, size in enumerate(grid.sizes_vox)]  # fmt: skip
    columns = ("threshold", "min_size_vox", "n", "dsc", "hd_vox_as_scored", "one_mask_empty", "score")
    cells = ((threshold, size, len(grid.dsc), dsc[t, s], hd[t, s], int(undefined[t, s]), scores[t, s])
             for t, s, threshold, size in pairs)  # fmt: skip
    publish_csv(folder / "grid.csv", columns, cells)
    scored = ((case.name, case.subject, case.fold, threshold, size, grid.dsc[n, t, s], grid.hd_vox[n, t, s])
              for n, case in enumerate(predictions.cases) for t, s, threshold, size in pairs)  # fmt: skip
    publish_csv(folder / "cases.csv", ("case", "subject", "fold", *columns[:2], "dsc", "hd_vox"), scored)
    for table in tables:
        publish_scores(folder / table.name, {NETWORK: table.rows}, table.summary)
    publish_json(folder / "search.json", record)
    chosen = {key: value for key, value in record["chosen"].items() if key != "score"}
    publish_json(predictions.folder / POSTPROCESSING, chosen)
