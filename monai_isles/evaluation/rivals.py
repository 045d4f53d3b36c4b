"""The threshold rules in the shape of a method to score: a name, a sentence, a mask of a case."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from monai_isles.case import Case
from monai_isles.evaluation.threshold_baselines import (
    CORE_CUT,
    MIN_CLUSTER_ML,
    SingleThreshold,
    rcbf_core,
    single_threshold_core,
    tune_single_threshold,
)
from monai_isles.evaluation.perfusion_case import PerfusionCase, read_perfusion_case
from monai_isles.io.read import Image
from monai_isles.io.grid import require_same_affines
from monai_isles.modalities import PERFUSION_MAPS

MaskOf = Callable[[Case, Image], tuple[np.ndarray, dict[str, object]]]


def methods(
    data_dir: Path, data_list: Path | None, section: str, folds: Sequence[int] | None
) -> Iterator[tuple[str, str, MaskOf]]:
    """Yield ``(name, description, mask of a case)``: ``rcbf30``, and ``single_threshold`` where folds are held out.

    The single threshold is tuned on the section's folds that are not in ``folds``.

    Raises:
        IslesError: ``E-EVAL-01`` to ``E-EVAL-04``.
    """
    text = f"CBF below {CORE_CUT:.0%} of the contralateral mean, clusters of at least {MIN_CLUSTER_ML:g} ml"
    yield "rcbf30", text, _with(_core)
    if data_list is not None and folds is not None:
        from monai_isles.data.entries import load_entries

        keys = ("ct", *PERFUSION_MAPS)
        entries = load_entries(data_list, data_dir, section=section, exclude=folds, keys=keys, need_label=True)
        rule = tune_single_threshold(entries)
        yield "single_threshold", _sentence(rule), _with(lambda case: single_threshold_core(case, rule))


def _core(case: PerfusionCase) -> np.ndarray:
    return rcbf_core(case.cbf, case.brain, case.reference, case.spacing_mm)


def _with(rule: Callable[[PerfusionCase], np.ndarray]) -> MaskOf:
    def mask_of(case: Case, ref: Image) -> tuple[np.ndarray, dict[str, object]]:
        maps = read_perfusion_case(case.entry())
        shapes = {"reference": ref.grid_shape, "maps": maps.brain.shape}
        require_same_affines({"reference": ref.affine, "maps": maps.affine}, shapes, case=case.name)
        return rule(maps), {"midline": maps.midline}

    return mask_of


def _sentence(rule: SingleThreshold) -> str:
    cut = f"rCBF < {rule.cut:g}" if rule.map == "rcbf" else f"Tmax > {rule.cut:g} s"
    return (
        f"{cut}, clusters of at least {rule.min_cluster_ml:g} ml; best mean Dice {rule.mean_dsc:.3f} "
        f"on {rule.cases} training cases"
    )
