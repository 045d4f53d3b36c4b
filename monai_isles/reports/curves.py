"""Plot curves: of a training, as the paper's Figure 3; of artery, vein and movement."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from monai_isles.errors import refused
from monai_isles.reports.canvas import INK, SERIES, blank, plot_axes
from monai_isles.reports.montage import LIGHT, letter_sides
from monai_isles.reports.views import LOOKS, CaseView, on_screen

Curve = Sequence[Mapping[str, float]]
_FIX = "give the curves.csv that training wrote: one row an epoch, numbers only"
_PANELS = (
    ("loss", (("train_loss", "training"), ("val_loss", "validation"))),
    ("accuracy of patch voxels", (("train_accuracy", "training"), ("val_accuracy", "validation"))),
    ("early-stop metric: L1 + error rate", (("val_l1_error", "validation"),)),
    ("Dice of validation", (("val_dsc", "validation"),)),
)


def read_curves(path: str | Path) -> list[dict[str, float]]:
    """Read the curves that training wrote; blanks become nan."""
    path = Path(path)
    if not path.is_file():
        raise refused("E-REP-01", where=str(path), found="no such file", fix=_FIX)
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
        curves = [{key: float(value or "nan") for key, value in row.items()} for row in rows]
    except (ValueError, TypeError) as error:
        raise refused("E-REP-07", where=str(path), found=str(error), fix=_FIX) from error
    if not curves or "epoch" not in curves[0]:
        result = f"{len(curves)} rows, columns {', '.join(curves[0]) if curves else 'none'}"
        raise refused("E-REP-07", where=str(path), found=result, fix=_FIX)
    return curves


def best_epoch(curves: Curve) -> int | None:
    """Return the epoch of the lowest early-stop metric, else of the highest validation Dice, else None."""
    for key, sign in (("val_l1_error", 1.0), ("val_dsc", -1.0)):
        values = sign * _column(curves, key)
        if np.isfinite(values).any():
            return int(curves[int(np.nanargmin(values))]["epoch"])
    return None


def training_curves(curves: Curve) -> Figure:
    """Return loss, accuracy, early-stop metric and validation Dice over epochs, the best epoch marked in all.

    A panel whose columns are absent is left out. Units: epochs; the rest without unit.
    Source: Clerigues 2019 (doi:10.1016/j.compbiomed.2019.103487), Figure 3.
    """
    known = {key for _, lines in _PANELS for key, _ in lines if np.isfinite(_column(curves, key)).any()}
    shown = [(title, lines) for title, lines in _PANELS if known & {key for key, _ in lines}]
    columns = 2 if len(shown) > 1 else 1
    rows = max(1, -(-len(shown) // columns))
    figure, places = plot_axes(4.4 * columns, 2.3 * rows + 0.2, rows, columns, pad=0.7)
    best = best_epoch(curves)
    for place, (title, lines) in zip(places, shown, strict=False):
        _draw(place, curves, lines, best)
        place.set_title(title, color=INK, fontsize=10, loc="left")
    for place in places[len(shown) :]:
        place.set_visible(False)
    return figure


def _draw(place: Axes, curves: Curve, lines: Sequence[tuple[str, str]], best: int | None) -> None:
    epochs = _column(curves, "epoch")
    for (key, label), colour, style in zip(lines, SERIES, ("-", (0, (4, 1.5))), strict=False):
        values = _column(curves, key)
        known = np.isfinite(values)  # validation may skip epochs
        if known.any():
            dash = "-" if label == "training" or len(lines) == 1 else style
            look: dict[str, Any] = {"color": colour, "linestyle": dash, "marker": "o" if len(epochs) < 12 else None}
            place.plot(epochs[known], values[known], **look, linewidth=1.8, markersize=3.5, label=label)
    if best is not None:
        place.axvline(best, color=INK, alpha=0.6, linewidth=1, linestyle=(0, (2, 2)))
        where: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
        side, off = ("left", 3) if best < epochs.mean() else ("right", -3)
        place.annotate(f"best {best}", (best, 1), (off, -2), **where, color=INK, fontsize=8, va="top", ha=side)
    if len(lines) > 1:
        place.legend(frameon=False, fontsize=8.5, labelcolor=INK)
    place.set_xlabel("epoch")
    place.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _column(curves: Curve, key: str) -> np.ndarray:
    return np.array([row.get(key, np.nan) for row in curves], dtype=np.float64)


_FELL_BACK = {
    "no_rise": "no run of rises: first frame",
    "no_fall": "no run of falls: last frame",
    "crossed": "the falls end before the rises begin: whole series",
}


def stage_text(stage: Mapping[str, Any]) -> str:
    """Return a sentence on the perfusion stage of a series: its frames, counted from 1, and the fallbacks."""
    fallbacks = "".join(f"; {_FELL_BACK[name]}" for name in stage["fallbacks"])
    return f"Perfusion stage: frames {stage['t_s'] + 1} to {stage['t_e'] + 1} of {len(stage['curve'])}{fallbacks}."


def stage_curves(stages: Sequence[tuple[str, Mapping[str, Any]]]) -> Figure:
    """Return one panel a series: its summed intensity over the frames, start T_s and end T_e of the stage marked.

    Units: frames, counted from 1; the intensity as a share of its range.
    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), Figure 3.
    """
    figure, places = plot_axes(4.4 * len(stages), 2.6, 1, len(stages), pad=0.7)
    for place, (title, stage) in zip(places, stages, strict=True):
        curve = np.asarray(stage["curve"], dtype=np.float64)
        share = (curve - curve.min()) / max(float(np.ptp(curve)), 1e-12)
        place.plot(np.arange(1, len(share) + 1), share, color=SERIES[0], linewidth=1.8)
        for name, at, side in (("T_s", stage["t_s"] + 1, "right"), ("T_e", stage["t_e"] + 1, "left")):
            place.axvline(at, color=INK, linewidth=1, linestyle=(0, (4, 2)))
            place.text(at, 1.0, f" ${name}$ {at} ", color=INK, fontsize=9, va="top", ha=side)
        place.set_title(title, color=INK, fontsize=10, loc="left")
        place.set_xlabel("frame")
    return figure


_ARTERY, _VEIN = "#d8323c", "#3277d8"
Line = tuple[Sequence[float] | np.ndarray, str, str, Any]


def vessel_curves(aif_hu: Sequence[float], vof_hu: Sequence[float] | None, dt_s: float) -> Figure:
    """Return the arterial and, where there is one, the venous curve over time. Units: HU over baseline, s."""
    artery = (aif_hu, _ARTERY, "artery (AIF)", "-")
    vein = [] if vof_hu is None else [(vof_hu, _VEIN, "vein (VOF)", (0, (5, 1.5)))]
    return _over_time([artery, *vein], dt_s, "HU over baseline", 2.6, 2, fontsize=9)


def _over_time(lines: Sequence[Line], dt_s: float, unit: str, height_in: float, width: float, **legend: Any) -> Figure:
    """Return a figure with values (T,), colour, label and dash of each line over the seconds, and a legend."""
    figure, (place,) = plot_axes(6.4, height_in)
    for values, colour, label, dash in lines:
        place.plot(np.arange(len(values)) * dt_s, values, color=colour, linestyle=dash, linewidth=width, label=label)
    place.set(xlabel="s", ylabel=unit)
    place.legend(frameon=False, labelcolor=INK, **legend)
    return figure


def vessel_places(case: CaseView) -> Figure:
    """Return the CT slices with most voxels of the arterial and of the venous curve, those voxels marked."""
    chosen = (("aif_vox", _ARTERY, "artery (AIF)"), ("vof_vox", _VEIN, "vein (VOF)"))
    results = [(np.array(case.record[key]), colour, name) for key, colour, name in chosen if case.record.get(key)]
    figure = blank(3.2 * len(results), 3.6, face="black")
    (low, high), box = LOOKS["ct"].window, case.box
    for place, (voxels, colour, name) in zip(figure.subplots(1, len(results), squeeze=False)[0], results, strict=True):
        k = int(np.bincount(voxels[:, 2]).argmax())
        here = voxels[voxels[:, 2] == k]
        place.imshow(on_screen(case.images["ct"], k, box), cmap="gray", vmin=low, vmax=high, aspect=case.aspect)
        columns, rows = box[0].stop - 1 - here[:, 0], box[1].stop - 1 - here[:, 1]
        place.plot(columns, rows, "s", color=colour, markersize=5, markerfacecolor="none", markeredgewidth=1.4)
        title = f"{name}: slice {k + 1}, {len(here)} of {len(voxels)} voxels"
        place.set_title(title, color=LIGHT, fontsize=9)
        place.set_axis_off()
        letter_sides(place)
    figure.tight_layout(pad=0.5)
    return figure


def motion_curves(path: np.ndarray, dt_s: float) -> Figure:
    """Return the in-plane movement (T, 3) over time: to the right and to the front in mm, and the turn in degrees."""
    labels = ("to the right, mm", "to the front, mm", "turn to the left, degrees")
    lines = [*zip(path.T, SERIES, labels, ("-", (0, (5, 1.5)), (0, (1, 1.2))), strict=False)]
    beside: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0), "fontsize": 8.5}
    return _over_time(lines, dt_s, "", 2.4, 1.8, **beside)
