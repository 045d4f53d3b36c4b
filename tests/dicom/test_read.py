"""DICOM series read back: numbers, places and times exact; everything that would make them wrong is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest

from monai_isles.dicom.read import find_series, read_series
from monai_isles.errors import IslesError


def hand_affine(spacing: tuple[float, float, float] = (0.9, 0.8, 5.0)) -> np.ndarray:
    """RAS+ of 6 x 5 x 3 voxels centred in plane, the middle slice at 12.34 mm."""
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = [-2.5 * 0.9, -2 * 0.8, 12.34 - 5.0]
    return affine


def hu(path: Path) -> np.ndarray:
    return pydicom.dcmread(path).pixel_array.astype(int) - 1024


def test_a_classic_series_comes_back_exactly(dicom) -> None:
    series = read_series(dicom.folder)
    assert series.array.dtype == np.float32 and np.array_equal(series.array, dicom.scan.ctp)
    np.testing.assert_allclose(series.affine, hand_affine(), atol=1e-9)
    assert series.times_s.tolist() == [0.0, 1.5, 3.0, 4.5] and series.dt_s == 1.5 and not series.interpolated
    assert (series.kind, series.units, series.times_from) == ("ctp", "HU", "AcquisitionTime")
    assert series.tube_kv == 80.0


@pytest.mark.parametrize("stated", [None, "0"])
def test_a_tube_voltage_that_is_not_stated_is_none(dicom, stated: str | None) -> None:
    for path in dicom.files:
        header = pydicom.dcmread(path)
        del header.KVP
        if stated is not None:
            header.KVP = stated
        header.save_as(path)
    assert read_series(dicom.folder).tube_kv is None


def test_the_first_slices_are_named_in_the_order_of_the_array(dicom) -> None:
    series = read_series(dicom.folder)
    assert [path.name for path, _ in series.slices] == ["IM00001", "IM00002", "IM00003"]
    assert series.frame_of_reference_uid


def test_an_enhanced_file_comes_back_exactly(write_tiny: Callable) -> None:
    scan, folder = write_tiny("enhanced")
    series = read_series(folder, kind="ctp")
    assert np.array_equal(series.array, scan.ctp) and series.times_s.tolist() == [0.0, 1.5, 3.0, 4.5]
    np.testing.assert_allclose(series.affine, hand_affine(), atol=1e-9)
    assert series.times_from == "FrameAcquisitionDateTime" and series.tube_kv == 80.0
    assert [index for _, index in series.slices] == [0, 1, 2]


def test_a_still_volume_has_no_times(dicom) -> None:
    series = read_series(dicom.folder.parent / "ct")
    assert np.array_equal(series.array, dicom.scan.images["ct"]) and series.kind == "ct"
    assert series.times_s is None and series.dt_s is None and series.slice_times_s is None


def test_the_order_of_the_files_means_nothing(dicom) -> None:
    names = [path.name for path in dicom.files]
    for path, name in zip(dicom.files, np.random.default_rng(0).permutation(names), strict=True):
        path.rename(path.with_name(f"x{name}.anything"))
    assert np.array_equal(read_series(dicom.folder).array, dicom.scan.ctp)


def test_an_oblique_stack_keeps_its_place(dicom) -> None:
    """Turned by 30 degrees about the left-right axis: every voxel must lie where trigonometry puts it."""
    c, s = np.cos(np.radians(30)), np.sin(np.radians(30))
    normal = np.array([0, -s, c])
    for n, path in enumerate(dicom.still().files):
        place = np.array([10.0, 20.0, 30.0]) + 5.0 * n * normal
        dicom.change(path, ImageOrientationPatient=[1, 0, 0, 0, f"{c:.14f}", f"{s:.14f}"],
                     ImagePositionPatient=[f"{one:.12f}" for one in place])  # fmt: skip
    series = read_series(dicom.folder)
    row, column, k = 3, 2, 1  # DICOM row 3 to the back, column 2 to the left, slice 1
    lps = np.array([10 + 2 * 0.9, 20, 30]) + 3 * 0.8 * np.array([0, c, s]) + 5.0 * normal
    found = np.linalg.solve(series.affine, [-lps[0], -lps[1], lps[2], 1.0])[:3]
    np.testing.assert_allclose(found, np.round(found), atol=1e-6)
    stored = hu(dicom.file(0, k))[row, column]
    assert series.array[tuple(np.round(found).astype(int))] == stored


def test_a_coronal_stack_is_turned_to_ras(dicom) -> None:
    for n, path in enumerate(dicom.still().files):
        dicom.change(path, ImageOrientationPatient=[1, 0, 0, 0, 0, -1], ImagePositionPatient=[0, 5 * n, 0])
    series = read_series(dicom.folder)
    assert series.array.shape == (6, 3, 5) and series.spacing_mm == pytest.approx((0.9, 5.0, 0.8))
    assert series.array[5, 2, 4] == hu(dicom.file(0, 0))[0, 0]
    np.testing.assert_allclose(series.affine @ [5, 2, 4, 1], [0, 0, 0, 1], atol=1e-9)


def test_slices_along_an_axis_that_is_turned_keep_their_files_beside_them(dicom) -> None:
    """With the normal downwards the stack runs from the top; the array does not."""
    for n, path in enumerate(dicom.still().files):
        dicom.change(path, ImageOrientationPatient=[-1, 0, 0, 0, 1, 0], ImagePositionPatient=[0, 0, 5 * n])
    series = read_series(dicom.folder)
    assert [path.name for path, _ in series.slices] == ["IM00001", "IM00002", "IM00003"]
    assert series.array[0, 4, 2] == hu(dicom.file(0, 2))[0, 0]
    np.testing.assert_allclose(series.affine @ [0, 4, 2, 1], [0, 0, 10, 1], atol=1e-9)


def test_every_frame_has_its_own_slope(dicom) -> None:
    dicom.change(dicom.file(1, 2), RescaleSlope="0.5", RescaleIntercept="-500.25")
    stored = dicom.scan.ctp[1, :, :, 2].astype(float) + 1024
    series = read_series(dicom.folder)
    assert np.array_equal(series.array[1, :, :, 2], stored * 0.5 - 500.25)
    assert np.array_equal(series.array[2], dicom.scan.ctp[2])


def test_uneven_frames_have_times_but_no_step(dicom) -> None:
    for k in range(3):
        dicom.change(dicom.file(3, k), AcquisitionTime="100010.5")
    series = read_series(dicom.folder)
    assert series.times_s.tolist() == [0.0, 1.5, 3.0, 10.5] and series.dt_s is None


def test_midnight_does_not_turn_time_back(dicom) -> None:
    clocks = ("235957.5", "235959.0", "000000.5", "000002.0")
    for t, clock in enumerate(clocks):
        for k in range(3):
            dicom.change(dicom.file(t, k), AcquisitionTime=clock, AcquisitionDate=None)
    series = read_series(dicom.folder)
    assert series.times_s.tolist() == [0.0, 1.5, 3.0, 4.5] and np.array_equal(series.array, dicom.scan.ctp)


def test_a_map_with_numbers_is_read_in_its_units(dicom) -> None:
    series = read_series(dicom.folder.parent, kind="cbf")
    slope = float(dicom.scan.images["cbf"].max()) / 60000
    np.testing.assert_allclose(series.array, dicom.scan.images["cbf"], atol=0.51 * slope)
    assert (series.kind, series.units) == ("cbf", "ml/100g/min")


def test_a_map_in_real_world_values_is_read(dicom) -> None:
    def world(header: pydicom.Dataset) -> None:
        item, code = pydicom.Dataset(), pydicom.Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "s", "UCUM", "seconds"
        item.RealWorldValueSlope, item.RealWorldValueIntercept = 0.25, 1.0
        item.MeasurementUnitsCodeSequence = [code]
        header.RealWorldValueMappingSequence = [item]
        del header.RescaleSlope, header.RescaleIntercept, header.RescaleType

    folder = dicom.folder.parent / "tmax"
    for path in folder.iterdir():
        dicom.change(path, edit=world)
    series = read_series(folder)
    stored = pydicom.dcmread(folder / "IM00001").pixel_array
    assert series.units == "s" and np.array_equal(series.array[::-1, ::-1, 0].T, stored * 0.25 + 1)


def test_no_name_is_kept_or_logged(dicom, caplog: pytest.LogCaptureFixture) -> None:
    dicom.change_all(PatientName="Musterfrau^Erika", PatientID="4711-secret")
    (dicom.folder / "notes.txt").write_text("x")
    series, (info,) = read_series(dicom.folder), find_series(dicom.folder)
    told = f"{series}{info}{series.findings}{caplog.text}"
    assert "Musterfrau" not in told and "4711-secret" not in told
    assert "notes.txt" in caplog.text
    dicom.change(dicom.file(0, 0), ImageOrientationPatient=None)
    with pytest.raises(IslesError) as error:
        read_series(dicom.folder)
    assert "Musterfrau" not in str(error.value)


def refused(folder: Path, words: str, **options: object) -> None:
    with pytest.raises(IslesError, match=words) as error:
        read_series(folder, **options)
    assert len(str(error.value).splitlines()) == 4


def test_several_series_are_not_chosen_from(dicom) -> None:
    root = dicom.folder.parent
    refused(root, r"E-DCM-04: several series(?s:.*)series 2 ct(?s:.*)series 3 ctp")
    uid = next(info.uid for info in find_series(root) if info.kind == "ctp")
    assert read_series(root, series_uid=uid).array.shape == (4, 6, 5, 3)


def test_a_series_that_is_not_there_is_named(dicom) -> None:
    refused(dicom.folder, r"E-DCM-05: no such series(?s:.*)1\.2\.3", series_uid="1.2.3")
    refused(dicom.folder, r"E-DCM-03: no series that can be read(?s:.*)mtt(?s:.*)series 3 ctp", kind="mtt")


def test_mixed_orientations_are_refused(dicom) -> None:
    dicom.change(dicom.file(2, 1), ImageOrientationPatient=[1, 0, 0, 0, 0, -1])
    refused(dicom.folder, r"E-DCM-10: slices have different orientations(?s:.*)1 others: IM00008")


def test_axes_that_are_not_square_are_refused(dicom) -> None:
    dicom.change_all(ImageOrientationPatient=[1, 0, 0, 0.5, 0.8, 0])
    refused(dicom.folder, r"E-DCM-10: orientation of the slices is no pair of axes")


def test_mixed_sizes_are_refused(dicom) -> None:
    dicom.change(dicom.file(0, 2), PixelSpacing=["0.8", "0.95"])
    refused(dicom.folder, r"E-DCM-18(?s:.*)5 x 6 of 0.8 x 0.9 mm(?s:.*)0.8 x 0.95 mm: IM00003")


def test_a_spacing_that_some_files_round_is_one(dicom) -> None:
    for path in dicom.files[::2]:
        dicom.change(path, PixelSpacing=["0.80001", "0.9"])
    assert np.array_equal(read_series(dicom.folder).array, dicom.scan.ctp)


def test_a_missing_slice_is_named_by_its_neighbours(write_tiny: Callable) -> None:
    _, folder = write_tiny("classic", 2, 5)
    for t in range(2):
        (folder / "ctp" / f"IM{t * 5 + 3:05d}").unlink()
    refused(folder / "ctp", r"E-DCM-13: slices are missing(?s:.*)10 mm between 7.34 mm \(IM00002\) and 17.34 mm")


def test_uneven_slices_are_refused(dicom) -> None:
    for t in range(4):
        dicom.change(dicom.file(t, 2), ImagePositionPatient=["-2.25", "-1.6", "18.34"])
    refused(dicom.folder, r"E-DCM-17: slices are unevenly spaced(?s:.*)6 mm between 12.34 mm(?s:.*)5 mm elsewhere")


@pytest.mark.parametrize("step_mm", [3.75, 0.625])
def test_even_positions_that_were_rounded_to_a_tenth_are_even(dicom, step_mm: float) -> None:
    for t in range(4):
        for k in range(3):
            place = ["-2.2", "-1.6", f"{7.34 + step_mm * k:.1f}"]
            dicom.change(dicom.file(t, k), ImagePositionPatient=place, SliceThickness=step_mm)
    series = read_series(dicom.folder)
    assert np.array_equal(series.array, dicom.scan.ctp) and series.spacing_mm[2] == pytest.approx(step_mm, abs=0.05)


def test_a_step_that_differs_by_a_fraction_is_no_lost_slice(dicom) -> None:
    for t in range(4):
        dicom.change(dicom.file(t, 2), ImagePositionPatient=["-2.25", "-1.6", "17.75"])
    refused(dicom.folder, r"E-DCM-17: slices are unevenly spaced(?s:.*)5.41 mm between 12.34 mm(?s:.*)5 mm elsewhere")


def test_slices_beside_each_other_are_refused(dicom) -> None:
    dicom.change(dicom.file(1, 0), ImagePositionPatient=["3", "-1.6", "7.34"])
    refused(dicom.folder, r"E-DCM-17: slices of one level lie beside(?s:.*)IM00004: 5.25 mm")


def test_several_frames_of_reference_are_refused(dicom) -> None:
    dicom.change(dicom.file(3, 2), FrameOfReferenceUID="1.2.3.4")
    refused(dicom.folder, r"E-DCM-22(?s:.*)2 of them(?s:.*)IM00012")


def test_numbers_in_two_units_are_refused(dicom) -> None:
    dicom.change(dicom.file(0, 0), RescaleType="OD")
    refused(dicom.folder, r"E-DCM-16(?s:.*)rescale types HU, OD")
    dicom.change_all(RescaleType="OD")
    refused(dicom.folder, r"E-DCM-16(?s:.*)rescale type OD, not HU")


@pytest.mark.parametrize("kinds", [
    [None], [None, "HU"], ["hu"], ["Hounsfield Unit"], ["HOUNDSFIELD UNIT", "HU"], ["US"], ["US", "HU", None],
], ids=str)  # fmt: skip
def test_a_ct_is_in_hu_however_its_rescale_type_says_so(dicom, kinds: list) -> None:
    for number, path in enumerate(dicom.files):
        dicom.change(path, RescaleType=kinds[number % len(kinds)])
    series = read_series(dicom.folder)
    assert series.units == "HU" and np.array_equal(series.array, dicom.scan.ctp)
    assert [one.code for one in series.findings] == ["E-DCM-62"] * ("US" in kinds)


@pytest.mark.parametrize("off_mm", [0.0, 0.1, 0.3, 0.5])
def test_a_table_that_returns_slightly_off_is_one_place(dicom, off_mm: float) -> None:
    """Slices 5 mm apart; odd frames lie up to a tenth of that higher."""
    for t in (1, 3):
        for k in range(3):
            dicom.change(dicom.file(t, k), ImagePositionPatient=["-2.25", "-1.6", f"{7.34 + 5 * k + off_mm:.3f}"])
    (info,) = find_series(dicom.folder)
    series = read_series(dicom.folder)
    assert info.kind == "ctp" and np.array_equal(series.array, dicom.scan.ctp)
    assert series.spacing_mm[2] == pytest.approx(5.0)
    assert [one.code for one in series.findings] == ["E-DCM-63"] * (off_mm > 0.2)
    assert series.affine[2, 3] == pytest.approx(7.34 + off_mm / 2)


def test_a_table_with_a_place_of_its_own_each_time_is_read(dicom) -> None:
    rng = np.random.default_rng(0)
    for path in dicom.files:
        x, y, z = (float(one) for one in pydicom.dcmread(path).ImagePositionPatient)
        dicom.change(path, ImagePositionPatient=[f"{x:.3f}", f"{y:.3f}", f"{z + rng.uniform(-0.2, 0.2):.3f}"])
    series = read_series(dicom.folder)
    assert series.kind == "ctp" and np.array_equal(series.array, dicom.scan.ctp)
    assert series.affine[2, 3] == pytest.approx(7.34, abs=0.2) and series.spacing_mm[2] == pytest.approx(5, abs=0.2)


@pytest.mark.parametrize("where", ["ctp", "cbf"])
def test_numbers_without_a_scale_are_refused(dicom, where: str) -> None:
    for path in (dicom.folder.parent / where).iterdir():
        dicom.change(path, RescaleSlope=None, RescaleIntercept=None)
    refused(dicom.folder.parent / where, r"E-DCM-16(?s:.*)frames without rescale slope and intercept")


def test_a_slope_below_zero_is_refused(dicom) -> None:
    dicom.change(dicom.file(3, 1), RescaleSlope="-1")
    refused(dicom.folder, r"E-DCM-16(?s:.*)1 frames with a rescale slope of -1, such as IM00011")


def test_a_ct_without_a_slope_beside_its_intercept_has_one_of_one(dicom) -> None:
    dicom.change_all(RescaleSlope=None)
    series = read_series(dicom.folder)
    assert np.array_equal(series.array, dicom.scan.ctp)
    assert [(one.code, one.found) for one in series.findings] == [
        ("E-DCM-62", "no rescale slope beside the intercept: 1")
    ]


def test_one_slice_without_thickness_is_refused(dicom) -> None:
    for path in dicom.files[1:]:
        path.unlink()
    assert read_series(dicom.folder).spacing_mm == (0.9, 0.8, 5.0)
    dicom.change_all(SpacingBetweenSlices=0)
    assert read_series(dicom.folder).spacing_mm == (0.9, 0.8, 5.0)
    dicom.change_all(SliceThickness=None)
    refused(dicom.folder, r"E-DCM-20(?s:.*)IM00001: Slice Thickness")


@pytest.mark.parametrize(("attribute", "value", "found"), [
    ("ImagePositionPatient", None, "no such attribute"), ("PixelSpacing", ["0.9"], "1 values, 2 finite ones"),
    ("ImageOrientationPatient", ["1", "0", "0"], "3 values, 6 finite"),
])  # fmt: skip
def test_a_missing_attribute_is_named_with_its_file(dicom, attribute: str, value: object, found: str) -> None:
    dicom.change(dicom.file(1, 1), **{attribute: value})
    refused(dicom.folder, rf"E-DCM-20(?s:.*)IM00005: {attribute}(?s:.*){found}")
    refused(dicom.folder, rf"E-DCM-20(?s:.*)IM00005: {attribute}(?s:.*){found}", kind="ctp")
