"""Draw slices of a case: maps, probability, uncertainty, outlines, agreement of prediction and reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from monai_isles.modalities import MODALITIES
from monai_isles.reports import canvas as palette
from monai_isles.reports.canvas import blank
from monai_isles.reports.views import ANATOMY, LOOKS, MAPS, MASKS, SYNTHETIC, CaseView, even_indices, on_screen
from monai_isles.transforms.mirror import Grid, Mirror, apply_mirror


@dataclass(frozen=True)
class Panel:
    """Hold one column: its volume (H, W, D), where and in which window it is shown, and a ``mark`` on it."""

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
        """Return the colour map in few steps, which keeps the file small; voxels outside the brain are black."""
        return colormaps[self.cmap].resampled(32).with_extremes(bad="black")

    def screen_slice(self, k: int, box: tuple[slice, slice]) -> np.ndarray:
        """Return slice ``k`` in screen orientation, NaN outside the shown part. Shapes: (rows, columns)."""
        picture = on_screen(self.volume, k, box).astype(np.float32)
        return picture if self.inside is None else np.where(on_screen(self.inside, k, box), picture, np.nan)


def panels(case: CaseView) -> list[Panel]:
    """Return the columns for the images of the case: anatomy, synthetic images, maps, predictions.

    Units: CT and maps in the colours and windows of ``LOOKS``, the same on every page, a map in another unit from 0 to
    its percentile there; uncertainty from 0 to its 99.9th percentile, at least 0.05; a synthetic pseudo-DWI 0 to 1, as
    the true one is scaled for training.
    """
    inside, columns = case.brain, list(_images(case))
    if case.probability is not None:
        columns.append(Panel("lesion probability", case.probability, (0.0, 1.0), "viridis", inside=inside))
    if case.uncertainty is not None:
        top = max(0.05, _high(case.uncertainty, 99.9, inside))
        columns.append(Panel("uncertainty", case.uncertainty, (0.0, top), "cividis", outlines=False, inside=inside))
    return columns or [Panel("prediction", case.lesion.astype(np.float32), (0.0, 1.0), "gray", outlines=False)]


def drawn_keys(keys: Sequence[str]) -> list[str]:
    """Return the images of a case to draw, in order: four of CT perfusion, all of MRI, no series."""
    if "ct" in keys:
        return [key for key in ("ct", "dwi", "cbf", "tmax") if key in keys]
    return [key for key in (*ANATOMY, *MAPS) if key in keys]


def _images(case: CaseView) -> Iterator[Panel]:
    images = case.images
    for key in (key for key in ANATOMY if key in images):
        window = LOOKS["ct"].window if key == "ct" else (0.0, _high(images[key], 99.5))
        yield Panel(_title(case, key), images[key], window, "gray", MODALITIES[key].unit, outlines=False)
    for key, image in case.synthetic.items():
        yield Panel(SYNTHETIC[key], image, (0.0, 1.0), "gray", outlines=False, mark="synthetic")
    for key in (key for key in MAPS if key in images):
        # The usual window, or another one if the values show that the map is in another unit.
        look = LOOKS[key]
        top = _high(images[key], look.percentile, case.brain)
        usual = look.window[1] / 4 <= top <= 4 * look.window[1]
        window, unit = (look.window, MODALITIES[key].unit) if usual else ((0.0, top), "")
        yield Panel(_title(case, key), images[key], window, look.colours, unit, inside=case.brain)


def _title(case: CaseView, key: str) -> str:
    read = case.result.get("modalities")
    title = LOOKS[key].title if key in LOOKS else {"t1c": "T1 with contrast"}.get(key, key.upper())
    return title if not read or key in read else f"{title}\n(not an input)"


def _high(volume: np.ndarray, percentile: float, inside: np.ndarray | None = None) -> float:
    shown = volume[volume > 0] if inside is None else volume[(volume > 0) & inside]
    if not shown.size:
        return 1.0
    top = float(np.percentile(shown, percentile))
    step = 10.0 ** np.floor(np.log10(top)) / 2
    return float(np.ceil(top / step) * step)


PANEL_IN, LIGHT = 2.0, "#e4e7eb"
_LINE_IN, _FOOT_IN, _ACROSS = 0.15, 0.42, 8


def case_montage(
    case: CaseView,
    slices: Sequence[int],
    *,
    headings: bool = True,
    bars: bool = True,
    columns: Sequence[Panel] | None = None,
) -> Figure:
    """Return a figure with one row a slice and one column an image, then the agreement on the first image.

    Displayed radiologically: front up, the patient's right on the left, lettered R and L. The reference is outlined in
    white, the prediction in orange and masks of thresholds in the colours of ``MASKS``; in the last column true
    positives are green, false positives red, false negatives blue. ``columns`` are ``panels`` of the case.

    Source: Clerigues 2019 (doi:10.1016/j.compbiomed.2019.103487), Figure 4, for the three colours; the rest is ours.
    """
    columns = panels(case) if columns is None else columns
    titles = [panel.title for panel in columns] + ["prediction" if case.truth is None else "agreement"]
    head_in = _LINE_IN * (1 + max(title.count("\n") + 1 for title in titles)) * headings
    axes = black_grid(len(slices), len(titles), _panel_height_in(case), head_in=head_in, foot_in=_FOOT_IN * bars)
    for row, k in enumerate(slices):
        for panel, place in zip(columns, axes[row], strict=False):
            _paint(place, panel, case, k)
        _agreement(axes[row, -1], case, columns[0], k)
        write(axes[row, 0], f"slice {k + 1} of {case.lesion.shape[2]}", 0.03, 0.975, va="top")
    if headings:
        set_titles(axes[0], titles)
    if bars:
        for place, panel in zip(axes[-1], columns, strict=False):
            _bar(place, panel)
    return axes[0, 0].figure


def map_mosaic(case: CaseView, panel: Panel) -> Figure:
    """Return slices of one image, 48 at most, the lowest first, with every outline; its scale is below."""
    shown = even_indices(case.lesion.shape[2], 48)
    columns = min(_ACROSS, len(shown))
    axes = black_grid(-(-len(shown) // columns), columns, _panel_height_in(case), foot_in=1.2 * _FOOT_IN)
    for place, k in zip(axes.flat, shown, strict=False):
        _paint(place, replace(panel, outlines=True), case, k)
        write(place, f"{k + 1}", 0.03, 0.975, va="top", bold=True)
    _bar(axes[-1, 0], panel, points=10, across=0.9)
    return axes[0, 0].figure


def methods_montage(cases: Sequence[Mapping[str, CaseView]]) -> Figure:
    """Return a figure with one row a case and one column a method: where each agrees with the reference.

    Every view of a row is the same case with another method's lesion; the slice shown has the largest reference.

    Source: Clerigues 2019 (doi:10.1016/j.compbiomed.2019.103487), Figure 4.
    """
    rows = [list(case.values()) for case in cases]
    panel_in = max(_panel_height_in(views[0]) for views in rows)
    axes = black_grid(len(rows), len(rows[0]), panel_in, head_in=2 * _LINE_IN)
    for views, places in zip(rows, axes, strict=True):
        k = int(np.argmax(cast(np.ndarray, views[0].truth).sum(axis=(0, 1))))
        for view, place in zip(views, places, strict=True):
            _agreement(place, view, panels(view)[0], k)
        write(places[0], views[0].name, 0.03, 0.975, va="top")
    set_titles(axes[0], list(cases[0]))
    return axes[0, 0].figure


def mirrored_montage(case: CaseView, k: int) -> Figure:
    """Return a figure of two rows: the images of slice ``k``, and below them their mirror images.

    A voxel of the lower row lies below its counterpart: the outline holds what the network compares with the lesion.
    CT is cut to the brain as the network's is; an image that was no input is left out. The dashed line is the midline.

    Args:
        case: its ``result`` holds ``registration``, as ``predict`` writes it.
    Source: Clerigues 2019 (doi:10.1016/j.compbiomed.2019.103487), Figure 1; ``tests/reports/test_montage.py``.
    """
    read, made = case.result.get("modalities") or case.images, case.result["registration"]
    seen = replace(case, images={key: image for key, image in case.images.items() if key in read}, synthetic={})
    mirror = Mirror(np.array(made["matrix"], float), np.array(made["shift_mm"], float))
    spacing_mm = case.spacing_mm[: len(mirror.shift_mm)]
    twin_inside = apply_mirror(seen.brain.astype(np.float32), mirror, spacing_mm) > 0
    columns = [replace(panel, inside=seen.brain, outlines=True) for panel in _images(seen)]
    twins = [replace(c, volume=apply_mirror(c.volume, mirror, spacing_mm), inside=twin_inside) for c in columns]
    axes = black_grid(2, len(columns), _panel_height_in(case), head_in=3 * _LINE_IN)
    ends = _midline(mirror, case, k)
    for row, panels_of_row in zip(axes, (columns, twins), strict=True):
        for place, panel in zip(row, panels_of_row, strict=True):
            _paint(place, panel, case, k)
            place.plot(*ends, color=LIGHT, linewidth=0.8, linestyle=(0, (4, 4)), scalex=False, scaley=False)
    write(axes[0, 0], f"slice {k + 1} of {case.lesion.shape[2]}", 0.03, 0.975, va="top")
    write(axes[1, 0], "mirrored", 0.03, 0.975, va="top")
    set_titles(axes[0], [panel.title for panel in columns])
    return axes[0, 0].figure


def _midline(mirror: Mirror, case: CaseView, k: int) -> tuple[list[float], list[float]]:
    """Return columns and rows on the screen of the midline at the back and the front edge of the box."""
    box, grid = case.box, Grid.centred(case.lesion.shape, case.spacing_mm)
    normal, columns, rows = np.append(mirror.normal, 0.0)[:3], [], []
    for j in (box[1].start, box[1].stop - 1):
        y_mm, z_mm = (np.array(grid.origin_mm) + np.array([0, j, k]) * grid.spacing_mm)[1:]
        x_mm = (mirror.offset_mm - normal[1] * y_mm - normal[2] * z_mm) / normal[0]
        columns.append(float(box[0].stop - 1 - (x_mm - grid.origin_mm[0]) / grid.spacing_mm[0]))
        rows.append(float(box[1].stop - 1 - j))
    return columns, rows


def _panel_height_in(case: CaseView) -> float:
    rows, columns = on_screen(case.lesion, 0, case.box).shape
    return PANEL_IN * rows * case.spacing_mm[1] / (columns * case.spacing_mm[0])


def black_grid(
    rows: int, columns: int, panel_in: float, *, head_in: float = 0.0, foot_in: float = 0.0, dpi: int = 100
) -> np.ndarray:
    """Return the axes, (rows, columns), of a black figure that leaves room above and below. Units: inches."""
    height = rows * panel_in + head_in + foot_in
    figure = blank(columns * PANEL_IN, height, face="black", dpi=dpi)
    edges = {"left": 0, "right": 1, "bottom": foot_in / height, "top": 1 - head_in / height}
    axes = figure.subplots(rows, columns, squeeze=False, gridspec_kw={**edges, "wspace": 0.015, "hspace": 0.015})
    for place in axes.flat:
        place.set_axis_off()
    return axes


def set_titles(axes: np.ndarray, titles: Sequence[str], *, fontsize: float = 9) -> None:
    """Write the titles above the pictures of one row."""
    for place, title in zip(axes, titles, strict=True):
        place.set_title(title, color=LIGHT, fontsize=fontsize, pad=5)


def _paint(axes: Axes, panel: Panel, case: CaseView, k: int) -> None:
    (low, high), box = panel.window, case.box
    look: dict[str, Any] = {"cmap": panel.colours, "vmin": low, "vmax": high, "aspect": case.aspect}
    axes.imshow(panel.screen_slice(k, box), **look, interpolation="nearest")
    letter_sides(axes)
    if panel.mark:
        write(axes, panel.mark, 0.97, 0.975, ha="right", va="top")
    if panel.outlines:
        for name, mask in case.masks.items():
            outline(axes, on_screen(mask, k, box), MASKS[name][1], 1.0)
        outline(axes, on_screen(case.lesion, k, box), palette.PREDICTION, 1.5)
        if case.truth is not None:
            outline(axes, on_screen(case.truth, k, box), palette.TRUTH, 1.0)


def _agreement(axes: Axes, case: CaseView, under: Panel, k: int) -> None:
    (low, high), box = under.window, case.box
    grey = np.clip((np.nan_to_num(under.screen_slice(k, box)) - low) / (high - low), 0, 1)
    picture = np.repeat(np.round(grey[..., None] * 24) / 24 * 0.75, 3, axis=2)
    result = on_screen(case.lesion, k, box).astype(bool)
    if case.truth is None:
        areas = {palette.PREDICTION: result}
    else:
        true = on_screen(case.truth, k, box).astype(bool)
        areas = {
            palette.TRUE_POSITIVE: result & true,
            palette.FALSE_POSITIVE: result & ~true,
            palette.FALSE_NEGATIVE: ~result & true,
        }
    for colour, area in areas.items():
        picture[area] = 0.3 * picture[area] + 0.7 * np.asarray(to_rgb(colour))
    axes.imshow(picture, aspect=case.aspect, interpolation="nearest")
    letter_sides(axes)


def outline(axes: Axes, mask: np.ndarray, colour: str, width: float) -> None:
    """Draw the edge of a mask, with a dark halo. Shapes: (rows, columns) as it lies on the screen."""
    if not mask.any():
        return
    rows, columns = np.arange(-1, mask.shape[0] + 1), np.arange(-1, mask.shape[1] + 1)
    lines = axes.contour(
        columns, rows, np.pad(mask.astype(np.float32), 1), levels=[0.5], colors=[colour], linewidths=width
    )
    lines.set_path_effects([withStroke(linewidth=width + 1.0, foreground=palette.HALO)])


def write(
    axes: Axes, text: str, x: float, y: float, *, ha: str = "left", va: str = "bottom", bold: bool = False
) -> None:
    """Write on a picture, with a dark halo. Units: ``x`` and ``y`` as shares of the axes."""
    look: dict[str, Any] = {"fontsize": 15, "fontweight": "bold"} if bold else {"fontsize": 8}
    label = axes.text(x, y, text, transform=axes.transAxes, color=LIGHT, ha=ha, va=va, **look)
    label.set_path_effects([withStroke(linewidth=3.5, foreground=palette.HALO)])


def letter_sides(axes: Axes) -> None:
    """Letter the patient's right and left, large enough to survive a picture shown at half its size."""
    for letter, x, ha in (("R", 0.03, "left"), ("L", 0.97, "right")):
        write(axes, letter, x, 0.03, ha=ha, bold=True)


def _bar(axes: Axes, panel: Panel, points: int = 7, across: float = 0.7) -> None:
    """Draw the scale of a panel below it, with its unit between its ends."""
    figure = cast("Figure", axes.figure)
    place, inch = axes.get_position(), 1 / figure.get_size_inches()[1]
    bar = figure.add_axes(
        (place.x0 + (1 - across) / 2 * place.width, points * inch / 29, across * place.width, 0.09 * inch)
    )
    bar.imshow(panel.colours(np.linspace(0, 1, 128))[None], aspect="auto", extent=(*panel.window, 0, 1))
    bar.set_yticks([])
    bar.set_xticks(panel.window, [f"{edge:g}" for edge in panel.window])
    bar.tick_params(colors=LIGHT, labelsize=points, length=0, pad=2)
    bar.set_xlabel(panel.unit, color=LIGHT, fontsize=points, labelpad=-points)
    bar.spines[:].set_visible(False)
