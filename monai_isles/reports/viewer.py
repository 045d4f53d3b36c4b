"""Prepare slices for the viewer of a page: 8-bit pictures that convert back to units, and outlines as paths."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np

from monai_isles.reports.slices import head_box, on_screen
from monai_isles.reports.views import LOOKS, MASKS, CaseView

WINDOWS = {"brain": (40, 80), "stroke": (35, 30), "subdural": (75, 215)}
MOST_SLICES, MOST_PIXELS = 48, 320
_CT_RANGE = (-40.0, 214.0)
_COLOURS = 256


@dataclass(frozen=True)
class Stage:
    """How one image is shown: its range over the levels 1 to 255 (0 is not shown), the window at first, the tops."""

    key: str
    title: str
    unit: str
    low: float
    high: float
    window: tuple[float, float]
    tops: tuple[float, ...] = ()
    colours: str = ""


def _stage_of(key: str, title: str, unit: str, high: float, tops: tuple[float, ...]) -> Stage:
    return Stage(key, title, unit, 0.0, high, LOOKS[key].window, tops, LOOKS[key].colours)


STAGES = (
    Stage("ct", "CT", "HU", *_CT_RANGE, window=LOOKS["ct"].window),
    _stage_of("cbf", "CBF", "ml/100 g/min", 120.0, (40.0, 60.0, 80.0, 120.0)),
    _stage_of("cbv", "CBV", "ml/100 g", 12.0, (3.0, 6.0, 12.0)),
    _stage_of("mtt", "MTT", "s", 20.0, (6.0, 12.0, 20.0)),
    _stage_of("tmax", "Tmax", "s", 20.0, (6.0, 12.0, 20.0)),
    _stage_of("ttp", "TTP", "s", 60.0, (20.0, 40.0, 60.0)),
)


def page_data(view: CaseView) -> dict[str, object]:
    """Return what the page's script draws: pictures as data addresses, outlines as SVG paths, windows.

    CT keeps whole HU from -40 to 214, CBF 0.5, CBV 0.05, MTT and Tmax 0.08, TTP 0.24 of their units; maps are black
    where they are 0. ``affine`` leads from (column, row, slice number from 0) of a picture to mm, RAS+. At most 48
    slices, evenly spread, and pictures of at most 320 pixels, every n-th: ``note`` says what was left out.
    """
    shape = view.images["ct"].shape
    box = head_box(view.images, shape, view.spacing_mm)
    shown = np.unique(np.linspace(0, shape[2] - 1, min(shape[2], MOST_SLICES)).round().astype(int)).tolist()
    rows, columns = on_screen(view.images["ct"], 0, box).shape
    stride = -(-max(rows, columns) // MOST_PIXELS)
    stages = [stage for stage in STAGES if stage.key in view.images]
    thin = slice(None, None, stride)
    pictures = {s.key: [_picture(on_screen(view.images[s.key], k, box)[thin, thin], s) for k in shown] for s in stages}
    outlines = {n: [_outline(on_screen(m, k, box)) for k in shown] for n, m in outlined(view).items()}
    return {
        "slices": [k + 1 for k in shown],
        "total": shape[2],
        "rows": rows,
        "columns": columns,
        "ratio": round(columns * view.spacing_mm[0] / (rows * view.spacing_mm[1]), 4),
        "start": _start(view, shown),
        "stages": [_stage(stage) | {"pictures": pictures[stage.key]} for stage in stages],
        "outlines": outlines,
        "windows": WINDOWS,
        "affine": _screen_affine(view, box, stride).round(4).tolist(),
        "note": _note(shape[2], len(shown), stride),
    }


def _screen_affine(view: CaseView, box: tuple[slice, slice], stride: int) -> np.ndarray:
    """Return the affine from (column, row, slice) as ``on_screen`` shows them; without one slice 1 lies at 0 mm."""
    turned = np.diag([-float(stride), -float(stride), 1.0, 1.0])
    turned[:2, 3] = box[0].stop - 1, box[1].stop - 1
    own = np.diag([*view.spacing_mm, 1.0]) if view.affine is None else view.affine
    return np.asarray(own, float) @ turned


def outlined(view: CaseView) -> dict[str, np.ndarray]:
    """Return the masks that are outlined, by name of ``MASKS`` and in its order."""
    masks = {"lesion": view.lesion.astype(bool), **view.masks}
    return {name: masks[name] for name in MASKS if name in masks}


def levels(picture: np.ndarray, stage: Stage) -> np.ndarray:
    """Return 8-bit levels: 1 for ``low`` to 255 for ``high``, clipped; 0 where a map is 0."""
    part = np.clip((picture.astype(np.float64) - stage.low) / (stage.high - stage.low), 0, 1)
    values = (1 + np.rint(254 * part)).astype(np.uint8)
    return np.where(picture == 0, 0, values).astype(np.uint8) if stage.colours else values


def _picture(picture: np.ndarray, stage: Stage) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(levels(picture, stage))).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _stage(stage: Stage) -> dict[str, object]:
    from matplotlib import colormaps

    facts = {name: getattr(stage, name) for name in ("key", "title", "unit", "low", "high", "window", "tops")}
    if not stage.colours:
        return facts | {"colours": ""}
    table = np.rint(255 * colormaps[stage.colours](np.linspace(0, 1, _COLOURS))[:, :3]).astype(np.uint8)
    return facts | {"colours": base64.b64encode(table.tobytes()).decode("ascii")}


def _outline(mask: np.ndarray) -> str:
    """Return the outline of a mask (rows, columns) as an SVG path in pixels of the whole picture."""
    from skimage.measure import find_contours

    if not mask.any():
        return ""
    lines = find_contours(np.pad(mask.astype(float), 1), 0.5)
    return "".join(
        "M" + "L".join(f"{column - 0.5:.4g} {row - 0.5:.4g}" for row, column in line[:-1]) + "Z" for line in lines
    )


def _start(view: CaseView, shown: list[int]) -> int:
    """Return the place among ``shown`` of the slice with most lesion, else most hypoperfusion, else the middle."""
    for name in ("lesion", "core", "hypoperfused"):
        mask = outlined(view).get(name)
        if mask is not None and mask.any():
            return int(np.argmax(mask.sum((0, 1))[shown]))
    return len(shown) // 2


def _note(total: int, shown: int, stride: int) -> str:
    text = [f"{shown} of {total} slices are shown"] if shown < total else []
    text += [f"every {stride}. pixel is shown"] if stride > 1 else []
    return "; ".join(text)
