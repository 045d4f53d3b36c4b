"""Threshold baselines for a network: rCBF below 30 %, and the best single threshold of the training cases."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from monai_isles.case import Case
from monai_isles.data.entries import load_entries, tell_left_out
from monai_isles.errors import IslesError, refused
from monai_isles.evaluation.pairs import on_reference_grid
from monai_isles.evaluation.score import Masks
from monai_isles.inference.ischaemia import PerfusionCase, read_perfusion_case
from monai_isles.io.findings import as_finding
from monai_isles.io.read import Image
from monai_isles.metrics.overlap import dsc
from monai_isles.modalities import LABEL, PERFUSION_MAPS
from monai_isles.perfusion.thresholds import CORE_CUT, MIN_CLUSTER_ML, cluster_vox, relative_cbf
from monai_isles.postprocessing.components import drop_small
from monai_isles.progress import progress

log = logging.getLogger(__name__)
RCBF_CUTS = tuple(round(0.10 + 0.05 * step, 2) for step in range(13))
TMAX_CUTS_S = tuple(float(cut) for cut in range(2, 17))
CLUSTERS_ML = (0.0, 0.5, 1.0, 3.0)


@dataclass(frozen=True)
class SingleThreshold:
    """Hold one cut on one map, chosen on training cases.

    Units: ``cut`` as a fraction of the contralateral mean for ``rcbf`` (below is lesion), in seconds for ``tmax``
    (above is lesion); ``min_cluster_ml`` in ml; ``mean_dsc`` over the ``cases`` it was tuned on.
    """

    map: str
    cut: float
    min_cluster_ml: float
    mean_dsc: float
    cases: int


RCBF30 = SingleThreshold("rcbf", CORE_CUT, MIN_CLUSTER_ML, math.nan, 0)


def single_threshold_core(case: PerfusionCase, rule: SingleThreshold) -> np.ndarray:
    """Return the lesion of one case by a tuned rule. Shapes: ``(H, W, D)`` boolean."""
    return drop_small(_threshold_mask(case, rule.map, rule.cut), cluster_vox(rule.min_cluster_ml, case.spacing_mm))


def tune_single_threshold(entries: Sequence[Mapping[str, object]], *, strict: bool = True) -> SingleThreshold:
    """Choose the map, cut and smallest cluster of best mean Dice; ties go to the first in the order of the grid.

    Unless ``strict``, a case that cannot be read is left out with a warning.
    """
    # Every map and cut, scored at every cluster size.
    grid = [(name, cut) for name, cuts in (("rcbf", RCBF_CUTS), ("tmax", TMAX_CUTS_S)) for cut in cuts]
    scores = []
    for entry in progress(entries, "tuning the threshold"):
        try:
            case = read_perfusion_case(entry, need_label=True)
        except IslesError as error:
            if strict:
                raise
            tell_left_out([replace(as_finding(error), case=str(entry["case"]))])
            continue
        label, own = cast(np.ndarray, case.label), np.zeros((len(grid), len(CLUSTERS_ML)))
        for column, (name, cut) in enumerate(grid):
            mask = _threshold_mask(case, name, cut)
            for depth, ml in enumerate(CLUSTERS_ML):
                own[column, depth] = dsc(drop_small(mask, cluster_vox(ml, case.spacing_mm)), label)
        scores.append(own)
    if not scores:
        raise refused("E-EVAL-03", where="single threshold", found=f"{len(entries)} entries, none of them readable")
    means = np.mean(scores, axis=0)
    best, cluster = np.unravel_index(int(means.argmax()), means.shape)  # argmax takes the first of equal means
    return SingleThreshold(*grid[best], CLUSTERS_ML[cluster], float(means[best, cluster]), len(scores))


def _threshold_mask(case: PerfusionCase, name: str, cut: float) -> np.ndarray:
    if name == "tmax":
        return case.brain & (case.tmax_s > cut)
    # Relative to the healthy side's mean.
    return case.brain & (relative_cbf(case.cbf, case.brain, case.reference) < cut)


def methods(
    data_dir: Path, data_list: Path | None, section: str, folds: Sequence[int] | None, *, strict: bool = False
) -> Iterator[tuple[str, str, Masks]]:
    """Yield ``(name, description, masks)``: ``rcbf30``, and ``single_threshold`` where folds are held out.

    The single threshold is tuned on the section's folds that are not in ``folds``; without any it is left out.
    """
    text = f"CBF below {CORE_CUT:.0%} of the contralateral mean, clusters of at least {MIN_CLUSTER_ML:g} ml"
    yield "rcbf30", text, _with(RCBF30)
    if data_list is not None and folds is not None:
        part: dict[str, Any] = {"section": section, "exclude": folds, "keys": PERFUSION_MAPS, "optional": ("ct",)}
        try:
            entries = load_entries(data_list, data_dir, **part, need_label=True, strict=strict)
            rule = tune_single_threshold(entries, strict=strict)
        except IslesError as error:
            if strict or error.code not in ("E-LIST-02", "E-LIST-05", "E-EVAL-03"):
                raise
            log.warning("no single threshold: the other folds hold no case to tune it on (%s)", error.found)
            return
        yield "single_threshold", _sentence(rule), _with(rule)


def _with(rule: SingleThreshold) -> Masks:
    def read(case: Case, ref: Image) -> tuple[np.ndarray, dict[str, object]]:
        maps = read_perfusion_case(case.entry())
        place = replace(ref, affine=maps.affine, spacing_mm=maps.spacing_mm, path=case.images["cbf"])
        mask = replace(place, data=single_threshold_core(maps, rule).astype(np.float32))
        return on_reference_grid(mask, ref, case, kind=LABEL).data > 0, {"midline": maps.midline}

    return lambda case: read


def _sentence(rule: SingleThreshold) -> str:
    cut = f"rCBF < {rule.cut:g}" if rule.map == "rcbf" else f"Tmax > {rule.cut:g} s"
    text = f"{cut}, clusters of at least {rule.min_cluster_ml:g} ml; best mean Dice {rule.mean_dsc:.3f} "
    return f"{text}on {rule.cases} training cases"
