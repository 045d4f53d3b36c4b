"""Draw the figures of the papers from our runs: bars, boxes, outlines, pseudo-DWI and true DWI."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_rgb

from monai_isles.case import Case
from monai_isles.errors import refused
from monai_isles.evaluation.pairs import on_reference_grid
from monai_isles.io.read import read_image
from monai_isles.metrics.volume import STRATA, size_stratum
from monai_isles.postprocessing.components import binarise
from monai_isles.reports.canvas import INK, SERIES, plot_axes
from monai_isles.reports.figures import finite_rows, number
from monai_isles.reports.montage import LIGHT, PANEL_IN, black_grid, letter_sides, outline, set_titles, write
from monai_isles.reports.views import SYNTHETIC, even_indices, on_screen

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from monai_isles.crossval.out_of_fold import OutOfFold

LOSS_COLOURS = {"cross-entropy": "#2f6fd0", "focal": "#d03a2f"}
_GROUPS = STRATA[1:]
_BAR, _BOX = 0.36, 0.8


def architecture_bars(rows: Sequence[Mapping[str, Any]], *, note: str = "") -> Figure:
    """Return Dice by architecture, one bar a loss: cross-entropy blue, focal red, error bars of one sd, n in the title.

    Args:
        rows: ``{"architecture", "loss", "mean", "sd", "n"}``, drawn in their order; a mean of None leaves a gap.
    Source: Abulnaga and Rubin 2018 (doi:10.1007/978-3-030-11723-8_36), Figure 3.
    """
    architectures = list(dict.fromkeys(row["architecture"] for row in rows))
    losses = sorted({row["loss"] for row in rows}, key=lambda loss: (loss not in LOSS_COLOURS, loss))
    figure, (place,) = plot_axes(1.5 * len(architectures) + 1.6, 3.9, face="white", pad=0.7)
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
    tops = [row["mean"] + np.nan_to_num(number(row.get("sd"))) for row in rows if row["mean"] is not None]
    place.set(xlim=(-0.6, len(architectures) - 0.4), ylim=(0, max(0.7, 1.05 * max(tops, default=0))))
    place.set_ylabel("Dice", color=INK, fontsize=9.5)
    counts = sorted({row["n"] for row in rows if row.get("n") is not None and row["mean"] is not None})
    count = f"n {' to '.join(map(str, dict.fromkeys((counts[0], counts[-1]))))}" if counts else ""
    _entitle(place, "Dice by architecture and loss", count, note)
    place.legend(frameon=False, fontsize=9, labelcolor=INK, loc="upper right", ncols=len(losses))
    return figure


def size_group_boxes(rows: Sequence[Mapping[str, Any]], *, note: str = "") -> Figure:
    """Return Dice and relative volume error by size of the reference lesion, one box a method, every case a dot.

    Units: ml. Cases without a reference lesion belong to no group and are left out.
    Args:
        rows: ``{"method", "lesion_ml_ref", "dsc", "rve"}``, one for each case and method.
    Source: Wang, Song et al. 2020 (doi:10.1016/j.media.2020.101787), Figure 10.
    """
    cases = [(row, size_stratum(float(row["lesion_ml_ref"]))) for row in rows if float(row["lesion_ml_ref"]) > 0]
    if not cases:
        raise refused("E-REP-11", where="boxes by lesion size", found="no case with a reference lesion")
    methods = list(dict.fromkeys(row["method"] for row, _ in cases))
    room = {"pad": 0.7, "rect": (0, 0.04 + 0.035 * (len(methods) > 4), 1, 1)}  # for the legend
    figure, places = plot_axes(max(7.5, 2.2 + 1.4 * len(methods)), 7.0, 2, 1, face="white", **room)
    for place, key, label in zip(places, ("dsc", "rve"), ("Dice", "relative volume error"), strict=True):
        for index, method in enumerate(methods):
            centre, colour = (index - (len(methods) - 1) / 2) * _BOX / len(methods), SERIES[index % len(SERIES)]
            spread = np.random.default_rng(0)
            for at, wanted in enumerate(_GROUPS):
                own = [row for row, group in cases if group == wanted and row["method"] == method]
                _box(place, finite_rows(own, key)[:, 0], at + centre, 0.85 * _BOX / len(methods), colour, spread)
            place.plot([], [], "s", color=colour, label=method)
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
    return figure


def _box(place: Axes, values: np.ndarray, x: float, width: float, colour: str, spread: np.random.Generator) -> None:
    if not values.size:
        return
    style = {"color": colour, "linewidth": 1.3}
    place.boxplot(
        values, positions=[x], widths=width, manage_ticks=False, showfliers=False, patch_artist=True,
        boxprops={"facecolor": (*to_rgb(colour), 0.18), "edgecolor": colour}, whiskerprops=style, capprops=style,
        medianprops={"color": colour, "linewidth": 2.2},
    )  # fmt: skip
    dots = x + spread.uniform(-0.25, 0.25, values.size) * width
    place.scatter(dots, values, s=12, color=colour, alpha=0.7, linewidths=0, zorder=3)


def _entitle(place: Axes, what: str, count: str, note: str) -> None:
    place.set_title("; ".join(filter(None, [what, count, note])), color=INK, fontsize=10, loc="left")


Scored = tuple["OutOfFold", Sequence[Mapping[str, Any]]]
Drawn = tuple[str, np.ndarray, dict[str, np.ndarray]]


def ranked_cases(scored: Scored, key: str, count: int) -> list[tuple[Case, Mapping[str, Any]]]:
    """Return up to ``count`` scans with a lesion and their lines: at even ranks of a metric, best first.

    Source: ours; the papers name no rule for the scans of their figures.
    """
    lesions = (line for line in scored[1] if float(line["lesion_ml_ref"]) > 0)
    ranked = sorted(lesions, key=lambda line: -float(line[key]))
    cases = {case.name: case for case in scored[0].cases}
    return [(cases[str(ranked[n]["case"])], ranked[n]) for n in even_indices(len(ranked), count)]


def ranked_slices(
    results: Mapping[str, Scored], leader: str, count: int, modality: str
) -> Iterator[tuple[Case, int, np.ndarray, np.ndarray, dict[str, tuple[np.ndarray, float]]]]:
    """Yield up to ``count`` scans at even ranks of the leader's Dice, each as its slice with most lesion.

    Of each: case, number of the slice, image and true lesion ``(H, W)``, and by method its lesion ``(H, W)`` and Dice.
    """
    files = results[leader][0].files(modality)
    for case, _ in ranked_cases(results[leader], "dsc", count):
        masks, dice = {}, {}
        for name, (result, lines) in results.items():
            probability, reference = result.read(case)
            masks[name] = binarise(probability, 0.5, 0)
            dice[name] = next(float(line["dsc"]) for line in lines if line["case"] == case.name)
        truth = reference.data > 0  # the same for every method
        level = int(np.argmax(truth.sum((0, 1))))
        image = on_reference_grid(read_image(files[case.name], kind=modality), reference, case, kind=modality).data
        yield case, level, image[..., level], truth[..., level], {k: (masks[k][..., level], dice[k]) for k in masks}


def lesion_slices(results: Mapping[str, Scored], count: int) -> list[Drawn]:
    """Return ``(title, image, masks by name)`` of the ``ranked_slices`` by the first method.  Units: CT, HU in 0..80.

    Source: Figure 4 of Abulnaga & Rubin 2018 (doi:10.1007/978-3-030-11723-8_36).
    """
    drawn: list[Drawn] = []
    for case, _, image, truth, lesions in ranked_slices(results, next(iter(results)), count, "ct"):
        title = f"{case.name}: Dice " + ", ".join(f"{dice:.2f}" for _, dice in lesions.values())
        masks = {"truth": truth, **{name: mask for name, (mask, _) in lesions.items()}}
        drawn.append((title, np.clip(image, 0, 80), masks))
    return drawn


CONTOURS = {"truth": "orange", "focal": "red", "cross-entropy": "cyan"}
_HEAD_IN, _FOOT_IN = 0.42, 0.34
_FULL_DIFFERENCE = 0.5


def contour_grid(
    cases: Sequence[Drawn], colours: Mapping[str, str] = CONTOURS, *, columns: int = 3, note: str = ""
) -> Figure:
    """Return one picture a case with the outline of every mask, the colours named below.

    Shapes: image and masks (H, W) in array order, RAS+; shown front up, the patient's right on the left.
    Source: Abulnaga and Rubin 2018 (doi:10.1007/978-3-030-11723-8_36), Figure 4.
    """
    if not cases:
        raise refused("E-REP-12", where="picture of several cases", found="no case")
    columns = min(columns, len(cases))
    axes = _grid(-(-len(cases) // columns), columns, [image.shape for _, image, _ in cases], head_in=0.0)
    for place, (title, image, masks) in zip(axes.flat, cases, strict=False):
        _grey(place, image, tuple(np.percentile(image, (1, 99.5))))
        write(place, title, 0.03, 0.975, va="top")
        letter_sides(place)
        for name, mask in masks.items():
            outline(place, _turn(mask).astype(bool), colours[name], 1.2)
    named = list(dict.fromkeys(name for *_, masks in cases for name in masks))
    _legend(axes.flat[0].figure, [(name, colours[name]) for name in named], note)
    return axes.flat[0].figure


def pseudo_dwi_montage(cases: Sequence[Mapping[str, Any]], *, note: str = "") -> Figure:
    """Return one row a case: true DWI, pseudo-DWI, their difference, the lesion outlined in all, SSIM and PSNR.

    Shapes: (H, W) each, array order, RAS+; shown front up, the patient's right on the left.
    Units: both images scaled 0 to 1; difference pseudo minus true, red where the pseudo-DWI is too bright, -0.5 to 0.5.
    Args:
        cases: ``{"title", "true", "pseudo", "lesion", "ssim", "psnr_db"}``; ``local_ssim`` and ``local_psnr_db`` are
            written too where they are there, a number of None is left out.
    Source: Wang, Song et al. 2020 (doi:10.1016/j.media.2020.101787), Figures 6 and 7; the difference is ours.
    """
    if not cases:
        raise refused("E-REP-12", where="picture of several cases", found="no case")
    axes = _grid(len(cases), 3, [case["true"].shape for case in cases], head_in=_HEAD_IN)
    for places, case in zip(axes, cases, strict=True):
        _grey(places[0], case["true"], (0.0, 1.0))
        _grey(places[1], case["pseudo"], (0.0, 1.0))
        apart = _turn(case["pseudo"]).astype(np.float32) - _turn(case["true"])
        places[2].imshow(apart, cmap=colormaps["RdBu_r"], vmin=-_FULL_DIFFERENCE, vmax=_FULL_DIFFERENCE)
        for place in places:
            outline(place, _turn(case["lesion"]).astype(bool), CONTOURS["truth"], 1.2)
        write(places[0], case["title"], 0.03, 0.975, va="top")
        write(places[1], "synthetic", 0.97, 0.975, ha="right", va="top")
        write(places[1], _quality(case), 0.03, 0.03)
        for place in (places[0], places[2]):  # the quality stands where the letter would in the middle
            letter_sides(place)
    scale = f"-{_FULL_DIFFERENCE:g} (blue) to +{_FULL_DIFFERENCE:g} (red)"
    titles = ("true DWI", SYNTHETIC["pseudo_dwi"], f"pseudo minus true\n{scale}")
    set_titles(axes[0], titles, fontsize=8)
    _legend(axes.flat[0].figure, [("lesion", CONTOURS["truth"])], note)
    return axes.flat[0].figure


def _quality(case: Mapping[str, Any]) -> str:
    lines = []
    for where, ssim, psnr in (("", "ssim", "psnr_db"), ("lesion: ", "local_ssim", "local_psnr_db")):
        text = [f"SSIM {case[ssim]:.2f}"] if case.get(ssim) is not None else []
        text += [f"PSNR {case[psnr]:.1f} dB"] if case.get(psnr) is not None else []
        lines += [where + ", ".join(text)] if text else []
    return "\n".join(lines)


def _turn(plane: np.ndarray) -> np.ndarray:
    return on_screen(np.asarray(plane)[..., None], 0, np.s_[:, :])


def _grey(place: Axes, image: np.ndarray, window: tuple[float, float]) -> None:
    place.imshow(_turn(image), cmap="gray", vmin=window[0], vmax=window[1], interpolation="nearest")


def _grid(rows: int, columns: int, shapes: Sequence[tuple[int, int]], *, head_in: float) -> np.ndarray:
    panel_in = PANEL_IN * max(height / width for width, height in shapes)
    return black_grid(rows, columns, panel_in, head_in=head_in, foot_in=_FOOT_IN, dpi=143)


def _legend(figure: Figure, named: Sequence[tuple[str, str]], note: str) -> None:
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], color=colour, linewidth=2, label=name) for name, colour in named]
    lines += [Line2D([], [], linewidth=0, label=note)] if note else []
    figure.legend(
        handles=lines, loc="lower center", ncols=len(lines), frameon=False, labelcolor=LIGHT, fontsize=8,
        handlelength=1.4, columnspacing=1.4, borderaxespad=0.3,
    )  # fmt: skip
