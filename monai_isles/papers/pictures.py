"""The pictures of the papers, drawn from our runs: outlines of several methods, pseudo-DWI beside the true one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps

from monai_isles.case import Case
from monai_isles.crossval.plan import DATA_LIST
from monai_isles.data.entries import load_entries
from monai_isles.errors import refused
from monai_isles.io.read import read_image
from monai_isles.papers.abulnaga import MIN_SIZE_VOX, THRESHOLD, NetworkResult
from monai_isles.postprocessing.components import binarise
from monai_isles.reports.canvas import blank
from monai_isles.reports.montage import outline, write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


TRUTH = "truth"
Drawn = tuple[str, np.ndarray, dict[str, np.ndarray]]


def lesion_slices(results: Mapping[str, NetworkResult], count: int) -> list[Drawn]:
    """Return ``(title, image, masks by name)`` of up to ``count`` scans at even ranks of the first result's Dice.

    Best first; of each scan the slice with most lesion.

    Shapes: image and masks ``(H, W)``. Units: the image is CT in HU, cut to 0..80.
    Source: Figure 4 of Abulnaga & Rubin 2018 (doi:10.1007/978-3-030-11723-8_36) names no rule for its nine scans: ours;
        ``tests/papers/test_abulnaga.py``.
    """
    first = next(iter(results.values()))
    ranked = sorted(first.cases, key=lambda line: -float(line["dsc"]))
    places = np.unique(np.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().astype(int))
    cases = {case.name: case for case in first.found.cases}
    listed = first.found.folder / DATA_LIST, first.found.plan.dataset_dir
    ct = {entry["case"]: entry["ct"] for entry in load_entries(*listed, keys=("ct",), need_label=False)}
    return [_drawn(results, cases[str(ranked[i]["case"])], str(ct[ranked[i]["case"]])) for i in places]


def _drawn(results: Mapping[str, NetworkResult], case: Case, ct: str) -> Drawn:
    volume = read_image(ct, kind="ct", where=case.name).data
    masks, dice = {}, {}
    for name, result in results.items():
        probability, reference = result.found.read(case)
        masks[name] = binarise(probability, THRESHOLD, MIN_SIZE_VOX) > 0
        dice[name] = next(float(line["dsc"]) for line in result.cases if line["case"] == case.name)
        masks = {TRUTH: reference.data > 0, **masks}
    widest = int(np.argmax(masks[TRUTH].sum((0, 1))))
    title = f"{case.name}: Dice " + ", ".join(f"{value:.2f}" for value in dice.values())
    return title, np.clip(volume[..., widest], 0, 80), {name: mask[..., widest] for name, mask in masks.items()}


CONTOURS = {"truth": "orange", "focal": "red", "cross-entropy": "cyan"}
SYNTHETIC_SAID = "synthetic pseudo-DWI,\nnot an acquisition"
_PANEL_IN, _HEAD_IN, _FOOT_IN, _LIGHT = 2.2, 0.42, 0.34, "#e4e7eb"
_FULL_DIFFERENCE = 0.5


def contour_grid(
    cases: Sequence[tuple[str, np.ndarray, Mapping[str, np.ndarray]]],
    colours: Mapping[str, str] | None = None,
    *,
    columns: int = 3,
    note: str = "",
) -> Figure:
    """Return one picture a case with the outline of every mask, the colours named below.

    Shapes: image and masks (H, W) in array order, RAS+; shown front up, the patient's right on the left.
    Args:
        cases: title, image, masks by name; the first mask is drawn first and widest.
        colours: colour by the name of the mask; the truth orange, focal red, cross-entropy cyan unless told.
        note: added to the line below, ``simulated data`` for example.
    Raises:
        IslesError: ``E-REP-12`` no case, a mask of another shape, or one without a colour.
    Source: Abulnaga and Rubin 2018 (doi:10.1007/978-3-030-11723-8_36), Figure 4.
    """
    colours = CONTOURS if colours is None else colours
    _require_drawable(cases, colours)
    columns = min(columns, len(cases))
    axes = _grid(-(-len(cases) // columns), columns, [image.shape for _, image, _ in cases], head_in=0.0)
    for place, (title, image, masks) in zip(axes.flat, cases, strict=False):
        _grey(place, image, tuple(np.percentile(image, (1, 99.5))))
        write(place, title, 0.03, 0.975, va="top")
        for name, mask in masks.items():
            outline(place, _seen(mask).astype(bool), colours[name], 1.2)
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
        note: added to the line below.
    Raises:
        IslesError: ``E-REP-12`` no case, or images of different shape.
    Source: Wang, Song et al. 2020 (doi:10.1016/j.media.2020.101787), Figures 6 and 7; the difference is ours.
    """
    named = [(str(case["title"]), case["true"], {key: case[key] for key in ("pseudo", "lesion")}) for case in cases]
    _require_drawable(named, dict.fromkeys(("pseudo", "lesion"), ""))
    axes = _grid(len(cases), 3, [case["true"].shape for case in cases], head_in=_HEAD_IN)
    for places, case in zip(axes, cases, strict=True):
        _grey(places[0], case["true"], (0.0, 1.0))
        _grey(places[1], case["pseudo"], (0.0, 1.0))
        apart = _seen(case["pseudo"]).astype(np.float32) - _seen(case["true"])
        places[2].imshow(apart, cmap=colormaps["RdBu_r"], vmin=-_FULL_DIFFERENCE, vmax=_FULL_DIFFERENCE)
        for place in places:
            outline(place, _seen(case["lesion"]).astype(bool), CONTOURS["truth"], 1.2)
        write(places[0], case["title"], 0.03, 0.975, va="top")
        write(places[1], "synthetic", 0.97, 0.975, ha="right", va="top")
        write(places[1], _quality(case), 0.03, 0.03)
    scale = f"-{_FULL_DIFFERENCE:g} (blue) to +{_FULL_DIFFERENCE:g} (red)"
    titles = ("true DWI", SYNTHETIC_SAID, f"pseudo minus true\n{scale}")
    for place, title in zip(axes[0], titles, strict=True):
        place.set_title(title, color=_LIGHT, fontsize=8, pad=5)
    _legend(axes.flat[0].figure, [("lesion", CONTOURS["truth"])], note)
    return axes.flat[0].figure


def _quality(case: Mapping[str, Any]) -> str:
    lines = []
    for where, ssim, psnr in (("", "ssim", "psnr_db"), ("lesion: ", "local_ssim", "local_psnr_db")):
        said = [f"SSIM {case[ssim]:.2f}"] if case.get(ssim) is not None else []
        said += [f"PSNR {case[psnr]:.1f} dB"] if case.get(psnr) is not None else []
        lines += [where + ", ".join(said)] if said else []
    return "\n".join(lines)


def _seen(plane: np.ndarray) -> np.ndarray:
    return np.asarray(plane)[::-1, ::-1].T


def _grey(place: Axes, image: np.ndarray, window: tuple[float, float]) -> None:
    place.imshow(_seen(image), cmap="gray", vmin=window[0], vmax=window[1], interpolation="nearest")


def _grid(rows: int, columns: int, shapes: Sequence[tuple[int, int]], *, head_in: float) -> np.ndarray:
    panel_in = _PANEL_IN * max(height / width for width, height in shapes)
    total = rows * panel_in + head_in + _FOOT_IN
    figure = blank(columns * _PANEL_IN, total, face="black", dpi=130)
    edges = {"left": 0, "right": 1, "bottom": _FOOT_IN / total, "top": 1 - head_in / total}
    axes = figure.subplots(rows, columns, squeeze=False, gridspec_kw={**edges, "wspace": 0.015, "hspace": 0.015})
    for place in axes.flat:
        place.set_axis_off()
    return axes


def _legend(figure: Figure, named: Sequence[tuple[str, str]], note: str) -> None:
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], color=colour, linewidth=2, label=name) for name, colour in named]
    lines += [Line2D([], [], linewidth=0, label=note)] if note else []
    figure.legend(
        handles=lines, loc="lower center", ncols=len(lines), frameon=False, labelcolor=_LIGHT, fontsize=8,
        handlelength=1.4, columnspacing=1.4, borderaxespad=0.3,
    )  # fmt: skip


def _require_drawable(
    cases: Sequence[tuple[str, np.ndarray, Mapping[str, np.ndarray]]], colours: Mapping[str, str]
) -> None:
    faults = [] if cases else ["no case"]
    for title, image, masks in cases:
        if np.ndim(image) != 2:
            faults.append(f"{title}: image of shape {np.shape(image)}")
        for name, mask in masks.items():
            if np.shape(mask) != np.shape(image):
                faults.append(f"{title}: {name} {np.shape(mask)} on an image {np.shape(image)}")
            if name not in colours:
                faults.append(f"{title}: no colour for {name}")
    if faults:
        raise refused("E-REP-12", where="picture of several cases", found="; ".join(faults[:4]))
