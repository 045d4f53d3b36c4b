"""Write one simulated scan as the ISLES 2018 release stores it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from monai_isles.io.publish import publish_text
from monai_isles.phantom.ct.scan import CaseArrays
from monai_isles.phantom.mri.facts import MriKind
from monai_isles.phantom.mri.scan import MriCase

KEYS = {
    "ct": "CT",
    "cbf": "CT_CBF",
    "cbv": "CT_CBV",
    "mtt": "CT_MTT",
    "tmax": "CT_Tmax",
    "ctp": "CT_4DPWI",
    "dwi": "MR_DWI",
    "label": "OT",
}


def write_case(scan: CaseArrays, folder: Path, *, number: int, series: bool, labelled: bool) -> None:
    """Write the images of one scan under ``folder``, one sub-folder each, uncompressed.

    Shapes: stored as (X, Y, Z) or (X, Y, Z, T) with x to the left and y to the back, as the release does.

    Args:
        number: N of ``case_N``; file ids follow from it.
        series: write the contrast series too.
        labelled: write the lesion and the DWI it is drawn on; the testing section has neither.
    """
    images = dict(scan.images)
    if labelled:
        images["label"] = scan.label.astype(np.uint8)
    else:
        images.pop("dwi")
    if series:
        images["ctp"] = np.moveaxis(scan.ctp, 0, -1)
    first_id = (340000 if labelled else 350000) + 10 * number
    for key, image in images.items():
        name = f"SMIR.Brain.XX.O.{KEYS[key]}.{first_id + list(KEYS).index(key)}"
        (folder / name).mkdir(parents=True)
        save_lps(
            image,
            folder / name / f"{name}.nii",
            spacing_mm=scan.spacing_mm,
            level_mm=float(scan.truth["level_mm"]),
            dt_s=scan.dt_s if key == "ctp" else None,
        )


def save_lps(
    image: np.ndarray, path: Path, *, spacing_mm: tuple[float, float, float], level_mm: float, dt_s: float | None = None
) -> None:
    """Save a RAS+ array flipped along x and y, the affine saying so.

    Args:
        image: (H, W, D) or (H, W, D, T).
        level_mm: height of the middle of the slab.
        dt_s: seconds between frames, of a series.
    """
    import nibabel

    stored = np.ascontiguousarray(image[::-1, ::-1])
    affine = np.diag([-spacing_mm[0], -spacing_mm[1], spacing_mm[2], 1.0])
    half = (np.array(image.shape[:3]) - 1) / 2 * np.array(spacing_mm)
    affine[:3, 3] = np.round([half[0], half[1], level_mm - half[2]], 3)
    nifti = nibabel.Nifti1Image(stored, affine)
    nifti.set_qform(affine, code=1)
    nifti.set_sform(affine, code=1)
    nifti.header.set_xyzt_units("mm", "sec")
    if dt_s is not None:
        nifti.header["pixdim"][4] = dt_s
    nibabel.save(nifti, path)


def write_truth(truth: dict[str, object], path: Path) -> None:
    """Publish what only a simulation knows as JSON."""
    publish_text(path, json.dumps(truth, indent=1, sort_keys=True) + "\n")


_FIRST_ID = {"siss": 70000, "spes": 80000}
_LABELS = {
    "siss": "labels 0 background, 1 lesion",
    "spes": "labels 0 background, 1 penumbra, 2 core; the hypoperfused area is both",
}


def write_mri_case(case: MriCase, folder: Path, *, kind: MriKind, number: int, labelled: bool) -> None:
    """Write the images of one case under ``folder``, one sub-folder each, uncompressed.

    Args:
        number: name of the case's folder; file ids follow from it.
        labelled: write the label too; the testing section has none.
    """
    files = {f"VSD.Brain.XX.O.{key}": case.images[name] for name, key in kind.files.items()}
    if labelled:
        files[kind.label_file] = case.label
    first = _FIRST_ID[kind.name] + (0 if labelled else 5000) + 10 * number
    for place, (start, image) in enumerate(files.items()):
        name = f"{start}.{first + place}"
        (folder / name).mkdir(parents=True)
        level = float(str(case.truth["level_mm"]))
        save_lps(image, folder / name / f"{name}.nii", spacing_mm=case.spacing_mm, level_mm=level)


def mri_settings(kind: MriKind, spacing_mm: float | None) -> tuple[str, ...]:
    """Return the lines of ``SIMULATED.txt`` that tell the grid and the labels."""
    shape, spacing = kind.grid(spacing_mm)
    own = "the release's own" if spacing == kind.spacing_mm else f"coarser than the release's {kind.spacing_mm:g} mm"
    size = "x".join(map(str, shape))
    return (f"kind {kind.name}", f"spacing_mm {spacing:g}", f"grid {size}, {own}", _LABELS[kind.name])
