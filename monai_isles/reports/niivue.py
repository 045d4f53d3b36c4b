"""Embed NiiVue in a page: its one-file build, and the images of a case as small NIfTI files in base64."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from markupsafe import Markup

from monai_isles.reports.slices import head_box
from monai_isles.reports.viewer import STAGES, Stage, outlined
from monai_isles.reports.views import MASKS, CaseView

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
        {**_shown(stage), "base64": _nifti(array[box[0], box[1]], affine, stage)} for stage, array in _volumes(case)
    ]
    masks = [
        {"name": name, "label": MASKS[name][0], "colour": MASKS[name][1], "base64": _mask(mask[box[0], box[1]], affine)}
        for name, mask in outlined(case).items()
    ]
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


def _shown(stage: Stage) -> Mapping[str, object]:
    return {
        "key": stage.key, "title": stage.title, "unit": stage.unit, "window": stage.window,
        "colours": stage.colours or "gray",
    }  # fmt: skip


def _cut_affine(case: CaseView, box: tuple[slice, slice]) -> np.ndarray:
    affine = np.diag([*case.spacing_mm, 1.0]) if case.affine is None else np.array(case.affine, float)
    affine[:3, 3] += affine[:3, :3] @ [box[0].start, box[1].start, 0]
    return affine


def _nifti(array: np.ndarray, affine: np.ndarray, stage: Stage) -> str:
    """Return a gzipped NIfTI file of 8-bit numbers whose slope and intercept lead back to the unit, in base64."""
    slope = (stage.high - stage.low) / 255
    return _encoded(np.rint((np.clip(array, stage.low, stage.high) - stage.low) / slope), affine, slope, stage.low)


def _mask(mask: np.ndarray, affine: np.ndarray) -> str:
    return _encoded(mask, affine, 1.0, 0.0)


def _encoded(stored: np.ndarray, affine: np.ndarray, slope: float, intercept: float) -> str:
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
