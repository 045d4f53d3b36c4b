"""Figures of what a number may be trusted for: reliability of the probability, agreement of the volumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import numpy as np

from monai_isles.metrics.agreement import bland_altman
from monai_isles.reports.canvas import blank, plot_axes
from monai_isles.reports.figures import Rows, paired
from monai_isles.reports.palette import INK, MARKERS, SERIES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curve = Sequence[Mapping[str, Any]]


def reliability_plot(curves: Mapping[str, Curve]) -> Figure:
    """Return the share of lesion voxels over the mean probability of each bin, one line a method.

    Units: none, 0 to 1. Args: curves: bins as ``monai_isles.metrics.Reliability.curve`` gives them, by method.
    Source: DeGroot 1983, doi:10.2307/2987588.
    """
    figure = blank(3.6, 3.5)
    (place,) = plot_axes(figure, 1, 1)
    place.plot([0, 1], [0, 1], color=INK, alpha=0.55, linewidth=1, linestyle=(0, (5, 3)))
    for index, (name, curve) in enumerate(curves.items()):
        filled = [one for one in curve if one["voxels"]]
        points = np.array([(one["probability"], one["lesion"]) for one in filled], dtype=np.float64).reshape(-1, 2)
        place.plot(
            points[:, 0],
            points[:, 1],
            color=SERIES[index % len(SERIES)],
            marker=MARKERS[index % len(MARKERS)],
            markersize=4.5,
            linewidth=1.6,
            label=shorten(name, 34, placeholder="…"),
        )
    place.set_xlim(-0.02, 1.02)
    place.set_ylim(-0.02, 1.02)
    place.set_aspect("equal", adjustable="box")
    place.set_xlabel("probability of the map", color=INK, fontsize=9)
    place.set_ylabel("share of lesion voxels", color=INK, fontsize=9)
    if len(curves) > 1:
        place.legend(frameon=False, fontsize=8.5, labelcolor=INK)
    figure.tight_layout(pad=0.6)
    return figure


def bland_altman_plot(per_case: Mapping[str, Rows]) -> Figure:
    """Return predicted minus reference volume over the mean of both, one panel a method, with bias and limits.

    Units: ml. Args: per_case: rows with ``lesion_ml_ref`` and ``lesion_ml_pred``, by method.
    Source: Bland and Altman 1986, doi:10.1016/S0140-6736(86)90837-8.
    """
    columns = min(len(per_case), 4)
    figure = blank(2.9 * columns + 0.5, 2.7 * -(-len(per_case) // columns) + 0.35)
    places = plot_axes(figure, -(-len(per_case) // columns), columns)
    for place, (index, (name, cases)) in zip(places, enumerate(per_case.items()), strict=False):
        pair = paired(cases, "lesion_ml_ref", "lesion_ml_pred")
        found = bland_altman(pair[:, 1], pair[:, 0])
        colour, marker = SERIES[index % len(SERIES)], MARKERS[index % len(MARKERS)]
        difference = pair[:, 1] - pair[:, 0]
        place.scatter(pair.mean(axis=1), difference, s=24, color=colour, marker=marker, alpha=0.75, linewidths=0)
        lines = ((found["bias_ml"], "-"), (found["lower_ml"], (0, (5, 3))), (found["upper_ml"], (0, (5, 3))))
        for height, style in ((height, style) for height, style in lines if height is not None):
            place.axhline(height, color=INK, alpha=0.65, linewidth=1.2, linestyle=style)
        limits = "" if found["sd_ml"] is None else f", {found['lower_ml']:.1f} to {found['upper_ml']:.1f}"
        bias = "–" if found["bias_ml"] is None else f"{found['bias_ml']:+.1f} ml{limits}"
        title = f"{shorten(name, 34, placeholder='…')}\nbias {bias}"
        place.set_title(title, color=INK, fontsize=9.5, loc="left")
        place.set_xlabel("mean of both, ml", color=INK, fontsize=9)
        place.set_ylabel("predicted - reference, ml" if index % columns == 0 else "", color=INK, fontsize=9)
    for place in places[len(per_case) :]:
        place.set_visible(False)
    figure.tight_layout(pad=0.6)
    return figure
