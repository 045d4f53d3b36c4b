"""Group C of the reliability list: where the voxels lie in the world."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

Gate, Run = Callable[..., object], Callable[..., object]
SWAPPED = np.array([[0.0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def moved(path: Path, mm: float) -> np.ndarray:
    affine = nibabel.load(path).affine.copy()
    affine[0, 3] += mm
    return affine


def turned(degrees: float, first: int, second: int) -> np.ndarray:
    turn, angle = np.eye(4), np.radians(degrees)
    turn[first, first] = turn[second, second] = np.cos(angle)
    turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
    return turn


@pytest.fixture
def refused_twice(case: Path, run: Run, predict: Run, refused: Gate) -> Callable[..., str]:
    """Require the refusal of ``check``, which names the files, and that of ``predict``, which does nothing."""

    def both(code: str, *, files: list[Path], says: list[str], predicting: tuple[str, ...] = ()) -> str:
        names = [path.name for path in files]
        first = refused(run, "check", case.parents[1], exit_code=4, code=code, says=[*names, "case_7", *says])
        then = refused(predict, case, exit_code=3, code=code, says=["case_7", *says, *predicting])
        return first.text + then.text

    return both


def test_c1_modalities_of_different_shape_are_named_with_their_shapes(
    case: Path, image_of: Callable, rewrite: Callable, refused_twice: Callable
) -> None:
    path = image_of(case, "CT_CBF")
    rewrite(path, np.asarray(nibabel.load(path).dataobj)[:200])
    says = ["200 x 256 x 2", "256 x 256 x 2", "cbf", "resample"]
    refused_twice("E-GEOM-04", files=[path, image_of(case, "CT")], says=says)


def test_c2_a_modality_moved_by_40_mm_is_refused_in_mm_and_voxels(
    case: Path, image_of: Callable, rewrite: Callable, refused_twice: Callable
) -> None:
    path = image_of(case, "CT_CBF")
    rewrite(path, affine=moved(path, 40.0))
    spacing_mm = nibabel.load(path).header.get_zooms()[0]
    says = [f"40 mm ({40 / spacing_mm:.4g} voxels)", "cbf", "resample"]
    refused_twice("E-GEOM-03", files=[path, image_of(case, "CT")], says=says)


def test_c3_a_mirrored_modality_is_refused(
    case: Path, image_of: Callable, rewrite: Callable, refused_twice: Callable
) -> None:
    path = image_of(case, "CT_CBF")
    rewrite(path, affine=nibabel.load(path).affine @ np.diag([-1.0, 1, 1, 1]))
    refused_twice("E-GEOM-03", files=[path, image_of(case, "CT")], says=["mm (", "cbf"])


@pytest.mark.long
def test_c3_a_modality_stored_right_to_left_is_turned(
    case: Path, image_of: Callable, rewrite: Callable, predict: Run, works: Gate, same_maps: Callable
) -> None:
    path = image_of(case, "CT_CBF")
    image = nibabel.load(path)
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = image.shape[0] - 1
    rewrite(path, np.asarray(image.dataobj)[::-1], affine=image.affine @ flip)
    works(predict, case)
    same_maps()


def test_c4_a_modality_with_permuted_axes_is_refused(
    case: Path, image_of: Callable, rewrite: Callable, refused_twice: Callable
) -> None:
    path = image_of(case, "CT_CBF")
    affine = nibabel.load(path).affine @ SWAPPED
    affine[:3, 3] = [100.0, 120.0, 16.76]
    rewrite(path, affine=affine)
    refused_twice("E-GEOM-03", files=[path, image_of(case, "CT")], says=["mm (", "cbf"])


@pytest.mark.long
def test_c4_a_modality_stored_with_permuted_axes_is_turned(
    case: Path, image_of: Callable, rewrite: Callable, predict: Run, works: Gate, same_maps: Callable
) -> None:
    path = image_of(case, "CT_CBF")
    image = nibabel.load(path)
    rewrite(path, np.asarray(image.dataobj).swapaxes(0, 1), affine=image.affine @ SWAPPED)
    works(predict, case)
    same_maps()


def test_c5_affines_a_hundred_thousandth_of_a_millimetre_apart_are_one_grid(
    case: Path, image_of: Callable, rewrite: Callable, run: Run, predict: Run, works: Gate, same_maps: Callable
) -> None:
    path = image_of(case, "CT_CBF")
    rewrite(path, affine=moved(path, 1e-5))
    works(run, "check", case.parents[1], says=["0 errors, 0 warnings"])
    works(predict, case)
    same_maps()


@pytest.mark.long
def test_c6_results_of_an_oblique_scan_lie_on_its_own_grid(
    case: Path, image_of: Callable, rewrite: Callable, predict: Run, works: Gate, tmp_path: Path
) -> None:
    turn = turned(12, 1, 2) @ turned(7, 0, 1)
    for path in sorted(case.glob("*/*.nii")):
        rewrite(path, affine=turn @ nibabel.load(path).affine)
    works(predict, case)
    lesion, scan = nibabel.load(tmp_path / "out/case_7/lesion.nii.gz"), nibabel.load(image_of(case, "CT"))
    assert lesion.shape == scan.shape
    np.testing.assert_allclose(lesion.affine, scan.affine, atol=1e-4)


def test_c7_a_sheared_sform_is_refused_with_the_angle(
    case: Path, image_of: Callable, rewrite: Callable, refused_twice: Callable
) -> None:
    path = image_of(case, "CT")
    affine = nibabel.load(path).affine.copy()
    affine[1, 2] = 10 * np.tan(np.radians(5))
    rewrite(path, affine=affine, codes=(1, 0))
    refused_twice("E-GEOM-05", files=[path], says=["5 degrees off a right angle"], predicting=(path.name,))


@pytest.mark.parametrize("value", [0.0, np.nan], ids=["singular", "nan"])
def test_c8_an_affine_that_is_no_grid_is_printed_with_its_writer(
    case: Path, image_of: Callable, rewrite: Callable, refused_twice: Callable, value: float
) -> None:
    path = image_of(case, "CT")
    rewrite(path, fields={"srow_x": [value] * 4, "descrip": b"FSL5.0 for NAME^PATIENT"}, codes=(1, 0))
    says = ["sform [[", "written by FSL"]
    text = refused_twice("E-GEOM-06", files=[path], says=says, predicting=(path.name,))
    assert "PATIENT" not in text


def test_c9_an_image_without_orientation_is_refused(
    case: Path, image_of: Callable, rewrite: Callable, refused_twice: Callable
) -> None:
    path = rewrite(image_of(case, "CT"), fields={"sform_code": 0, "qform_code": 0})
    says = ["sform code 0 and qform code 0", "state the orientation"]
    refused_twice("E-GEOM-01", files=[path], says=says, predicting=(path.name,))


def test_c10_two_orientations_that_disagree_are_refused(
    case: Path, image_of: Callable, rewrite: Callable, refused_twice: Callable
) -> None:
    path = image_of(case, "CT")
    rewrite(path, fields={"srow_x": [1.011, 0, 0, -128.9]})
    refused_twice("E-GEOM-02", files=[path], says=["the sform would be used", "voxel"], predicting=(path.name,))


@pytest.mark.parametrize(("unit", "code"), [("metre", 1), ("micron", 3)])
def test_c11_lengths_in_another_unit_are_refused(
    case: Path, image_of: Callable, rewrite: Callable, refused_twice: Callable, unit: str, code: int
) -> None:
    path = rewrite(image_of(case, "CT"), fields={"xyzt_units": code | 8})
    refused_twice("E-GEOM-07", files=[path], says=[f"unit {unit}", "millimetres"], predicting=(path.name,))


def test_c12_a_label_on_another_grid_is_told_by_check_and_is_no_input_of_predict(
    case: Path, image_of: Callable, rewrite: Callable, run: Run, predict: Run, refused: Gate
) -> None:
    path = image_of(case, "OT")
    rewrite(path, affine=moved(path, 5.0))
    says = [path.name, image_of(case, "CT").name, "case_7", "label", "5 mm"]
    refused(run, "check", case.parents[1], exit_code=4, code="E-GEOM-03", says=says)
    assert predict(case).code == 0


def test_c12_a_prediction_on_another_grid_than_its_reference_is_not_scored(
    folder: Path, finished: Path, image_of: Callable, rewrite: Callable, run: Run, refused: Gate, tmp_path: Path
) -> None:
    path = image_of(folder / "TRAINING/case_1", "OT")
    rewrite(path, affine=moved(path, 5.0))
    words = ("evaluate", "--pred", finished, "--ref", folder, "--out", tmp_path / "out", "--allow-missing", "--strict")
    says = ["case_1", path.name, "lesion.nii.gz", "5 mm"]
    refused(run, *words, exit_code=4, code="E-GEOM-03", says=says)
