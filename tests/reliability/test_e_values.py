"""Group E of the reliability list: values that are not numbers, not plausible, or would change on disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_isles.errors import IslesError
from monai_isles.io import read_image
from monai_isles.io.publish import publish_image

Gate, Run = Callable[..., object], Callable[..., object]


def values(path: Path) -> np.ndarray:
    return np.asarray(nibabel.load(path).dataobj)


def with_one(path: Path, value: float) -> np.ndarray:
    data = values(path)
    data[100, 100, 1] = value
    return data


def unbinarised(config: dict) -> None:
    """Leave the threshold out of a bundle, so that its lesion is still a probability."""
    steps = config["postprocessing"]["transforms"]
    steps[:] = [step for step in steps if not step["_target_"].endswith(".Binarised")]


def shifted(config: dict) -> None:
    """Add 40,000 to the probabilities of a bundle, and let it write them as it writes a mask."""
    steps = config["postprocessing"]["transforms"]
    step = {"_target_": "monai.transforms.ShiftIntensityd", "keys": "probability", "offset": 40000.0}
    steps.insert(len(steps) - 1, step)
    steps[-1]["masks"] = ["lesion", "probability"]


def below_zero(path: Path, share: float) -> np.ndarray:
    data = values(path)
    brain = np.argwhere(data > 0)
    data[tuple(brain[: int(share * len(brain))].T)] = -3.0
    return data


def test_e1_one_nan_voxel_in_the_only_case_stops_the_training(
    folder: Path, image_of: Callable, rewrite: Callable, training: Run, refused: Gate
) -> None:
    path = image_of(folder / "TRAINING/case_1", "CT_CBF")
    rewrite(path, with_one(path, np.nan))
    says = ["case_1", path.name, "1 NaN and 0 infinite of 131072 voxels"]
    refused(training, exit_code=4, code="E-VAL-03", says=says)


@pytest.mark.parametrize(
    ("value", "count"), [(np.nan, "1 NaN and 0"), (np.inf, "0 NaN and 1"), (-np.inf, "0 NaN and 1")]
)
def test_e2_one_voxel_that_is_not_finite_is_counted_and_refused(
    case: Path, image_of: Callable, rewrite: Callable, predict: Run, refused: Gate, value: float, count: str
) -> None:
    path = image_of(case, "CT_Tmax")
    rewrite(path, with_one(path, value))
    refused(predict, case, exit_code=3, code="E-VAL-03", says=["case_7", path.name, f"{count} infinite"])


def test_e3_an_empty_modality_is_refused(
    case: Path, image_of: Callable, rewrite: Callable, predict: Run, refused: Gate
) -> None:
    path = image_of(case, "CT_CBV")
    rewrite(path, values(path) * 0)
    says = ["case_7", path.name, "every voxel of the cerebral blood volume is 0"]
    refused(predict, case, exit_code=3, code="E-VAL-04", says=says)


def test_e4_a_constant_modality_is_accepted_with_a_warning(
    case: Path, image_of: Callable, rewrite: Callable, run: Run, predict: Run, works: Gate
) -> None:
    path = image_of(case, "CT_MTT")
    rewrite(path, np.full_like(values(path), 5))
    says = ["E-VAL-09", "case_7", path.name, "every voxel of the mean transit time is 5"]
    works(run, "check", case.parents[1], says=says)
    works(predict, case, says=says)


def test_e5_probabilities_are_never_written_as_a_mask(
    case: Path, bundle_with: Callable, predict: Run, refused: Gate
) -> None:
    bundle = bundle_with(unbinarised)
    refused(predict, case, bundle=bundle, exit_code=3, code="E-VAL-07", says=["case_7", "lesion.nii.gz", "uint8"])


@pytest.mark.parametrize(("value", "dtype"), [(0.5, np.uint8), (4e4, np.int16), (np.nan, np.uint8)])
def test_e6_a_lossy_cast_is_refused_and_the_file_before_it_kept(
    finished: Path, tmp_path: Path, value: float, dtype: type
) -> None:
    path = shutil.copy(finished / "case_1/lesion.nii.gz", tmp_path / "lesion.nii.gz")
    before, like = path.read_bytes(), read_image(finished / "case_1/probability.nii.gz")
    data = np.zeros(like.grid_shape, np.float32)
    data[7] = value
    with pytest.raises(IslesError, match=rf"E-VAL-07(?s:.*)lesion(?s:.*)for example {value:g}\n  fix"):
        publish_image(path, data, like, dtype=dtype)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["lesion.nii.gz"]


def test_e6_values_of_40000_are_never_written_as_a_mask(
    case: Path, bundle_with: Callable, predict: Run, refused: Gate
) -> None:
    says = ["case_7", "probability.nii.gz", "do not fit uint8", "for example 40000"]
    refused(predict, case, bundle=bundle_with(shifted), exit_code=3, code="E-VAL-07", says=says)


def test_e7_an_absurd_scale_factor_is_refused(
    case: Path, image_of: Callable, rewrite: Callable, predict: Run, refused: Gate
) -> None:
    path = rewrite(image_of(case, "CT"), fields={"scl_slope": 1e30, "scl_inter": 0.0})
    refused(predict, case, exit_code=3, code="E-VAL-05", says=["case_7", path.name, "scale factors", "HU"])


@pytest.mark.parametrize("slope", [0.0, np.nan])
def test_e8_a_scale_factor_of_zero_or_nan_means_none(
    case: Path, rewrite: Callable, predict: Run, works: Gate, same_maps: Callable, slope: float
) -> None:
    for path in sorted(case.glob("*/*.nii")):
        rewrite(path, fields={"scl_slope": slope, "scl_inter": 7.0})
    works(predict, case)
    same_maps()


def test_e9_complex_numbers_are_refused(
    case: Path, image_of: Callable, rewrite: Callable, predict: Run, refused: Gate
) -> None:
    path = image_of(case, "CT_CBF")
    rewrite(path, values(path).astype(np.complex64))
    refused(predict, case, exit_code=3, code="E-VAL-01", says=["case_7", path.name, "complex", "save the magnitude"])


def test_e10_colours_are_refused(
    case: Path, image_of: Callable, rewrite: Callable, predict: Run, refused: Gate
) -> None:
    path = image_of(case, "CT_CBF")
    colours = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    rewrite(path, np.zeros((256, 256, 2), colours))
    refused(predict, case, exit_code=3, code="E-VAL-02", says=["case_7", path.name, "RGB", "export the values"])


def test_e11_a_few_negative_voxels_are_clipped_and_counted(
    case: Path, image_of: Callable, rewrite: Callable, run: Run, predict: Run, works: Gate
) -> None:
    path = image_of(case, "CT_CBF")
    rewrite(path, below_zero(path, 0.02))
    brain = int(np.count_nonzero(values(path)))
    says = ["E-VAL-10", "case_7", path.name, f"{int(0.02 * brain)} of {brain} non-zero voxels below 0, lowest -3"]
    works(run, "check", case.parents[1], says=says)
    works(predict, case, says=says)


def test_e11_many_negative_voxels_are_refused(
    case: Path, image_of: Callable, rewrite: Callable, predict: Run, refused: Gate
) -> None:
    path = image_of(case, "CT_CBF")
    rewrite(path, below_zero(path, 0.1))
    refused(predict, case, exit_code=3, code="E-VAL-06", says=["case_7", path.name, "(10%) below 0", "at most 5%"])


@pytest.mark.parametrize(
    ("key", "factor", "fix"),
    [("CT_Tmax", 1000, "likely milliseconds: divide by 1000"), ("CT_CBF", 100, "likely a scale factor of")],
)
def test_e12_another_unit_is_refused_with_the_likely_factor(
    case: Path, image_of: Callable, rewrite: Callable, predict: Run, refused: Gate, key: str, factor: int, fix: str
) -> None:
    path = image_of(case, key)
    rewrite(path, values(path) * np.float32(factor))
    refused(predict, case, exit_code=3, code="E-VAL-05", says=["case_7", path.name, "expected", fix])
