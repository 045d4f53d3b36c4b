"""A simulated scan as DICOM and back: HU, geometry and timing exact, maps the same, nobody's name in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from monai_isles.dicom.read import find_series, read_series
from monai_isles.errors import IslesError
from monai_isles.io import read_image
from monai_isles.perfusion import perfusion_maps, tissue_mask
from monai_isles.phantom.ct.scan import CaseArrays
from monai_isles.phantom.dicom_writer import write_dicom


@pytest.fixture(scope="module")
def nifti(folder: Path) -> dict[str, Path]:
    """The same scan as the data set has it, by key."""
    case = folder / "TRAINING" / "case_2"
    return {key: next(case.glob(f"*.{name}.*/*.nii")) for key, name in {"ct": "CT", "ctp": "CT_4DPWI"}.items()}


@pytest.mark.parametrize("form", ["classic", "enhanced"])
def test_numbers_places_and_times_are_those_of_the_nifti(
    case: CaseArrays, nifti: dict[str, Path], tmp_path: Path, form: str
) -> None:
    write_dicom(case, tmp_path / "d", form=form)
    series, image = read_series(tmp_path / "d", kind="ctp"), read_image(nifti["ctp"], kind="ctp")
    assert np.array_equal(series.array, image.data) and np.array_equal(series.array, case.ctp)
    np.testing.assert_allclose(series.affine, image.affine, atol=1e-5)  # NIfTI keeps single precision
    np.testing.assert_array_equal(series.times_s, np.round(np.arange(len(case.ctp)) * case.dt_s, 6))
    assert series.dt_s == pytest.approx(case.dt_s, abs=1e-9) and image.dt_s == pytest.approx(series.dt_s)
    plain = read_series(tmp_path / "d", kind="ct")
    assert np.array_equal(plain.array, case.images["ct"])
    assert plain.frame_of_reference_uid == series.frame_of_reference_uid


def test_maps_from_dicom_are_those_from_nifti(case: CaseArrays, nifti: dict[str, Path], tmp_path: Path) -> None:
    write_dicom(case, tmp_path / "d", form="enhanced")
    series, image = read_series(tmp_path / "d", kind="ctp"), read_image(nifti["ctp"], kind="ctp")
    found = []
    for data, dt_s, spacing in ((series.array, series.dt_s, series.spacing_mm), (image.data, image.dt_s, None)):
        spacing = tuple(np.round(spacing or image.spacing_mm, 4).tolist())
        mask = tissue_mask(data[:3].mean(0), spacing)
        found.append(perfusion_maps(data, round(dt_s, 6), mask=mask, spacing_mm=spacing))
    for key in ("cbf", "cbv", "mtt", "tmax"):
        assert np.array_equal(getattr(found[0], key), getattr(found[1], key))


def test_a_shuttled_scan_keeps_what_the_table_saw(case: CaseArrays, tmp_path: Path) -> None:
    """Slice 0 on even frames, slice 1 on odd ones: at the common times slice 0 is exact, slice 1 half way between."""
    write_dicom(case, tmp_path / "d", form="shuttle")
    series = read_series(tmp_path / "d", kind="ctp")
    count = len(series.times_s)
    assert series.interpolated and np.array_equal(series.array[..., 0], case.ctp[2 : 2 + 2 * count : 2, ..., 0])
    middle = (case.ctp[1::2, ..., 1].astype(float)[:count] + case.ctp[3::2, ..., 1][:count]) / 2
    np.testing.assert_allclose(series.array[..., 1], middle, atol=1e-3)
    np.testing.assert_allclose(series.times_s, np.arange(count) * 2 * case.dt_s, atol=1e-9)


def test_maps_come_back_to_half_a_slope(case: CaseArrays, tmp_path: Path) -> None:
    write_dicom(case, tmp_path / "d")
    for key, units in {"cbf": "ml/100g/min", "cbv": "ml/100g", "mtt": "s", "tmax": "s"}.items():
        series = read_series(tmp_path / "d", kind=key)
        half = 0.51 * float(case.images[key].max()) / 60000
        np.testing.assert_allclose(series.array, case.images[key], atol=half)
        assert series.units == units


def test_the_patient_is_plainly_made_up_and_the_files_are_the_same_twice(case: CaseArrays, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_dicom(case, tmp_path / name, form="enhanced")
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("IM*"))
    assert all((tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes() for path in files)
    header = pydicom.dcmread(tmp_path / "a" / files[0])
    assert (str(header.PatientName), header.PatientID, header.QualityControlSubject) == (
        "SIMULATED^PHANTOM", "SIMULATED", "YES")  # fmt: skip
    assert all(info.description.startswith("SIMULATED") for info in find_series(tmp_path / "a"))


def test_an_unknown_form_and_a_taken_folder_are_refused(case: CaseArrays, tmp_path: Path) -> None:
    with pytest.raises(
        IslesError, match=r"E-PHAN-20: the form of DICOM is not known(?s:.*)'mosaic'(?s:.*)classic, shuttle"
    ):
        write_dicom(case, tmp_path / "d", form="mosaic")
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(IslesError, match=r"E-PHAN-21: the folder exists already"):
        write_dicom(case, tmp_path)
