"""Write one MRI case as the ISLES 2015 release stores it."""

from __future__ import annotations

from pathlib import Path

from monai_isles.phantom.layout import save_lps
from monai_isles.phantom.mri.facts import MriKind
from monai_isles.phantom.mri.scan import MriCase

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
