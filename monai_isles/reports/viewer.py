"""Prepare slices for the viewers of a page: 8-bit pictures and outlines as paths, or NIfTI files for NiiVue."""

from __future__ import annotations

import base64
import gzip
import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from markupsafe import Markup

from monai_isles.reports.canvas import data_uri
from monai_isles.reports.slices import even_indices, head_box, on_screen
from monai_isles.reports.views import LOOKS, MASKS, CaseView

WINDOWS = {"brain": (40, 80), "stroke": (35, 30), "subdural": (75, 215)}
MOST_SLICES, MOST_PIXELS = 48, 320
_CT_RANGE = (-40.0, 214.0)
_COLOURS = 256


@dataclass(frozen=True)
class Stage:
    """Describe how one image is shown: its range over the levels 1 to 255 (0 is hidden), initial window, tops."""

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
    """Return the data for the page's script: pictures as data addresses, outlines as SVG paths, windows.

    CT keeps whole HU from -40 to 214, CBF 0.5, CBV 0.05, MTT and Tmax 0.08, TTP 0.24 of their units; maps are black
    where they are 0. ``affine`` leads from (column, row, slice number from 0) of a picture to mm, RAS+. At most 48
    slices, evenly spread, and pictures of at most 320 pixels, every n-th: ``note`` names the slices left out.
    """
    shape = view.images["ct"].shape
    box = head_box(view.images, shape, view.spacing_mm)
    shown = even_indices(shape[2], MOST_SLICES)
    rows, columns = on_screen(view.images["ct"], 0, box).shape
    stride = -(-max(rows, columns) // MOST_PIXELS)
    stages = [stage for stage in STAGES if stage.key in view.images]
    thin = slice(None, None, stride)
    pictures = {s.key: [_picture(on_screen(view.images[s.key], k, box)[thin, thin], s) for k in shown] for s in stages}
    outlines = {n: [_outline(on_screen(m, k, box)) for k in shown] for n, m in outline_masks(view).items()}
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


def outline_masks(view: CaseView) -> dict[str, np.ndarray]:
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
    return data_uri(buffer.getvalue())


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
    """Return the index in ``shown`` of the slice with most lesion, else most hypoperfusion, else the middle."""
    for name in ("lesion", "core", "hypoperfused"):
        mask = outline_masks(view).get(name)
        if mask is not None and mask.any():
            return int(np.argmax(mask.sum((0, 1))[shown]))
    return len(shown) // 2


def _note(total: int, shown: int, stride: int) -> str:
    text = [f"{shown} of {total} slices are shown"] if shown < total else []
    text += [f"every {stride}. pixel is shown"] if stride > 1 else []
    return "; ".join(text)


VERSION = "0.69.0"


def niivue_facts(case: CaseView) -> dict[str, object]:
    """Return what ``niivue.html`` and ``niivue.js`` show: the library, its licence, volumes and masks.

    Volumes are cut to the head and hold the 8-bit levels of the small viewer, so that a page of 16 slices stays below
    8 MB; a voxel value in the page is rounded as there (CT to 1 HU).

    Source: NiiVue 0.69.0, npm ``@niivue/niivue``, BSD-2; ``tests/reports/test_niivue.py`` opens it in Chromium.
    """
    box = head_box(case.images, case.lesion.shape, case.spacing_mm)
    affine = _cut_affine(case, box)
    volumes = [
        {
            **{name: getattr(stage, name) for name in ("key", "title", "unit", "window")},
            "colours": stage.colours or "gray",
            "base64": _nifti(array[box[0], box[1]], affine, stage),
        }
        for stage, array in _volumes(case)
    ]
    masks = [
        {"name": name, "label": MASKS[name][0], "colour": MASKS[name][1],
         "base64": _nifti_base64(mask[box[0], box[1]], affine, 1.0, 0.0)}
        for name, mask in outline_masks(case).items()
    ]  # fmt: skip
    return {
        "library": Markup(_library()),
        "licence": files("monai_isles.reports").joinpath("templates/niivue.LICENSE").read_text(encoding="utf-8"),
        "version": VERSION,
        "data": {"volumes": volumes, "masks": masks},
    }


def _volumes(case: CaseView) -> Iterator[tuple[Stage, np.ndarray]]:
    for stage in STAGES:
        if stage.key in case.images:
            yield stage, case.images[stage.key]
    if case.probability is not None:
        yield Stage("probability", "lesion probability", "", 0.0, 1.0, (0.0, 1.0), colours="viridis"), case.probability
    if case.uncertainty is not None:
        top = max(0.05, float(case.uncertainty.max()))
        yield Stage("uncertainty", "uncertainty", "", 0.0, top, (0.0, top), colours="cividis"), case.uncertainty


def _cut_affine(case: CaseView, box: tuple[slice, slice]) -> np.ndarray:
    affine = np.diag([*case.spacing_mm, 1.0]) if case.affine is None else np.array(case.affine, float)
    affine[:3, 3] += affine[:3, :3] @ [box[0].start, box[1].start, 0]
    return affine


def _nifti(array: np.ndarray, affine: np.ndarray, stage: Stage) -> str:
    """Return a gzipped NIfTI file of 8-bit numbers whose slope and intercept lead back to the unit, in base64."""
    slope = (stage.high - stage.low) / 255
    return _nifti_base64(np.rint((np.clip(array, stage.low, stage.high) - stage.low) / slope), affine, slope, stage.low)


def _nifti_base64(stored: np.ndarray, affine: np.ndarray, slope: float, intercept: float) -> str:
    import nibabel

    image = nibabel.Nifti1Image(stored.astype(np.uint8), affine)
    image.header.set_xyzt_units("mm")
    raw = bytearray(image.to_bytes())
    raw[112:120] = np.array([slope, intercept], "<f4").tobytes()  # scl_slope and scl_inter of the header
    return base64.b64encode(gzip.compress(bytes(raw), mtime=0)).decode("ascii")


@cache
def _library() -> str:
    path = Path(str(files("monai_isles.reports").joinpath("templates/niivue.umd.js.gz")))
    return gzip.decompress(path.read_bytes()).decode("utf-8")
