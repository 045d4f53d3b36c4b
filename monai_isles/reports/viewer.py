"""Prepare slices for the viewers of a page: 8-bit pictures and outlines as paths, or NIfTI files for NiiVue."""

from __future__ import annotations

import base64
import gzip
import io
from collections.abc import Iterator
from importlib.resources import files

import numpy as np
from markupsafe import Markup

from monai_isles.modalities import MODALITIES
from monai_isles.reports.canvas import data_uri
from monai_isles.reports.views import LOOKS, MASKS, CaseView, Look, even_indices, on_screen

WINDOWS = {"brain": (40, 80), "stroke": (35, 30), "subdural": (75, 215)}
MOST_SLICES, MOST_PIXELS = 48, 320


def page_data(view: CaseView) -> dict[str, object]:
    """Return the data for the page's script: pictures as data addresses, outlines as SVG paths, windows.

    CT keeps whole HU from -40 to 214, CBF 0.5, CBV 0.05, MTT and Tmax 0.08, TTP 0.24 of their units; maps are black
    where they are 0. ``affine`` leads from (column, row, slice number from 0) of a picture to mm, RAS+. At most 48
    slices, evenly spread, and pictures of at most 320 pixels, every n-th: ``note`` names the slices left out.
    """
    shape = view.images["ct"].shape
    box, shown = view.box, even_indices(shape[2], MOST_SLICES)
    rows, columns = on_screen(view.images["ct"], 0, box).shape
    stride = -(-max(rows, columns) // MOST_PIXELS)
    thin = slice(None, None, stride)
    stages = [
        _stage(key, look)
        | {"pictures": [_png(levels(on_screen(view.images[key], k, box)[thin, thin], look)) for k in shown]}
        for key, look in LOOKS.items()
        if key in view.images
    ]
    # from (column, row, slice) as ``on_screen`` shows them to the voxels of the volume
    turned = np.diag([-float(stride), -float(stride), 1.0, 1.0])
    turned[:2, 3] = box[0].stop - 1, box[1].stop - 1
    left_out = [f"{len(shown)} of {shape[2]} slices are shown"] if len(shown) < shape[2] else []
    left_out += [f"every {stride}. pixel is shown"] if stride > 1 else []
    outlines = {n: [_outline(on_screen(m, k, box)) for k in shown] for n, m in outline_masks(view).items()}
    return {
        "slices": [k + 1 for k in shown],
        "total": shape[2],
        "rows": rows,
        "columns": columns,
        "ratio": round(columns * view.spacing_mm[0] / (rows * view.spacing_mm[1]), 4),
        "start": _start(view, shown),
        "stages": stages,
        "outlines": outlines,
        "windows": WINDOWS,
        "affine": (view.to_mm @ turned).round(4).tolist(),
        "note": "; ".join(left_out),
    }


def outline_masks(view: CaseView) -> dict[str, np.ndarray]:
    """Return the masks that are outlined, by name of ``MASKS`` and in its order."""
    masks = {"lesion": view.lesion.astype(bool), **view.masks}
    return {name: masks[name] for name in MASKS if name in masks}


def levels(picture: np.ndarray, look: Look) -> np.ndarray:
    """Return 8-bit levels: 1 to 255 over the span of the image, clipped; 0 where a map is 0."""
    low, high = look.span
    part = np.clip((picture.astype(np.float64) - low) / (high - low), 0, 1)
    values = (1 + np.rint(254 * part)).astype(np.uint8)
    return np.where(picture == 0, 0, values).astype(np.uint8) if look.colours else values


def _png(picture: np.ndarray) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, format="PNG", optimize=True)
    return data_uri(buffer.getvalue())


def _stage(key: str, look: Look) -> dict[str, object]:
    from matplotlib import colormaps

    (low, high), table = look.span, b""
    if look.colours:
        table = np.rint(255 * colormaps[look.colours](np.linspace(0, 1, 256))[:, :3]).astype(np.uint8).tobytes()
    facts = {"key": key, "title": look.title, "unit": MODALITIES[key].unit, "low": low, "high": high}
    return facts | {"window": look.window, "tops": look.tops, "colours": base64.b64encode(table).decode("ascii")}


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


def niivue_facts(case: CaseView) -> dict[str, object]:
    """Return what ``niivue.html`` and ``niivue.js`` show: the library, its licence, volumes and masks.

    Volumes are cut to the head and hold the 8-bit levels of the small viewer, so that a page of 16 slices stays below
    8 MB; a voxel value in the page is rounded as there (CT to 1 HU).

    Source: NiiVue 0.69.0, npm ``@niivue/niivue``, BSD-2; ``tests/reports/test_niivue.py`` opens it in Chromium.
    """
    box, affine = case.box, case.to_mm.copy()
    affine[:3, 3] += affine[:3, :3] @ [box[0].start, box[1].start, 0]
    templates = files("monai_isles.reports").joinpath("templates")
    volumes = [
        {
            "key": key,
            "title": look.title,
            "unit": MODALITIES[key].unit if key in MODALITIES else "",
            "window": look.window,
            "colours": look.colours or "gray",
            "base64": _nifti(array[box[0], box[1]], affine, *look.span),
        }
        for key, look, array in _volumes(case)
    ]
    masks = [
        {"name": name, "label": MASKS[name][0], "colour": MASKS[name][1],
         "base64": _nifti(mask[box[0], box[1]], affine, 0.0, 255.0)}
        for name, mask in outline_masks(case).items()
    ]  # fmt: skip
    return {
        "library": Markup(gzip.decompress(templates.joinpath("niivue.umd.js.gz").read_bytes()).decode("utf-8")),
        "licence": templates.joinpath("niivue.LICENSE").read_text(encoding="utf-8"),
        "version": "0.69.0",
        "data": {"volumes": volumes, "masks": masks},
    }


def _volumes(case: CaseView) -> Iterator[tuple[str, Look, np.ndarray]]:
    yield from ((key, look, case.images[key]) for key, look in LOOKS.items() if key in case.images)
    if case.probability is not None:
        yield "probability", Look("lesion probability", (0.0, 1.0), "viridis", tops=(1.0,)), case.probability
    if case.uncertainty is not None:
        top = max(0.05, float(case.uncertainty.max()))
        yield "uncertainty", Look("uncertainty", (0.0, top), "cividis", tops=(top,)), case.uncertainty


def _nifti(array: np.ndarray, affine: np.ndarray, low: float, high: float) -> str:
    """Return a gzipped NIfTI file of 8-bit numbers whose slope and intercept lead back to the unit, in base64."""
    import nibabel

    slope = (high - low) / 255
    stored = np.rint((np.clip(array, low, high) - low) / slope)
    image = nibabel.Nifti1Image(stored.astype(np.uint8), affine)
    image.header.set_xyzt_units("mm")
    image.header.set_slope_inter(slope, low)
    return base64.b64encode(gzip.compress(image.to_bytes(), mtime=0)).decode("ascii")
