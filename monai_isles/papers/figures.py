"""The figures of the papers, drawn from our runs: bars by architecture, boxes by lesion size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from monai_isles.errors import IslesError, refused
from monai_isles.metrics.volume import STRATA, size_stratum
from monai_isles.reports.canvas import INK, SERIES, blank, plot_axes
from monai_isles.reports.figures import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOSS_COLOURS = {"cross-entropy": "#2f6fd0", "focal": "#d03a2f"}
_GROUPS = STRATA[1:]
_BAR, _BOX = 0.36, 0.8


def architecture_bars(rows: Sequence[Mapping[str, Any]], *, note: str = "") -> Figure:
    """Return Dice by architecture, one bar a loss: cross-entropy blue, focal red, error bars of one sd, n in the title.

    Args:
        rows: ``{"architecture", "loss", "mean", "sd", "n"}``, drawn in their order; a mean of None leaves a gap.
        note: added to the title, ``simulated data`` for example.
    Raises:
        IslesError: ``E-REP-11`` without rows, or with two for one bar.
    Source: Abulnaga and Rubin 2018 (doi:10.1007/978-3-030-11723-8_36), Figure 3.
    """
    _require_single(rows, ("architecture", "loss"), "bars by architecture")
    architectures = list(dict.fromkeys(row["architecture"] for row in rows))
    losses = sorted({row["loss"] for row in rows}, key=lambda loss: (loss not in LOSS_COLOURS, loss))
    figure = blank(1.5 * len(architectures) + 1.6, 3.9, face="white")
    (place,) = plot_axes(figure, 1, 1)
    place.grid(visible=False, axis="x")
    width = 2 * _BAR / len(losses)
    for index, loss in enumerate(losses):
        bars = [row for row in rows if row["loss"] == loss and row["mean"] is not None]
        centre = (index - (len(losses) - 1) / 2) * width
        x = [architectures.index(row["architecture"]) + centre for row in bars]
        colour = LOSS_COLOURS.get(loss, SERIES[(index + 2) % len(SERIES)])
        heights, spread = [row["mean"] for row in bars], [number(row.get("sd")) for row in bars]
        place.bar(x, heights, 0.92 * width, color=colour, label=loss)
        place.errorbar(x, heights, yerr=np.nan_to_num(spread), fmt="none", ecolor=INK, capsize=4, linewidth=1.2)
        for at, height in zip(x, heights, strict=True):
            place.text(at, 0.015, f"{height:.2f}", ha="center", va="bottom", color="white", fontsize=8.5)
    place.set_xticks(range(len(architectures)), architectures)
    place.set_xlim(-0.6, len(architectures) - 0.4)
    place.set_ylim(0, max(0.7, 1.05 * max(_tops(rows), default=0)))
    place.set_ylabel("Dice", color=INK, fontsize=9.5)
    _entitle(place, "Dice by architecture and loss", _counts(rows), note)
    place.legend(frameon=False, fontsize=9, labelcolor=INK, loc="upper right", ncols=len(losses))
    figure.tight_layout(pad=0.7)
    return figure


def size_group_boxes(rows: Sequence[Mapping[str, Any]], *, note: str = "") -> Figure:
    """Return Dice and relative volume error by size of the reference lesion, one box a method, every case a dot.

    Units: ml. Cases without a reference lesion belong to no group and are left out.
    Args:
        rows: ``{"method", "lesion_ml_ref", "dsc", "rve"}``, one a case and method.
        note: added to the title.
    Raises:
        IslesError: ``E-REP-11`` without a case that has a lesion.
    Source: Wang, Song et al. 2020 (doi:10.1016/j.media.2020.101787), Figure 10.
    """
    cases = [(row, size_stratum(float(row["lesion_ml_ref"]))) for row in rows if float(row["lesion_ml_ref"]) > 0]
    if not cases:
        raise _nothing("boxes by lesion size", "no case with a reference lesion")
    methods = list(dict.fromkeys(row["method"] for row, _ in cases))
    figure = blank(max(7.5, 2.2 + 1.4 * len(methods)), 7.0, face="white")
    places = plot_axes(figure, 2, 1)
    for place, key, label in zip(places, ("dsc", "rve"), ("Dice", "relative volume error"), strict=True):
        for index, method in enumerate(methods):
            values = [
                [number(row[key]) for row, group in cases if group == wanted and row["method"] == method]
                for wanted in _GROUPS
            ]
            centre = (index - (len(methods) - 1) / 2) * _BOX / len(methods)
            _boxes(place, values, centre, 0.85 * _BOX / len(methods), SERIES[index % len(SERIES)], method)
        count = {group: sum(g == group and row["method"] == methods[0] for row, g in cases) for group in _GROUPS}
        place.set_xticks(range(len(_GROUPS)), [f"{group}\nn {count[group]}" for group in _GROUPS])
        place.grid(visible=False, axis="x")
        place.set_ylabel(label, color=INK, fontsize=9.5)
    places[0].set_ylim(-0.02, 1.02)
    places[1].set_ylim(bottom=-0.02)
    _entitle(places[0], "By size of the reference lesion", f"n {len(cases) // len(methods)}", note)
    figure.legend(
        *places[0].get_legend_handles_labels(), frameon=False, fontsize=9, labelcolor=INK, ncols=min(4, len(methods)),
        loc="lower center",
    )  # fmt: skip
    figure.tight_layout(pad=0.7, rect=(0, 0.04 + 0.035 * (len(methods) > 4), 1, 1))
    return figure


def _boxes(place: Axes, values: Sequence[Sequence[float]], shift: float, width: float, colour: str, label: str) -> None:
    spread = np.random.default_rng(0)
    for group, found in enumerate(values):
        defined = np.array([value for value in found if np.isfinite(value)])
        if not defined.size:
            continue
        style = {"color": colour, "linewidth": 1.3}
        place.boxplot(
            defined, positions=[group + shift], widths=width, manage_ticks=False, showfliers=False, patch_artist=True,
            boxprops={"facecolor": (*_rgb(colour), 0.18), "edgecolor": colour}, whiskerprops=style, capprops=style,
            medianprops={"color": colour, "linewidth": 2.2},
        )  # fmt: skip
        dots = group + shift + spread.uniform(-0.25, 0.25, defined.size) * width
        place.scatter(dots, defined, s=12, color=colour, alpha=0.7, linewidths=0, zorder=3)
    place.plot([], [], "s", color=colour, label=label)


def _rgb(colour: str) -> tuple[float, float, float]:
    from matplotlib.colors import to_rgb

    return to_rgb(colour)


def _entitle(place: Axes, what: str, count: str, note: str) -> None:
    place.set_title("; ".join(filter(None, [what, count, note])), color=INK, fontsize=10, loc="left")


def _counts(rows: Sequence[Mapping[str, Any]]) -> str:
    counts = sorted({row["n"] for row in rows if row.get("n") is not None and row["mean"] is not None})
    return f"n {' to '.join(map(str, dict.fromkeys((counts[0], counts[-1]))))}" if counts else ""


def _tops(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    return [row["mean"] + np.nan_to_num(number(row.get("sd"))) for row in rows if row["mean"] is not None]


def _require_single(rows: Sequence[Mapping[str, Any]], keys: Sequence[str], where: str) -> None:
    named = [tuple(row[key] for key in keys) for row in rows]
    if not rows:
        raise _nothing(where, "no row")
    doubled = sorted({name for name in named if named.count(name) > 1})
    if doubled:
        raise _nothing(where, f"two rows for {', '.join(doubled[0])}")


def _nothing(where: str, found: str) -> IslesError:
    return refused("E-REP-11", where=where, found=found)
