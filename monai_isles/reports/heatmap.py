"""The score of every threshold and smallest lesion size as a heat map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from monai_isles.reports.canvas import blank
from monai_isles.reports.palette import HALO, PREDICTION, TRUTH

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def search_heatmap(
    scores: np.ndarray,
    thresholds: Sequence[float],
    sizes_vox: Sequence[int],
    chosen: tuple[float, int],
    *,
    title: str,
) -> Figure:
    """Return the grid with its numbers written in, the chosen pair framed.

    Shapes: ``scores`` ``(thresholds, sizes)``. Units: score without unit, 0.5 at best; sizes in voxels.

    Args:
        chosen: threshold and size.
        title: whose scores these are, with n.
    """
    figure = blank(1.6 + 0.72 * len(thresholds), 1.5 + 0.42 * len(sizes_vox), face="white", dpi=130)
    place = figure.subplots()
    shown = np.asarray(scores).T
    image = place.imshow(shown, cmap="viridis", aspect="auto", origin="lower")
    middle = (shown.min() + shown.max()) / 2
    for (row, column), value in np.ndenumerate(shown):
        ink = TRUTH if value < middle else HALO
        place.text(column, row, f"{value:.3f}", color=ink, fontsize=8, ha="center", va="center")
    column, row = list(thresholds).index(chosen[0]), list(sizes_vox).index(chosen[1])
    place.plot(
        np.array([-0.5, 0.5, 0.5, -0.5, -0.5]) + column,
        np.array([-0.5, -0.5, 0.5, 0.5, -0.5]) + row,
        color=PREDICTION,
        linewidth=2.5,
        clip_on=False,
    )
    place.set_xticks(range(len(thresholds)), [f"{t:g}" for t in thresholds])
    place.set_yticks(range(len(sizes_vox)), [str(s) for s in sizes_vox])
    place.set_xlabel("threshold T")
    place.set_ylabel("smallest lesion, voxels")
    place.set_title(title, fontsize=9.5, loc="left")
    figure.colorbar(image, label="score")
    figure.tight_layout(pad=0.6)
    return figure
