"""One case as the threshold rules see it: maps, brain, healthy side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from monai_isles.errors import refused
from monai_isles.io.grid import require_same_grid
from monai_isles.io.read import read_image
from monai_isles.modalities import LABEL, LABEL_VALUES, PERFUSION_MAPS
from monai_isles.perfusion.thresholds import HYPOPERFUSED_S, contralateral_side, upright_hemispheres
from monai_isles.transforms.grid import onto_first
from monai_isles.transforms.registration import hemispheres, split_head

__all__ = ["HYPOPERFUSED_S", "contralateral_side", "hemispheres", "split_head", "upright_hemispheres"]


@dataclass(frozen=True)
class PerfusionCase:
    """Hold what a threshold rule needs of one case.

    Shapes: all arrays ``(H, W, D)``, RAS+; ``reference`` is the brain of the healthy side, ``label`` None if not read.
    Units: CBF as stored, Tmax in s, spacing in mm. ``midline`` says how the sides were told apart: ``mirror`` (CT
    registered to its mirror image) or ``centroid`` (column of the brain's centre, no CT or no registration).
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


def read_perfusion_case(entry: Mapping[str, Any], *, need_label: bool = False) -> PerfusionCase:
    """Read the maps of one case, find the brain, the two sides and the healthy one.

    Brain is where the sum of the four maps is above zero.

    Args:
        entry: flat dictionary with the paths of cbf, cbv, mtt, tmax, ct where there is one, and ``label`` if needed.
        need_label: read the label too.

    Raises:
        IslesError: ``E-EVAL-04`` a path is not in the entry; ``E-EVAL-01``; ``E-GEOM`` and others of ``read_image``.

    Source: brain mask of Clerigues 2019, doi:10.1016/j.compbiomed.2019.103487.
    """
    name = str(entry.get("case", "case"))
    wanted = [*PERFUSION_MAPS, *([LABEL] if need_label else [])]
    missing = [key for key in wanted if not entry.get(key)]
    if missing:
        raise refused("E-EVAL-04", where=name, found=f"no {', '.join(missing)}")
    keys = [*wanted, *(["ct"] if entry.get("ct") else [])]
    values = entry.get(LABEL_VALUES)
    images = {key: read_image(Path(str(entry[key])), kind=key, where=name, label_values=values) for key in keys}
    if entry.get("resample") is True:
        images = onto_first({key: images[key] for key in ("ct", *images) if key in images}, case=name)
    require_same_grid(images, case=name)
    brain = np.sum([images[key].data for key in PERFUSION_MAPS], axis=0) > 0
    spacing_mm = images["cbf"].spacing_mm
    left, midline = split_head(images["ct"].data if "ct" in images else None, brain, spacing_mm, where=name)
    tmax_s = images["tmax"].data
    label = images[LABEL].data > 0 if need_label else None
    reference = contralateral_side(tmax_s, brain, left)
    cbf = images["cbf"]
    return PerfusionCase(name, cbf.data, tmax_s, brain, reference, spacing_mm, midline, cbf.affine, label)
