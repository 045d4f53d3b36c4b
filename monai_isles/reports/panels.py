"""The columns of a case's pictures: which image, in which window, in which colours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Colormap

from monai_isles.modalities import MODALITIES
from monai_isles.reports.slices import ANATOMY, MAPS, brain, on_screen
from monai_isles.reports.views import SYNTHETIC, CaseView

STROKE_WINDOW_HU = (20.0, 60.0)
TMAX_WINDOW_S = (0.0, 12.0)
_LEVELS = 32
_TITLES = {"t1c": "T1 with contrast", "tmax": "Tmax"}
_TOPS = {"cbf": 95.0, "cbv": 95.0, "mtt": 99.0, "ttp": 99.0}
_ANATOMY_TOP = 99.5


@dataclass(frozen=True)
class Panel:
    """One column: its volume (H, W, D), the values shown darkest and brightest, whether the outlines go on it.

    Args:
        inside: where the volume is shown, (H, W, D); everywhere when None.
        mark: a word on every picture of the column.
    """

    title: str
    volume: np.ndarray
    window: tuple[float, float]
    cmap: str
    unit: str = ""
    outlines: bool = True
    inside: np.ndarray | None = None
    mark: str = ""

    @property
    def colours(self) -> Colormap:
        """Return the colour map in few steps, which keeps the file small; what is not brain is black."""
        return colormaps[self.cmap].resampled(_LEVELS).with_extremes(bad="black")

    def seen(self, k: int, box: tuple[slice, slice]) -> np.ndarray:
        """Return slice ``k`` as it lies on the screen, NaN where it is not shown. Shapes: (rows, columns)."""
        picture = on_screen(self.volume, k, box).astype(np.float32)
        return picture if self.inside is None else np.where(on_screen(self.inside, k, box), picture, np.nan)


def panels(case: CaseView) -> list[Panel]:
    """Return the columns that the case has images for: anatomy, synthetic images, maps, what was predicted.

    Units: CT 20 to 60 HU, Tmax 0 to 12 s, ADC from 0 to its 99.5th percentile like every other MR image, CBF and CBV
    to their 95th and MTT and TTP to their 99th percentile in the brain, probability 0 to 1, uncertainty from 0 to its
    99.9th percentile, at least 0.05; a synthetic pseudo-DWI 0 to 1, as the true one is scaled for training.
    """
    return list(_each(case))


def first_panel(case: CaseView) -> Panel:
    """Return the first column alone, which spares the windows of the others."""
    return next(_each(case))


def drawn_keys(keys: Sequence[str]) -> list[str]:
    """Return which images of a case are drawn, in their order: of CT perfusion four, of MRI all; series never."""
    if "ct" in keys:
        return [key for key in ("ct", "dwi", "cbf", "tmax") if key in keys]
    return [key for key in (*ANATOMY, *MAPS) if key in keys]


def _each(case: CaseView) -> Iterator[Panel]:
    inside, images = brain(case.images, case.lesion.shape), case.images
    for key in (key for key in ANATOMY if key in images):
        window = STROKE_WINDOW_HU if key == "ct" else (0.0, _high(images[key], _ANATOMY_TOP))
        yield Panel(_title(case, key), images[key], window, "gray", MODALITIES[key].unit, outlines=False)
    for key, image in case.synthetic.items():
        yield Panel(SYNTHETIC[key], image, (0.0, 1.0), "gray", outlines=False, mark="synthetic")
    for key in (key for key in MAPS if key in images):
        window = TMAX_WINDOW_S if key == "tmax" else (0.0, _high(images[key], _TOPS[key], inside))
        yield Panel(_title(case, key), images[key], window, "viridis", MODALITIES[key].unit, inside=inside)
    if case.probability is not None:
        yield Panel("lesion probability", case.probability, (0.0, 1.0), "viridis", inside=inside)
    if case.uncertainty is not None:
        top = max(0.05, _high(case.uncertainty, 99.9, inside))
        yield Panel("uncertainty", case.uncertainty, (0.0, top), "cividis", outlines=False, inside=inside)
    if not images and not case.synthetic and case.probability is None and case.uncertainty is None:
        yield Panel("prediction", case.lesion.astype(np.float32), (0.0, 1.0), "gray", outlines=False)


def _title(case: CaseView, key: str) -> str:
    read = case.result.get("modalities")
    title = _TITLES.get(key, key.upper())
    return title if not read or key in read else f"{title}\n(not an input)"


def _high(volume: np.ndarray, percentile: float, inside: np.ndarray | None = None) -> float:
    shown = volume[volume > 0] if inside is None else volume[(volume > 0) & inside]
    if not shown.size:
        return 1.0
    top = float(np.percentile(shown, percentile))
    step = 10.0 ** np.floor(np.log10(top)) / 2
    return float(np.ceil(top / step) * step)
