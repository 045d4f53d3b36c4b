"""What the scanner page shows: one series, its maps, the masks on them, curves, remarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from monai_isles.errors import IslesError

MASKS = {
    "core": ("core (threshold)", "#ff4d5e"),
    "hypoperfused": ("hypoperfused (threshold)", "#35c3ff"),
    "lesion": ("network lesion", "#ff9a2e"),
}


@dataclass(frozen=True)
class ScannerView:
    """One series with everything that was measured on it.

    Shapes: images and masks (H, W, D), RAS+, one grid; ``aif`` and ``vof`` (T,).
    Units: ``ct`` HU, ``cbf`` ml/100 g/min, ``tmax`` s, spacing mm, curves HU over baseline, ``dt_s`` s.
    Args:
        name: of the case; shown escaped.
        images: ``ct``, and ``cbf`` and ``tmax`` where there are any.
        masks: by name of ``MASKS``.
        result: ``result.json``: volumes, ``perfusion``, ``quality``, what made it.
        series: label to text: how the series was acquired and read.
        patient: label to text, only when the user asked for it.
        simulated: the data are the phantom's.
    Raises:
        IslesError: ``E-REP-20`` when shapes differ, an image is missing or a mask is unknown.
    """

    name: str
    images: Mapping[str, np.ndarray]
    masks: Mapping[str, np.ndarray]
    spacing_mm: Sequence[float]
    result: Mapping[str, Any] = field(default_factory=dict)
    aif: np.ndarray | None = None
    vof: np.ndarray | None = None
    dt_s: float | None = None
    series: Mapping[str, str] = field(default_factory=dict)
    patient: Mapping[str, str] = field(default_factory=dict)
    simulated: bool = False

    def __post_init__(self) -> None:
        shapes = {key: np.shape(array) for key, array in {**self.images, **self.masks}.items()}
        strange = sorted(set(self.masks) - set(MASKS))
        if "ct" not in self.images or strange or len(set(shapes.values())) > 1 or len(shapes["ct"]) != 3:
            listed = ", ".join(f"{key} {' x '.join(map(str, shape))}" for key, shape in shapes.items())
            raise IslesError(
                "E-REP-20",
                "images and masks do not make a scanner page",
                where=self.name,
                found=listed + (f"; unknown masks {', '.join(strange)}" if strange else ""),
                fix=f"give ct, cbf and tmax, and masks among {', '.join(MASKS)}, all (H, W, D) on one grid",
            )
