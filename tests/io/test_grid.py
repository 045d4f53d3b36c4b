"""One rule says whether two images lie on one grid."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_isles.errors import IslesError
from monai_isles.io import Image, read_image
from monai_isles.io.findings import collect_remarks
from monai_isles.io.grid import corners_apart_mm, displacement_vox, require_one_grid
from monai_isles.io.read import require_same_grid

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


@pytest.mark.parametrize(("mm", "remarked"), [(9e-4, False), (0.02, True), (0.49, True)])
def test_grids_below_half_a_voxel_apart_are_one_with_a_remark(mm: float, remarked: bool) -> None:
    with collect_remarks() as remarks:
        require_same_grid({"ct": image(), "cbf": image("cbf.nii", moved(mm))}, case="case_7")
    assert [one.code for one in remarks] == (["E-GEOM-09"] if remarked else [])
    assert not remarked or f"{mm:.4g} mm ({mm:.4g} voxels) apart" in remarks[0].found


def test_half_a_voxel_is_refused() -> None:
    with pytest.raises(IslesError, match=r"E-GEOM-03(?s:.*)less than 0.5 voxel allowed"):
        require_same_grid({"ct": image(), "cbf": image("cbf.nii", moved(0.5))}, case="case_7")


@pytest.mark.parametrize("degrees", [0.1, 0.3, 2.0])
def test_a_header_with_its_qform_alone_is_on_the_grid_of_its_sform(tmp_path: Path, degrees: float) -> None:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.diag([-1.0, -1, 1]) @ [[1, 0, 0], [0, c, -s], [0, s, c]] @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn * [0.45, 0.45, 5.0], (115, 115, -40)
    images = {}
    for name, both in (("flair", True), ("dwi", False)):
        made = nibabel.Nifti1Image(np.ones((512, 512, 3), np.uint8), affine)
        made.set_qform(affine, 1)
        made.set_sform(affine if both else None, int(both))
        nibabel.save(made, tmp_path / f"{name}.nii")
        images[name] = read_image(tmp_path / f"{name}.nii")
    with collect_remarks() as remarks:
        require_same_grid(images, case="p1")
    assert {one.code for one in remarks} <= {"E-GEOM-09"}


def test_a_mirror_is_refused() -> None:
    with pytest.raises(IslesError, match="E-GEOM-03"):
        require_same_grid({"ct": image(), "cbf": image("cbf.nii", np.diag([-1.0, 2.0, 5.0, 1.0]))}, case="case_7")


def test_other_shapes_are_refused_with_both() -> None:
    with pytest.raises(IslesError, match=r"E-GEOM-04(?s:.*)4 x 3 x 3 against 4 x 3 x 2"):
        require_same_grid({"ct": image(), "label": image("ot.nii", shape=(4, 3, 3))}, case="case_7")


def test_an_affine_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(IslesError, match="E-GEOM-03"):
        require_one_grid({"a": (AFFINE, (4, 3, 2)), "b": (AFFINE * np.nan, (4, 3, 2))}, case="case_7")


def test_a_series_is_on_the_grid_of_its_volume() -> None:
    series = image("ctp.nii", shape=(6, 4, 3, 2))
    require_same_grid({"ct": image(), "ctp": series}, case="case_7")


def test_the_displacement_is_the_largest_corner() -> None:
    turned = AFFINE.copy()
    turned[0, 0] = 1.01
    shape = image().grid_shape
    assert displacement_vox(AFFINE, turned, shape) == pytest.approx(0.035)  # corner at 3.5 voxels
    assert corners_apart_mm(AFFINE, shape, turned, shape) == pytest.approx(0.035)
