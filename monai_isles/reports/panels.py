"""The columns of a case's pictures: which image, in which window, in which colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Colormap

from monai_isles.modalities import MODALITIES, PERFUSION_MAPS
from monai_isles.reports.views import CaseView

STROKE_WINDOW_HU = (20.0, 60.0)
TMAX_WINDOW_S = (0.0, 12.0)
_LEVELS = 32


@dataclass(frozen=True)
class Panel:
    """One column: its volume (H, W, D), the values shown darkest and brightest, whether the outlines go on it."""

    title: str
    volume: np.ndarray
    window: tuple[float, float]
    cmap: str
    unit: str = ""
    outlines: bool = True

    @property
    def colours(self) -> Colormap:
        """Return the colour map in few steps, which keeps the file small; what is not brain is black."""
        return colormaps[self.cmap].resampled(_LEVELS).with_extremes(bad="black")


def panels(case: CaseView) -> list[Panel]:
    """Return the columns that the case has images for, the structural one first.

    Units: CT 20 to 60 HU, Tmax 0 to 12 s, CBF from 0 to its 95th percentile in the brain, probability 0 to 1,
    uncertainty from 0 to its 99.9th percentile, at least 0.05.
    """
    columns = _structure(case) + _maps(case)
    return columns or [Panel("prediction", case.lesion.astype(np.float32), (0.0, 1.0), "gray", outlines=False)]


def _structure(case: CaseView) -> list[Panel]:
    found = []
    if "ct" in case.images:
        found.append(Panel("CT", case.images["ct"], STROKE_WINDOW_HU, "gray", "HU", outlines=False))
    if "dwi" in case.images:
        dwi, read = case.images["dwi"], "dwi" in (case.result.get("modalities") or ("dwi",))
        title = "DWI" if read else "DWI (not an input)"
        found.append(Panel(title, dwi, (0.0, _high(dwi, 99.5)), "gray", "a.u.", outlines=False))
    return found


def _maps(case: CaseView) -> list[Panel]:
    inside, shown = brain(case), {**case.images, "probability": case.probability, "uncertainty": case.uncertainty}
    seen = {key: np.where(inside, v.astype(np.float32), np.nan) for key, v in shown.items() if v is not None}
    found = []
    if "cbf" in seen:
        found.append(Panel("CBF", seen["cbf"], (0.0, _high(seen["cbf"], 95)), "viridis", MODALITIES["cbf"].unit))
    if "tmax" in seen:
        found.append(Panel("Tmax", seen["tmax"], TMAX_WINDOW_S, "viridis", MODALITIES["tmax"].unit))
    if "probability" in seen:
        found.append(Panel("lesion probability", seen["probability"], (0.0, 1.0), "viridis"))
    if "uncertainty" in seen:
        top = max(0.05, _high(seen["uncertainty"], 99.9))
        found.append(Panel("uncertainty", seen["uncertainty"], (0.0, top), "cividis", outlines=False))
    return found


def brain(case: CaseView) -> np.ndarray:
    """Return where any perfusion map is above 0, everything where the case has none. Shapes: (H, W, D)."""
    maps = [case.images[key] > 0 for key in PERFUSION_MAPS if key in case.images]
    return np.any(maps, axis=0) if maps else np.ones(case.lesion.shape, bool)


def _high(volume: np.ndarray, percentile: float) -> float:
    shown = volume[volume > 0]
    if not shown.size:
        return 1.0
    top = float(np.percentile(shown, percentile))
    step = 10.0 ** np.floor(np.log10(top)) / 2
    return float(np.ceil(top / step) * step)
