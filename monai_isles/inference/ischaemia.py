"""Core, hypoperfusion and mismatch of a case by the threshold rules, beside whatever a network says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from monai_isles.errors import IslesError
from monai_isles.io.grid import require_same_grid
from monai_isles.io.read import read_image
from monai_isles.modalities import MEASURED_MAPS
from monai_isles.perfusion.thresholds import (
    CORE_CUT,
    HYPOPERFUSED_S,
    MIN_CLUSTER_ML,
    Ischaemia,
    contralateral_side,
    ischaemia,
)

_MAPS = MEASURED_MAPS


def case_ischaemia(
    entry: Mapping[str, Any],
    *,
    core_rcbf: float = CORE_CUT,
    delay_s: float = HYPOPERFUSED_S,
    min_cluster_ml: float = MIN_CLUSTER_ML,
) -> tuple[Ischaemia, str] | None:
    """Return masks and volumes of one case and how its sides were told apart; None without CBF or Tmax.

    The brain is where the sum of the perfusion maps is above zero. The sides come from the CT's mirror image
    (``mirror``) or, without one, from the brain's centre column (``centroid``).

    Args:
        entry: flat dictionary with the paths of the maps, and of ``ct`` where there is one.
        core_rcbf, delay_s, min_cluster_ml: as in ``monai_isles.perfusion.ischaemia``.
    Raises:
        IslesError: ``E-GEOM-*`` and others of ``read_image``, ``E-EVAL-01``, ``E-EVAL-02``.
    Source: ``monai_isles.perfusion.ischaemia``; ``tests/inference/test_ischaemia.py``.
    """
    if not (entry.get("cbf") and entry.get("tmax")):
        return None
    from monai_isles.transforms.grid import onto_first
    from monai_isles.transforms.registration import split_head

    name = str(entry.get("case", "case"))
    keys = [key for key in ("ct", *_MAPS) if entry.get(key)]
    images = {key: read_image(Path(str(entry[key])), kind=key, where=name) for key in keys}
    if entry.get("resample") is True:
        images = onto_first(images, case=name)
    require_same_grid(images, case=name)
    brain = np.sum([images[key].data for key in keys if key != "ct"], axis=0) > 0
    cbf, tmax_s = images["cbf"], images["tmax"].data
    left, midline = split_head(images["ct"].data if "ct" in images else None, brain, cbf.spacing_mm, where=name)
    found = ischaemia(
        cbf.data,
        tmax_s,
        brain,
        cbf.spacing_mm,
        core_rcbf=core_rcbf,
        delay_s=delay_s,
        min_cluster_ml=min_cluster_ml,
        contralateral=contralateral_side(tmax_s, brain, left),
    )
    return found, midline


def perfusion_block(entry: Mapping[str, object], settings: Mapping[str, Any] | None = None) -> dict[str, object] | None:
    """Return ``perfusion`` of ``result.json``: ``Ischaemia.record``, the cuts and ``midline``; None without the maps.

    Where the rules cannot be applied the block holds ``not_computed``, the reason: the network's result stands.

    Args:
        settings: of the bundle; its ``core_rcbf``, ``delay_s`` and ``min_cluster_ml`` count where it has them.
    Source: ``case_ischaemia``.
    """
    cuts = {"core_rcbf": CORE_CUT, "delay_s": HYPOPERFUSED_S, "min_cluster_ml": MIN_CLUSTER_ML}
    cuts |= {name: float(value) for name, value in (settings or {}).items() if name in cuts}
    try:
        found = case_ischaemia(entry, **cuts)
    except IslesError as error:
        return {"not_computed": f"{error.code}: {error.fault} ({error.found})", **cuts}
    return None if found is None else {**found[0].record(), **cuts, "midline": found[1]}
