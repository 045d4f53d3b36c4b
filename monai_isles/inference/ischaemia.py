"""Read the perfusion maps of a case, and measure core, hypoperfusion and mismatch by the threshold rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from monai_isles.errors import IslesError, refused
from monai_isles.io.case_images import mask_by_ct, read_case_images
from monai_isles.io.findings import WARNING, finding, refuse
from monai_isles.io.read import require_same_grid
from monai_isles.io.values import FEW_VOXELS
from monai_isles.modalities import LABEL, LABEL_VALUES, MEASURED_MAPS, PERFUSION_MAPS
from monai_isles.perfusion.thresholds import (
    CORE_CUT,
    HYPOPERFUSED_S,
    MIN_CLUSTER_ML,
    Ischaemia,
    contralateral_side,
    ischaemia,
)
from monai_isles.transforms.grid import onto_first
from monai_isles.transforms.registration import split_head

Trained = Mapping[str, Mapping[str, Sequence[float]]]  # smallest and largest facts of the training cases, by modality
UNKNOWN: Trained = MappingProxyType({})
_MOST_BRAIN = 0.95  # of the voxels: an ellipse fills 79 % of its box
CUTS = {"core_rcbf": CORE_CUT, "delay_s": HYPOPERFUSED_S, "min_cluster_ml": MIN_CLUSTER_ML}


def brain_facts(image: np.ndarray, brain: np.ndarray) -> dict[str, float]:
    """Return the median and the 99th percentile in the brain. Shapes: (H, W, D) both; units of the image."""
    inside = image[brain]
    low, high = np.percentile(inside, [50, 99]) if inside.size else (0.0, 0.0)
    return {"median": float(low), "p99": float(high)}


def unseen_intensities(images: Mapping[str, np.ndarray], brain: np.ndarray, trained: Trained) -> list[str]:
    """Return a sentence on every image that differs from the training images.

    The median and the 99th percentile in the brain are compared with their smallest and largest value among the
    training cases (``training_intensities`` of the metadata), with a tenth of that span allowed beyond either end.

    Shapes: images, by modality key, and ``brain`` (H, W, D).
    """
    texts = []
    for key in [key for key in images if key in trained]:
        facts = brain_facts(images[key], brain)
        for name, words in (("median", "median"), ("p99", "99th percentile")):
            low, high = map(float, trained[key][name])
            room = 0.1 * (high - low)
            if not low - room <= facts[name] <= high + room:
                span = f"{low:.4g} to {high:.4g} in the training cases"
                texts.append(f"{key}: {words} {facts[name]:.4g} in the brain, {span}")
    return texts


@dataclass(frozen=True)
class PerfusionCase:
    """Hold the input of the threshold rules for one case.

    Shapes: all arrays ``(H, W, D)``, RAS+; ``reference`` is the brain of the healthy side, ``left`` the patient's left
    half; ``label`` and ``cbv`` are None if not read.
    Units: CBF as stored, Tmax in s, spacing in mm. ``midline`` is the method that separated the sides: ``mirror`` (CT
    registered to its mirror image) or ``centroid`` (column of the brain's centre, without CT or registration).
    """

    name: str
    cbf: np.ndarray
    tmax_s: np.ndarray
    brain: np.ndarray
    reference: np.ndarray
    spacing_mm: tuple[float, float, float]
    midline: str
    affine: np.ndarray
    label: np.ndarray | None = None
    left: np.ndarray | None = None
    cbv: np.ndarray | None = None


def read_perfusion_case(
    entry: Mapping[str, Any],
    *,
    maps: Sequence[str] = PERFUSION_MAPS,
    need_label: bool = False,
    trained: Trained = UNKNOWN,
) -> PerfusionCase:
    """Read the maps of one case, find the brain, the two sides and the healthy one.

    Brain is where the sum of the maps is above zero. The sides come from the CT's mirror image (``mirror``) or, without
    one, from the brain's centre column (``centroid``). CBF and Tmax must be among ``maps``. Images unlike those of
    ``trained`` are remarked.

    Source: brain mask of Clerigues 2019, doi:10.1016/j.compbiomed.2019.103487.
    """
    name, wanted = str(entry.get("case", "case")), [*maps, *([LABEL] if need_label else [])]
    missing = [key for key in wanted if not entry.get(key)]
    if missing:
        raise refused("E-EVAL-04", where=name, found=f"no {', '.join(missing)}")
    keys, values = [*(["ct"] if entry.get("ct") else []), *wanted], entry.get(LABEL_VALUES)
    images = read_case_images({key: str(entry[key]) for key in keys}, case=name, label_values=values)
    if entry.get("resample") is True:
        images, remarks = mask_by_ct(onto_first(images, case=name), case=name)
        refuse(remarks)
    require_same_grid(images, case=name)
    brain = np.sum([images[key].data for key in maps], axis=0) > 0
    unseen = unseen_intensities({key: images[key].data for key in images if key in trained}, brain, trained)
    refuse(finding("E-VAL-21", WARNING, where=name, found=text) for text in unseen)
    cbf, tmax_s = images["cbf"], images["tmax"].data
    left, midline = split_head(images["ct"].data if "ct" in images else None, brain, cbf.spacing_mm, where=name)
    reference, label = contralateral_side(tmax_s, brain, left), images[LABEL].data > 0 if need_label else None
    cbv = images["cbv"].data if "cbv" in images else None
    return PerfusionCase(
        name, cbf.data, tmax_s, brain, reference, cbf.spacing_mm, midline, cbf.affine, label, left, cbv
    )


def case_ischaemia(
    entry: Mapping[str, Any], cuts: Mapping[str, Any] = CUTS, trained: Trained = UNKNOWN
) -> tuple[Ischaemia, str] | None:
    """Return masks and volumes of one case and the method that separated its sides; None without CBF or Tmax.

    Raises: ``E-VAL-20`` where maps without a mask, and no CT, do not tell brain from air.
    """
    if not (entry.get("cbf") and entry.get("tmax")):
        return None
    case = read_perfusion_case(entry, maps=[key for key in MEASURED_MAPS if entry.get(key)], trained=trained)
    if not entry.get("ct") and case.brain.size >= FEW_VOXELS and (share := case.brain.mean()) > _MOST_BRAIN:
        fix = "give the CT of the scan as well, or set the maps to 0 outside the brain"
        raise refused("E-VAL-20", where=case.name, found=f"values in {share:.0%} of the voxels, and no CT", fix=fix)
    sides: dict[str, Any] = {"contralateral": case.reference, "left": case.left}
    return ischaemia(case.cbf, case.tmax_s, case.brain, case.spacing_mm, **cuts, **sides, cbv=case.cbv), case.midline


def perfusion_block(
    entry: Mapping[str, object], settings: Mapping[str, Any] | None = None, trained: Trained = UNKNOWN
) -> dict[str, object] | None:
    """Return ``perfusion`` of ``result.json``: ``Ischaemia.record``, the cuts and ``midline``; None without the maps.

    If the rules cannot be applied, the block holds the reason as ``not_computed``; the network's result is kept.
    """
    # Beside no cut of flow, ``min_cluster_ml`` is the smallest lesion of a network, no smallest cluster of the rules.
    own = settings if settings and "core_rcbf" in settings else {}
    cuts = CUTS | {name: float(value) for name, value in own.items() if name in CUTS}
    try:
        result = case_ischaemia(entry, cuts, trained)
    except IslesError as error:
        return {"not_computed": f"{error.code}: {error.fault} ({error.found})", **cuts}
    return None if result is None else {**result[0].record(), **cuts, "midline": result[1]}
