"""A data set with its scans as DICOM too: beside the usual layout, whole or not at all, the numbers the same."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_isles.cli.main import main
from monai_isles.data import find_inputs
from monai_isles.dicom.read import read_series
from monai_isles.errors import IslesError
from monai_isles.io import read_image
from monai_isles.modalities import MEASURED_MAPS
from monai_isles.phantom import make_dataset
from monai_isles.phantom.dicom_writer import FORMS
from monai_isles.workflows.perfusion import measure_study
from tests.fixtures.shared import one_study

SEED = 7


@pytest.fixture(
    scope="module", params=[pytest.param(one, marks=[pytest.mark.long] if one == "enhanced" else []) for one in FORMS]
)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """One training and one test scan of two slices by the command, in one form of DICOM."""
    out = tmp_path_factory.mktemp(request.param) / "d"
    words = ["--cases", "1", "--test-cases", "1", "--seed", str(SEED), "--max-slices", "2"]
    assert main(["phantom", "--out", str(out), *words, "--dicom", request.param]) == 0
    return request.param, out


def _series_nifti(out: Path) -> Path:
    return next((out / "TRAINING" / "case_1").glob("*4DPWI*/*.nii"))


def _by_hand(form: str, path: Path) -> tuple[np.ndarray, float]:
    """Return the frames (T, H, W, D) that a reader of the form should see, from the NIfTI, and their step.

    Shuttled: slice 0 on the even frames, slice 1 on the odd ones, half way between two of them.
    """
    image = read_image(path, kind="ctp")
    if form != "shuttle":
        return image.data, image.dt_s
    count = (len(image.data) - 2) // 2
    frames = image.data[2 : 2 + 2 * count : 2].copy()
    frames[..., 1] = (image.data[1 : 1 + 2 * count : 2, ..., 1] + image.data[3 : 3 + 2 * count : 2, ..., 1]) / 2
    return frames, 2 * image.dt_s


def test_the_usual_layout_stands_beside_the_dicom_folders(both: tuple[str, Path]) -> None:
    _, out = both
    assert [case.name for case in find_inputs([out], section="training", keys=["ct", "cbf"])] == ["case_1"]
    folders = ["cbf", "cbv", "ct", "ctp", "mtt", "tmax"]
    for section in ("TRAINING", "TESTING"):
        assert sorted(path.name for path in (out / "DICOM" / section / "case_1").iterdir()) == folders
    assert f"dicom {both[0]}" in (out / "SIMULATED.txt").read_text(encoding="utf-8")


def test_hu_geometry_and_times_come_back(both: tuple[str, Path]) -> None:
    form, out = both
    series, path = read_series(out / "DICOM" / "TRAINING" / "case_1", kind="ctp"), _series_nifti(out)
    frames, step = _by_hand(form, path)
    if form == "shuttle":
        np.testing.assert_allclose(series.array, frames[: len(series.array)], atol=1e-3)
        assert series.interpolated and len(frames) - len(series.array) in (0, 1)
    else:
        assert np.array_equal(series.array, frames)
    np.testing.assert_allclose(series.affine, read_image(path, kind="ctp").affine, atol=1e-5)
    np.testing.assert_allclose(series.times_s, np.arange(len(series.array)) * step, atol=1e-5)


def test_maps_from_dicom_are_those_from_nifti(both: tuple[str, Path], tmp_path: Path) -> None:
    """The same command on the DICOM folder and on a NIfTI file of the frames that the table saw."""
    form, out = both
    frames, step = _by_hand(form, _series_nifti(out))
    found = one_study(out / "DICOM" / "TRAINING" / "case_1" / "ctp")
    times = read_series(found.path).times_s
    like = read_image(_series_nifti(out), kind="ctp")
    image = nibabel.Nifti1Image(np.moveaxis(frames[: len(times)], 0, -1).copy(), like.affine)
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = step
    image.set_sform(like.affine, 1)
    nibabel.save(image, tmp_path / "series.nii.gz")
    dicom = measure_study(found, "dicom", tmp_path)
    nifti = measure_study(one_study(tmp_path / "series.nii.gz"), "nifti", tmp_path)
    assert dicom.record["frames"] == nifti.record["frames"] and dicom.record["kind"] == "dicom"
    for key in ("ct", *MEASURED_MAPS):
        one, other = (read_image(str(study.entry[key]), kind=key).data for study in (dicom, nifti))
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-3, err_msg=key)


def test_a_data_set_that_cannot_be_whole_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("monai_isles.phantom.folder.write_dicom", full)
    with pytest.raises(IslesError, match="No space left"):
        make_dataset(tmp_path / "d", cases=1, seed=SEED, max_slices=2, series=False, dicom="classic")
    assert not list(tmp_path.iterdir())


def test_another_form_does_not_pass_for_the_same_data_set(both: tuple[str, Path]) -> None:
    other = FORMS[(FORMS.index(both[0]) + 1) % 3]
    with pytest.raises(IslesError, match="E-PHAN-03: the folder exists already"):
        make_dataset(both[1], cases=1, test_cases=1, seed=SEED, max_slices=2, dicom=other)
    assert make_dataset(both[1], cases=1, test_cases=1, seed=SEED, max_slices=2, dicom=both[0]) == both[1]


def test_only_ct_is_written_as_dicom_and_only_in_a_known_form(tmp_path: Path, capsys) -> None:
    with pytest.raises(IslesError, match=r"E-PHAN-22: this phantom is not written as DICOM(?s:.*)kind siss"):
        make_dataset(tmp_path / "d", cases=1, seed=SEED, kind="siss", dicom="classic")
    with pytest.raises(IslesError, match="E-PHAN-20: the form of DICOM is not known"):
        make_dataset(tmp_path / "d", cases=1, seed=SEED, dicom="mosaic")
    words = ["--out", str(tmp_path / "d"), "--cases", "1", "--dicom", "mosaic", "--json"]
    assert main(["phantom", *words]) == 2 and "mosaic" in capsys.readouterr().err
    assert not (tmp_path / "d").exists()
