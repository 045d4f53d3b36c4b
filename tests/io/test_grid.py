"""One rule says whether two images lie on one grid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from monai_isles.errors import IslesError
from monai_isles.io import Image, require_same_affines, require_same_grid, same_grid

AFFINE = np.diag([1.0, 2.0, 5.0, 1.0])


def image(name: str = "ct.nii", affine: np.ndarray = AFFINE, shape: tuple[int, ...] = (4, 3, 2)) -> Image:
    return Image(np.zeros(shape, np.float32), affine, (1.0, 2.0, 5.0), Path(name), "", affine, shape[-3:])


def moved(mm: float) -> np.ndarray:
    affine = AFFINE.copy()
    affine[0, 3] += mm
    return affine


def test_a_hundred_thousandth_of_a_millimetre_passes() -> None:
    require_same_grid({"ct": image(), "cbf": image("cbf.nii", moved(1e-5))}, case="case_7")


def test_forty_millimetres_are_refused_in_mm_and_voxels() -> None:
    with pytest.raises(
        IslesError,
        match=r"E-GEOM-03(?s:.*)case_7: cbf \(cbf.nii\) against ct \(ct.nii\)(?s:.*)40 mm \(40 voxels\)(?s:.*)Resample",
    ):
        require_same_grid({"ct": image(), "cbf": image("cbf.nii", moved(40.0))}, case="case_7")


def test_a_mirror_is_refused() -> None:
    with pytest.raises(IslesError, match="E-GEOM-03"):
        require_same_grid({"ct": image(), "cbf": image("cbf.nii", np.diag([-1.0, 2.0, 5.0, 1.0]))}, case="case_7")


def test_other_shapes_are_refused_with_both() -> None:
    with pytest.raises(IslesError, match=r"E-GEOM-04(?s:.*)4 x 3 x 3 against 4 x 3 x 2"):
        require_same_grid({"ct": image(), "label": image("ot.nii", shape=(4, 3, 3))}, case="case_7")


def test_an_affine_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(IslesError, match="E-GEOM-03"):
        require_same_affines({"a": AFFINE, "b": AFFINE * np.nan}, {"a": (4, 3, 2), "b": (4, 3, 2)}, case="case_7")


def test_a_series_is_on_the_grid_of_its_volume() -> None:
    series = image("ctp.nii", shape=(6, 4, 3, 2))
    assert same_grid(image(), series).vox == 0
    require_same_grid({"ct": image(), "ctp": series}, case="case_7")


def test_the_displacement_is_the_largest_corner() -> None:
    turned = AFFINE.copy()
    turned[0, 0] = 1.01
    gap = same_grid(image(), replace(image(), affine=turned))
    assert gap.mm == pytest.approx(0.035) and gap.vox == pytest.approx(0.035)  # corner at 3.5 voxels
    assert same_grid(image(), image(shape=(4, 3, 3))).mm == float("inf")
