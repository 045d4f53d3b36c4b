"""Plot a cohort: predicted against reference volumes, and Dice by method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import shorten
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from monai_isles.metrics.volume import bland_altman, r2_identity
from monai_isles.reports.canvas import HALO, INK, MARKERS, PREDICTION, SERIES, TRUTH, blank, plot_axes


def search_heatmap(
    scores: np.ndarray, thresholds: Sequence[float], sizes_vox: Sequence[int], chosen: tuple[float, int], *, title: str
) -> Figure:
    """Return the grid of scores ``(thresholds, sizes)`` with its numbers written in, the chosen pair framed."""
    figure = blank(1.6 + 0.72 * len(thresholds), 1.5 + 0.42 * len(sizes_vox), face="white", dpi=130)
    place = figure.subplots()
    shown = np.asarray(scores).T
    image = place.imshow(shown, cmap="viridis", aspect="auto", origin="lower")
    middle = (shown.min() + shown.max()) / 2
    for (row, column), value in np.ndenumerate(shown):
        ink = TRUTH if value < middle else HALO
        place.text(column, row, f"{value:.3f}", color=ink, fontsize=8, ha="center", va="center")
    column, row = list(thresholds).index(chosen[0]), list(sizes_vox).index(chosen[1])
    right, up = np.array([-0.5, 0.5, 0.5, -0.5, -0.5]), np.array([-0.5, -0.5, 0.5, 0.5, -0.5])
    place.plot(column + right, row + up, color=PREDICTION, linewidth=2.5, clip_on=False)
    place.set_xticks(range(len(thresholds)), [f"{t:g}" for t in thresholds])
    place.set_yticks(range(len(sizes_vox)), [str(s) for s in sizes_vox])
    place.set(xlabel="threshold T", ylabel="smallest lesion, voxels")
    place.set_title(title, fontsize=9.5, loc="left")
    figure.colorbar(image, label="score")
    figure.tight_layout(pad=0.6)
    return figure


Rows = Sequence[Mapping[str, Any]]


def volume_scatter(per_case: Mapping[str, Rows]) -> Figure:
    """Return predicted against reference lesion volume, one panel a method, with the identity line and R2 about it.

    The axes are linear up to 1 ml and logarithmic above, so that empty masks and 0.8 to 260 ml fit one plot.
    """
    figure, panels = _volume_panels(per_case, (2.75, 3.0), "reference, ml", "predicted, ml")
    top = 1.3 * max([10.0, *(float(pair.max()) for _, _, pair, _ in panels if pair.size)])
    for place, name, pair, look in panels:
        _volumes(place, top)
        place.scatter(pair[:, 0], pair[:, 1], s=26, zorder=3, **look)
        r2 = r2_identity(pair[:, 1], pair[:, 0])
        _entitle(place, name, f"R² {r2:.2f}, n {len(pair)}" if np.isfinite(r2) else f"n {len(pair)}")
    return figure


def _volume_panels(
    per_case: Mapping[str, Rows], panel_in: tuple[float, float], x: str, y: str
) -> tuple[Figure, list[tuple[Axes, str, np.ndarray, dict[str, Any]]]]:
    """Return a figure, and of each method axes, name, reference and predicted ml (n, 2), and the look of its points."""
    columns = min(len(per_case), 4)
    rows = -(-len(per_case) // columns)
    figure, places = plot_axes(panel_in[0] * columns + 0.5, panel_in[1] * rows + 0.35, rows, columns)
    panels = []
    for index, (place, (name, cases)) in enumerate(zip(places, per_case.items(), strict=False)):
        place.set(xlabel=x, ylabel=y if index % columns == 0 else "")
        look = {"color": SERIES[index % len(SERIES)], "marker": MARKERS[index % len(MARKERS)]}
        pair = finite_rows(cases, "lesion_ml_ref", "lesion_ml_pred")
        panels.append((place, name, pair, {**look, "alpha": 0.75, "linewidths": 0}))
    for place in places[len(panels) :]:
        place.set_visible(False)
    return figure, panels


def _entitle(place: Axes, name: str, facts: str) -> None:
    title = f"{shorten(name, 34, placeholder='…')}\n{facts}"
    place.set_title(title, color=INK, fontsize=9.5, loc="left")


def dice_plot(per_case: Mapping[str, Rows]) -> Figure:
    """Return one line a method: every case's Dice as a dot, quartiles as a box, the median as a bar and in numbers."""
    figure, (place,) = plot_axes(7.2, 0.62 * len(per_case) + 0.95)
    labels = []
    for index, (name, cases) in enumerate(per_case.items()):
        values = finite_rows(cases, "dsc")[:, 0]
        labels.append(f"{shorten(name, 34, placeholder='…')}, n {len(values)}")
        _strip(place, index, values, SERIES[index % len(SERIES)], MARKERS[index % len(MARKERS)])
        median = f"{np.median(values):.2f}" if values.size else "–"
        place.text(1.03, index, median, color=INK, fontsize=10, va="center", weight="bold")
    place.text(1.03, -0.72, "median", color=INK, fontsize=8.5, va="center")
    place.set_yticks(range(len(per_case)), labels)
    place.tick_params(axis="y", length=0)
    place.set(xlim=(-0.02, 1.02), ylim=(len(per_case) - 0.45, -0.6), xlabel="Dice coefficient")
    place.grid(visible=False, axis="y")
    return figure


def finite_rows(rows: Rows, *keys: str) -> np.ndarray:
    """Return the rows where each of these columns holds a finite number. Shapes: (n, keys)."""
    numbers = np.array([[number(row.get(key)) for key in keys] for row in rows]).reshape(-1, len(keys))
    return numbers[np.isfinite(numbers).all(axis=1)]


def number(value: object) -> float:
    """Return the value as a float, or nan if it is no number."""
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return float("nan")


def _volumes(place: Axes, top: float) -> None:
    place.plot([0, top], [0, top], color=INK, alpha=0.55, linewidth=1, linestyle=(0, (5, 3)))
    place.set_xscale("symlog", linthresh=1, linscale=0.5)
    place.set_yscale("symlog", linthresh=1, linscale=0.5)
    place.set(xlim=(-0.15, top), ylim=(-0.15, top))
    for axis in (place.xaxis, place.yaxis):
        axis.set_major_locator(FixedLocator([t for t in (0, 1, 3, 10, 30, 100, 300, 1000) if t <= top]))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    place.set_aspect("equal", adjustable="box")


def _strip(place: Axes, row: int, values: np.ndarray, colour: str, marker: str) -> None:
    if not values.size:
        return
    low, middle, high = np.percentile(values, (25, 50, 75))
    place.barh(row, high - low, left=low, height=0.56, color=colour, alpha=0.22, linewidth=0)
    order = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    spread = row + 0.2 * ((order * 0.618) % 1 - 0.5) * 2
    place.scatter(values, spread, s=20, color=colour, marker=marker, alpha=0.8, linewidths=0, zorder=3)
    place.plot([middle, middle], [row - 0.3, row + 0.3], color=INK, linewidth=2, zorder=4)


Curve = Sequence[Mapping[str, Any]]


def reliability_plot(curves: Mapping[str, Curve]) -> Figure:
    """Return the share of lesion voxels over the mean probability of each bin, one line a method.

    Units: none, 0 to 1. Args: curves: bins as ``Reliability.curve`` holds them, by method.
    Source: DeGroot 1983, doi:10.2307/2987588.
    """
    figure, (place,) = plot_axes(3.6, 3.5)
    place.plot([0, 1], [0, 1], color=INK, alpha=0.55, linewidth=1, linestyle=(0, (5, 3)))
    for index, (name, curve) in enumerate(curves.items()):
        filled = [item for item in curve if item["voxels"]]
        points = np.array([(item["probability"], item["lesion"]) for item in filled], dtype=np.float64).reshape(-1, 2)
        look: dict[str, Any] = {"color": SERIES[index % len(SERIES)], "marker": MARKERS[index % len(MARKERS)]}
        place.plot(*points.T, **look, markersize=4.5, linewidth=1.6, label=shorten(name, 34, placeholder="…"))
    place.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="probability of the map", ylabel="share of lesion voxels")
    place.set_aspect("equal", adjustable="box")
    if len(curves) > 1:
        place.legend(frameon=False, fontsize=8.5, labelcolor=INK)
    return figure


def bland_altman_plot(per_case: Mapping[str, Rows]) -> Figure:
    """Return predicted minus reference volume over the mean of both, one panel a method, with bias and limits, ml."""
    figure, panels = _volume_panels(per_case, (2.9, 2.7), "mean of both, ml", "predicted - reference, ml")
    for place, name, pair, look in panels:
        result = bland_altman(pair[:, 1], pair[:, 0])
        place.scatter(pair.mean(axis=1), pair[:, 1] - pair[:, 0], s=24, **look)
        lines = ((result["bias_ml"], "-"), (result["lower_ml"], (0, (5, 3))), (result["upper_ml"], (0, (5, 3))))
        for height, style in ((height, style) for height, style in lines if height is not None):
            place.axhline(height, color=INK, alpha=0.65, linewidth=1.2, linestyle=style)
        limits = "" if result["sd_ml"] is None else f", {result['lower_ml']:.1f} to {result['upper_ml']:.1f}"
        bias = "–" if result["bias_ml"] is None else f"{result['bias_ml']:+.1f} ml{limits}"
        _entitle(place, name, f"bias {bias}")
    return figure
