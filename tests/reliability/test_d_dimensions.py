"""Group D of the reliability list: how many slices, frames and voxels there are, and how many are claimed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np

Gate, Run = Callable[..., object], Callable[..., object]


def every(case: Path, rewrite: Callable, change: Callable[[np.ndarray], np.ndarray], scale: int = 1) -> None:
    """Change the voxels of every image of a case; ``scale`` is the voxel size in plane, in the old one."""
    for path in sorted(case.glob("*/*.nii")):
        image = nibabel.load(path)
        rewrite(path, change(np.asarray(image.dataobj)), affine=image.affine @ np.diag([scale, scale, 1.0, 1.0]))


def series_beside(case: Path, data: np.ndarray, affine: np.ndarray) -> Path:
    """Put a CT perfusion series into a case folder."""
    path = case / "SMIR.Brain.XX.O.CT_4DPWI.9/SMIR.Brain.XX.O.CT_4DPWI.9.nii"
    path.parent.mkdir()
    image = nibabel.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, path)
    return path


def outputs(tmp_path: Path) -> list[nibabel.Nifti1Image]:
    return [nibabel.load(tmp_path / f"out/case_7/{name}.nii.gz") for name in ("lesion", "probability", "uncertainty")]


def test_d1_one_slice_is_predicted(case: Path, rewrite: Callable, predict: Run, works: Gate, tmp_path: Path) -> None:
    every(case, rewrite, lambda data: data[..., :1])
    works(predict, case)
    assert [image.shape for image in outputs(tmp_path)] == [(256, 256, 1)] * 3


def test_d2_two_slices_are_predicted_with_and_without_a_mask(
    case: Path, image_of: Callable, predict: Run, works: Gate, same_maps: Callable, tmp_path: Path
) -> None:
    image_of(case, "OT").unlink()
    works(predict, case)
    assert [image.shape for image in outputs(tmp_path)] == [(256, 256, 2)] * 3
    same_maps()


def test_d3_a_volume_smaller_than_the_window_is_padded(
    case: Path, rewrite: Callable, predict: Run, works: Gate, tmp_path: Path
) -> None:
    every(case, rewrite, lambda data: data[::5, ::5], scale=5)
    works(predict, case)
    assert [image.shape for image in outputs(tmp_path)] == [(52, 52, 2)] * 3


def test_d3_a_window_that_no_padding_fits_names_the_case_and_the_setting(
    case: Path, rewrite: Callable, bundle_with: Callable, predict: Run, refused: Gate
) -> None:
    bundle = bundle_with(lambda config: config.update(border=[0, 0, 0]))
    every(case, rewrite, lambda data: data[::5, ::5], scale=5)
    says = ["case_7: failed", "(52, 52, 2) voxels against a window of (64, 64, 1)", "pad"]
    refused(predict, case, bundle=bundle, exit_code=3, code="E-INF-02", says=says)


def test_d4_two_dimensional_images_are_one_slice_and_it_is_said(
    case: Path, rewrite: Callable, predict: Run, works: Gate, tmp_path: Path
) -> None:
    every(case, rewrite, lambda data: data[..., 0])
    works(predict, case, says=["case_7", "a 2D image is read as one slice"])
    assert [image.shape for image in outputs(tmp_path)] == [(256, 256, 1)] * 3


def test_d5_a_series_in_the_place_of_a_map_is_refused_with_its_frames(
    case: Path, image_of: Callable, rewrite: Callable, predict: Run, refused: Gate
) -> None:
    path = image_of(case, "CT_CBF")
    rewrite(path, np.stack([np.asarray(nibabel.load(path).dataobj)] * 3, axis=-1))
    says = ["case_7", path.name, "3 frames", "pick a frame"]
    refused(predict, case, exit_code=3, code="E-DIM-03", says=says)


def test_d6_a_map_in_the_place_of_a_series_is_refused(
    case: Path, image_of: Callable, run: Run, refused: Gate, tmp_path: Path
) -> None:
    image = nibabel.load(image_of(case, "CT_CBF"))
    path = series_beside(case, np.asarray(image.dataobj), image.affine)
    says = ["case_7", path.name, "looks like a map"]
    refused(run, "check", case.parents[1], exit_code=4, code="E-DIM-04", says=says)
    words = ("datalist", case.parents[1], "--out", tmp_path / "list.json")
    refused(run, *words, exit_code=4, code="E-DIM-04", says=says)


def test_d7_a_trailing_dimension_of_one_is_dropped(
    case: Path, rewrite: Callable, predict: Run, works: Gate, same_maps: Callable
) -> None:
    every(case, rewrite, lambda data: data[..., None])
    works(predict, case)
    same_maps()


def test_d8_a_zero_dimension_is_refused(
    case: Path, image_of: Callable, rewrite: Callable, predict: Run, refused: Gate
) -> None:
    path = rewrite(image_of(case, "CT_CBF"), fields={"dim": [3, 256, 0, 2, 1, 1, 1, 1]})
    says = ["case_7", path.name, "zero dimension", "export the image again"]
    refused(predict, case, exit_code=3, code="E-DIM-01", says=says)


def test_d9_a_negative_dimension_is_refused(
    case: Path, image_of: Callable, rewrite: Callable, predict: Run, refused: Gate
) -> None:
    path = rewrite(image_of(case, "CT_CBF"), fields={"dim": [3, 256, -256, 2, 1, 1, 1, 1]})
    says = ["case_7", path.name, "negative dimension", "export the image again"]
    refused(predict, case, exit_code=3, code="E-DIM-02", says=says)


def test_d10_a_claim_of_terabytes_is_refused_before_anything_is_read(
    case: Path, image_of: Callable, rewrite: Callable, predict: Run, refused: Gate
) -> None:
    path = rewrite(image_of(case, "CT_CBF"), fields={"dim": [3, 30000, 30000, 3000, 1, 1, 1, 1]})
    says = ["case_7", path.name, "claims 10800000000000 bytes", "the file has 524640 bytes", "limit"]
    refused(predict, case, exit_code=3, code="E-FILE-07", says=says)
