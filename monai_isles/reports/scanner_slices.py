"""Slices of the scanner page: 8-bit pictures whose values the page turns back to units, and outlines as paths."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from monai_isles.errors import refused
from monai_isles.reports.slices import head_box, on_screen

MASKS = {
    "core": ("core (threshold)", "#ff4d5e"),
    "hypoperfused": ("hypoperfused (threshold)", "#35c3ff"),
    "lesion": ("network lesion", "#ff9a2e"),
}


@dataclass(frozen=True)
class ScannerView:
    """One series with everything that was measured on it.

    Shapes: images and masks (H, W, D), RAS+, one grid; ``aif`` and ``vof`` (T,).
    Units: ``ct`` HU, ``cbf`` ml/100 g/min, ``tmax`` s, spacing mm, curves HU over baseline, ``dt_s`` s.
    Args:
        name: of the case; shown escaped.
        images: ``ct``, and ``cbf`` and ``tmax`` where there are any.
        masks: by name of ``MASKS``.
        result: ``result.json``: volumes, ``perfusion``, ``quality``, what made it.
        series: label to text: how the series was acquired and read.
        patient: label to text, only when the user asked for it.
        simulated: the data are the phantom's.
    Raises:
        IslesError: ``E-REP-20`` when shapes differ, an image is missing or a mask is unknown.
    """

    name: str
    images: Mapping[str, np.ndarray]
    masks: Mapping[str, np.ndarray]
    spacing_mm: Sequence[float]
    result: Mapping[str, Any] = field(default_factory=dict)
    aif: np.ndarray | None = None
    vof: np.ndarray | None = None
    dt_s: float | None = None
    series: Mapping[str, str] = field(default_factory=dict)
    patient: Mapping[str, str] = field(default_factory=dict)
    simulated: bool = False

    def __post_init__(self) -> None:
        shapes = {key: np.shape(array) for key, array in {**self.images, **self.masks}.items()}
        strange = sorted(set(self.masks) - set(MASKS))
        if "ct" not in self.images or strange or len(set(shapes.values())) > 1 or len(shapes["ct"]) != 3:
            listed = ", ".join(f"{key} {' x '.join(map(str, shape))}" for key, shape in shapes.items())
            raise refused(
                "E-REP-20",
                where=self.name,
                found=listed + (f"; unknown masks {', '.join(strange)}" if strange else ""),
                masks=", ".join(MASKS),
            )


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


STAGES = (
    Stage("ct", "CT", "HU", *_CT_RANGE, window=(0.0, 80.0)),
    Stage("cbf", "CBF", "ml/100 g/min", 0.0, 120.0, (0.0, 80.0), (40.0, 60.0, 80.0, 120.0), "turbo"),
    Stage("tmax", "Tmax", "s", 0.0, 20.0, (0.0, 12.0), (6.0, 12.0, 20.0), "turbo"),
)


def page_data(view: ScannerView) -> dict[str, object]:
    """Return what the page's script draws: pictures as data addresses, outlines as SVG paths, windows.

    CT keeps whole HU from -40 to 214, CBF 0.5 and Tmax 0.08 of their units; maps are black where they are 0. At most
    48 slices, evenly spread, and pictures of at most 320 pixels, every n-th: ``note`` says what was left out.
    """
    shape = view.images["ct"].shape
    box = head_box(view.images, shape, view.spacing_mm)
    shown = np.unique(np.linspace(0, shape[2] - 1, min(shape[2], MOST_SLICES)).round().astype(int)).tolist()
    rows, columns = on_screen(view.images["ct"], 0, box).shape
    stride = -(-max(rows, columns) // MOST_PIXELS)
    stages = [stage for stage in STAGES if stage.key in view.images]
    thin = slice(None, None, stride)
    pictures = {s.key: [_picture(on_screen(view.images[s.key], k, box)[thin, thin], s) for k in shown] for s in stages}
    outlines = {n: [_outline(on_screen(m, k, box)) for k in shown] for n, m in view.masks.items()}
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
        "note": _note(shape[2], len(shown), stride),
    }


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


def _start(view: ScannerView, shown: list[int]) -> int:
    """Return the place among ``shown`` of the slice with most lesion, else most hypoperfusion, else the middle."""
    for name in ("lesion", "core", "hypoperfused"):
        if name in view.masks and view.masks[name].any():
            return int(np.argmax(view.masks[name].sum((0, 1))[shown]))
    return len(shown) // 2


def _note(total: int, shown: int, stride: int) -> str:
    said = [f"{shown} of {total} slices are shown"] if shown < total else []
    said += [f"every {stride}. pixel is shown"] if stride > 1 else []
    return "; ".join(said)
