"""The measured arterial and venous curves as a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from monai_isles.reports.canvas import blank, plot_axes
from monai_isles.reports.palette import INK

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ARTERY, _VEIN = "#d8323c", "#3277d8"


def vessel_curves(aif_hu: np.ndarray, vof_hu: np.ndarray | None, dt_s: float) -> Figure:
    """Return the arterial and, where there is one, the venous curve over time.

    Shapes: (T,).  Units: HU over baseline, s.
    """
    figure = blank(6.4, 2.6)
    (place,) = plot_axes(figure, 1, 1)
    for curve, colour, label, dash in (
        (aif_hu, _ARTERY, "artery (AIF)", "-"),
        (vof_hu, _VEIN, "vein (VOF)", (0, (5, 1.5))),
    ):
        if curve is not None:
            time = np.arange(len(curve)) * dt_s
            place.plot(time, curve, color=colour, linewidth=2, linestyle=dash, label=label)
    place.legend(frameon=False, fontsize=9, labelcolor=INK)
    place.set_xlabel("s", color=INK, fontsize=9)
    place.set_ylabel("HU over baseline", color=INK, fontsize=9)
    figure.tight_layout(pad=0.6)
    return figure
