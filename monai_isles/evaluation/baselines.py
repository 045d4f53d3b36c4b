"""The rules a network has to beat: rCBF below 30 %, and the best single threshold of the training cases."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from monai_isles.errors import IslesError
from monai_isles.evaluation.perfusion_case import PerfusionCase, read_perfusion_case
from monai_isles.metrics.overlap import dsc
from monai_isles.postprocessing.components import drop_small
from monai_isles.progress import progress

CORE_CUT = 0.30
MIN_CLUSTER_ML = 0.5
RCBF_CUTS = tuple(round(0.10 + 0.05 * step, 2) for step in range(13))
TMAX_CUTS_S = tuple(float(cut) for cut in range(2, 17))
CLUSTERS_ML = (0.0, 0.5, 1.0, 3.0)


def relative_cbf(cbf: np.ndarray, brain: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Divide CBF by its mean over the brain voxels of the reference side that have any; 0 outside the brain.

    Shapes: all ``(H, W, D)``; float64 out. Units: any for CBF, it cancels; 1 is the healthy side's mean.

    Args:
        cbf: cerebral blood flow map.
        brain: boolean brain mask.
        reference: boolean mask of the contralateral hemisphere.

    Raises:
        IslesError: ``E-EVAL-02`` when the reference side has no CBF.

    Source: mean contralateral CBF, Campbell 2011, doi:10.1161/STROKEAHA.111.618355.
    """
    healthy = cbf[brain & reference & (cbf > 0)]
    if not healthy.size:
        raise IslesError(
            "E-EVAL-02",
            "no blood flow on the reference side",
            where="relative CBF",
            found=f"{int((brain & reference).sum())} brain voxels, none above zero",
            fix="check the CBF map and the midline",
        )
    return np.where(brain, cbf, 0.0) / float(healthy.mean(dtype=np.float64))


def rcbf_core(
    cbf: np.ndarray,
    brain: np.ndarray,
    reference: np.ndarray,
    spacing_mm: Sequence[float],
    *,
    cut: float = CORE_CUT,
    min_cluster_ml: float = MIN_CLUSTER_ML,
) -> np.ndarray:
    """Return the ischemic core as clinics draw it: brain with relative CBF below ``cut``, small clusters dropped.

    Shapes: ``relative_cbf``; boolean out. Units: ``cut`` as a fraction, ``min_cluster_ml`` in ml, spacing in mm.
    Raises: ``E-EVAL-02``.

    Source: rCBF < 30 %, the cut of the DEFUSE 3 protocol (doi:10.1056/NEJMoa1713973), near the 31 % of Campbell 2011.
    The smallest cluster is ours.
    """
    low = brain & (relative_cbf(cbf, brain, reference) < cut)
    return drop_small(low, _voxels(min_cluster_ml, spacing_mm))


@dataclass(frozen=True)
class SingleThreshold:
    """One cut on one map, chosen on training cases.

    Units: ``cut`` as a fraction of the contralateral mean for ``rcbf`` (below is lesion), in seconds for ``tmax``
    (above is lesion); ``min_cluster_ml`` in ml; ``mean_dsc`` over the ``cases`` it was tuned on.
    """

    map: str
    cut: float
    min_cluster_ml: float
    mean_dsc: float
    cases: int


def single_threshold_core(case: PerfusionCase, rule: SingleThreshold) -> np.ndarray:
    """Return the lesion of one case by a tuned rule. Shapes: ``(H, W, D)`` boolean."""
    return drop_small(_cut(case, rule.map, rule.cut), _voxels(rule.min_cluster_ml, case.spacing_mm))


def tune_single_threshold(entries: Sequence[Mapping[str, object]]) -> SingleThreshold:
    """Choose the map, cut and smallest cluster of best mean Dice; the first of equals in the order of the grid.

    Args:
        entries: training cases only, flat dictionaries with the paths of the maps and of ``label``.

    Raises:
        IslesError: ``E-EVAL-03`` no entries; ``E-EVAL-04`` a map or label is not in an entry.

    Source: ours; ``tests/evaluation/test_baselines.py``.
    """
    if not entries:
        raise IslesError(
            "E-EVAL-03",
            "no training cases to tune on",
            where="single threshold",
            found="0 entries",
            fix="give the training section of the data list",
        )
    grid = [(name, cut) for name, cuts in (("rcbf", RCBF_CUTS), ("tmax", TMAX_CUTS_S)) for cut in cuts]
    scores = np.zeros((len(entries), len(grid), len(CLUSTERS_ML)))
    for row, entry in enumerate(progress(entries, "tuning the threshold")):
        case = read_perfusion_case(entry, need_label=True)
        for column, (name, cut) in enumerate(grid):
            mask = _cut(case, name, cut)
            for depth, ml in enumerate(CLUSTERS_ML):
                scores[row, column, depth] = dsc(drop_small(mask, _voxels(ml, case.spacing_mm)), case.label)
    means = scores.mean(axis=0)
    best, cluster = np.unravel_index(int(means.argmax()), means.shape)
    return SingleThreshold(*grid[best], CLUSTERS_ML[cluster], float(means[best, cluster]), len(entries))


def _cut(case: PerfusionCase, name: str, cut: float) -> np.ndarray:
    if name == "tmax":
        return case.brain & (case.tmax_s > cut)
    return case.brain & (relative_cbf(case.cbf, case.brain, case.reference) < cut)


def _voxels(ml: float, spacing_mm: Sequence[float]) -> int:
    return math.ceil(ml * 1000 / math.prod(spacing_mm) - 1e-9)
