"""Frames in time: which attribute is believed, shuttled tables, and slices that are lost or there twice."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest

from monai_isles.dicom.read import read_series
from monai_isles.errors import IslesError


def refused(folder: Path, words: str, **options: object) -> None:
    with pytest.raises(IslesError, match=words) as error:
        read_series(folder, **options)
    assert len(str(error.value).splitlines()) == 4


def test_a_shuttled_series_is_brought_to_the_times_of_its_first_slab(write_tiny: Callable) -> None:
    """Slices 0 and 1 at 0, 3, 6, 9 s; 2 and 3 at 1.5, 4.5, 7.5, 10.5 s: common are 3, 6, 9 s, half way between."""
    scan, folder = write_tiny("shuttle", 8, 4)
    series = read_series(folder, kind="ctp")
    assert series.interpolated and series.times_s.tolist() == [0.0, 3.0, 6.0] and series.dt_s == 3.0
    assert np.array_equal(series.array[..., :2], scan.ctp[[2, 4, 6], :, :, :2])
    upper = scan.ctp[1::2, :, :, 2:].astype(float)
    np.testing.assert_allclose(series.array[..., 2:], (upper[:3] + upper[1:]) / 2, atol=1e-4)
    assert series.slice_times_s[0] == (-3.0, 0.0, 3.0, 6.0) and series.slice_times_s[3] == (-1.5, 1.5, 4.5, 7.5)
    assert ("E-DCM-33", "slices are interpolated in time") in [(one.code, one.fault) for one in series.findings]


@pytest.mark.parametrize(("slices", "counts"), [(1, [4, 4, 8, 4, 4]), (2, [4, 8, 8, 4])])
def test_slabs_may_overlap(write_tiny: Callable, slices: int, counts: list[int]) -> None:
    """Slices that both positions of the table hold were taken at the times of both."""
    scan, folder = write_tiny("shuttle", 8, 6)
    for path in (folder / "ctp").iterdir():
        header = pydicom.dcmread(path)
        x, y, z = header.ImagePositionPatient
        if float(z) > 12:  # slices 3 to 5
            header.ImagePositionPatient = [x, y, float(z) - 5 * slices]
            header.save_as(path)
    series = read_series(folder, kind="ctp")
    assert [len(own) for own in series.slice_times_s] == counts and series.times_s.tolist() == [0.0, 3.0, 6.0]
    assert np.array_equal(series.array[..., :3], scan.ctp[[2, 4, 6], :, :, :3])
    assert [one.code for one in series.findings] == ["E-DCM-33"]


def test_slabs_may_have_different_numbers_of_frames(write_tiny: Callable) -> None:
    scan, folder = write_tiny("shuttle", 8, 2)
    files = [path for path in folder.rglob("*") if path.is_file()]
    max(files, key=lambda path: float(pydicom.dcmread(path).AcquisitionTime)).unlink()
    series = read_series(folder, kind="ctp")
    assert [len(own) for own in series.slice_times_s] == [4, 3] and series.times_s.tolist() == [0.0, 3.0]
    assert np.array_equal(series.array[..., 0], scan.ctp[[2, 4], :, :, 0])


def test_slabs_without_common_times_are_refused(write_tiny: Callable) -> None:
    scan, folder = write_tiny("shuttle", 4, 2)
    assert scan.ctp.shape[0] == 4
    words = r"E-DCM-21(?s:.*)2 slabs: 1 slices from 0.00 s, 1 slices from 1.50 s; 1 times in common"
    refused(folder, words, kind="ctp")


def test_small_offsets_between_slices_are_not_interpolated(dicom) -> None:
    """Slices 0.1 s apart in frames of 1.5 s: the numbers stay, the frame has the mean time."""
    for t in range(4):
        for k in range(3):
            dicom.change(dicom.file(t, k), AcquisitionTime=f"10000{t * 1.5 + 0.1 * k:.1f}")
    series = read_series(dicom.folder)
    assert np.array_equal(series.array, dicom.scan.ctp) and not series.interpolated
    np.testing.assert_allclose(series.times_s, [0, 1.5, 3, 4.5], atol=1e-9)
    np.testing.assert_allclose(series.slice_times_s[2], [0.1, 1.6, 3.1, 4.6], atol=1e-9)


@pytest.mark.parametrize(("attribute", "values"), [
    ("AcquisitionDateTime", ["20000101100000.0", "20000101100002", "20000101100004+0100", "20000101100006.000000"]),
    ("TriggerTime", ["0", "2000", "4000", "6000"]), ("TemporalPositionIndex", [1, 2, 3, 4]),
    ("TemporalPositionIdentifier", [1, 2, 3, 4]), ("FrameReferenceTime", ["0", "2000", "4000", "6000"]),
])  # fmt: skip
def test_every_attribute_of_the_list_can_give_the_time(dicom, attribute: str, values: list) -> None:
    for t in range(4):
        for k in range(3):
            dicom.change(dicom.file(t, k), ContentTime="100000", AcquisitionTime="100000")
            dicom.change(dicom.file(t, k), TemporalResolution="2000", **{attribute: values[t]})
    series = read_series(dicom.folder)
    assert series.times_from == attribute and series.times_s.tolist() == [0.0, 2.0, 4.0, 6.0]


def test_the_acquisition_goes_before_the_content(dicom) -> None:
    for t in range(4):
        for k in range(3):
            dicom.change(dicom.file(t, k), ContentTime=f"12000{t}")
    assert read_series(dicom.folder).times_from == "AcquisitionTime"


def test_frames_without_a_time_are_refused(dicom) -> None:
    dicom.change_all(AcquisitionTime="100000", ContentTime=None, TemporalPositionIndex=1)
    refused(dicom.folder, r"E-DCM-12: no time(?s:.*)12 frames at 3 positions; AcquisitionTime is missing in some or eq")


def test_where_no_attribute_tells_a_time_that_is_said(dicom) -> None:
    dicom.change_all(AcquisitionTime=None, ContentTime=None)
    refused(dicom.folder, r"E-DCM-12: no time(?s:.*)12 frames at 3 positions; no time attribute\n")


def test_a_missing_slice_of_a_frame_is_named(dicom) -> None:
    dicom.file(2, 1).unlink()
    words = r"E-DCM-13(?s:.*)at 12.34 mm \(first file IM00002\): 3 of 4 frames, none at 3.00 s"
    refused(dicom.folder, words)


def test_two_slices_that_lost_different_frames_are_named(dicom) -> None:
    dicom.file(3, 0).unlink()
    dicom.file(1, 1).unlink()
    dicom.file(2, 2).unlink()
    refused(dicom.folder, r"E-DCM-13(?s:.*)at 12.34 mm(?s:.*)3 of 3 frames, none at 1.50 s")


def test_a_slice_with_the_time_of_another_is_named(dicom) -> None:
    clock = pydicom.dcmread(dicom.file(1, 0)).AcquisitionTime
    dicom.change(dicom.file(2, 0), AcquisitionTime=clock, ContentTime=clock)
    refused(dicom.folder, r"E-DCM-11(?s:.*)7.34 mm: IM00004, IM00007 \(one AcquisitionTime\)")


def test_a_doubled_slice_of_a_still_volume_is_named(dicom) -> None:
    dicom.still().change(dicom.file(0, 1), SOPInstanceUID="1.2.3")
    shutil.copy(dicom.file(0, 1), dicom.folder / "copy")
    dicom.change(dicom.folder / "copy", SOPInstanceUID="1.2.4", InstanceNumber="99")
    refused(dicom.folder, r"E-DCM-11(?s:.*)12.34 mm: IM00002, copy \(one AcquisitionTime\)")
    dicom.change(dicom.folder / "copy", AcquisitionTime="100010", ContentTime="100010")
    refused(dicom.folder, r"E-DCM-11(?s:.*)12.34 mm: IM00002, copy \(2 frames, 1 at other positions\)")


def test_an_interrupted_last_pass_is_left_out(dicom) -> None:
    """The table stopped after two of three slices of the last frame."""
    dicom.file(3, 2).unlink()
    series = read_series(dicom.folder)
    assert np.array_equal(series.array, dicom.scan.ctp[:3]) and series.times_s.tolist() == [0.0, 1.5, 3.0]
    assert [(one.code, one.found) for one in series.findings] == [("E-DCM-61", "frame 4 lacks slices")]


def test_a_first_pass_that_lacks_slices_is_left_out(dicom) -> None:
    dicom.file(0, 0).unlink()
    series = read_series(dicom.folder)
    assert np.array_equal(series.array, dicom.scan.ctp[1:]) and series.times_s.tolist() == [0.0, 1.5, 3.0]
    assert [(one.code, one.found) for one in series.findings] == [("E-DCM-61", "frame 1")]


def test_a_first_and_a_last_pass_that_lack_slices_are_both_left_out(write_tiny: Callable) -> None:
    scan, folder = write_tiny("classic", 6, 4)
    files = sorted((folder / "ctp").iterdir())
    for number in (0, 22, 23):  # the first slice of the first pass, two of the last
        files[number].unlink()
    series = read_series(folder / "ctp")
    assert np.array_equal(series.array, scan.ctp[1:5])
    assert [one.found for one in series.findings if one.code == "E-DCM-61"] == ["frame 6 lacks slices", "frame 1"]


def test_a_frame_that_most_positions_lack_is_named_as_missing_there(dicom) -> None:
    for place in (0, 2):
        dicom.file(1, place).unlink()
    refused(dicom.folder, r"E-DCM-13(?s:.*)no other position has the time of 12.34 mm: IM00005 \(4 frames, 3 at other")


def sweep(folder: Path, *, places: int, step_s: float) -> None:
    """Give the slices the times of a table that goes up and down in passes of 1.5 s."""
    for number, path in enumerate(sorted(folder.iterdir())):
        turn, place = divmod(number, places)
        header = pydicom.dcmread(path)
        header.AcquisitionTime = f"1000{1.5 * turn + step_s * (places - 1 - place if turn % 2 else place):05.2f}"
        header.save_as(path, enforce_file_format=True)


def test_a_table_that_sweeps_gives_the_times_of_its_middle(write_tiny: Callable) -> None:
    """Slices 0.4 s apart, up and down in passes of 1.5 s: at the ends two passes follow within 0.3 s."""
    scan, folder = write_tiny("classic", 6, 4)
    sweep(folder / "ctp", places=4, step_s=0.4)
    series = read_series(folder / "ctp")
    np.testing.assert_allclose(np.diff(series.times_s), [1.1, 1.9, 1.1], atol=1e-6)  # not 2.7 and 0.3 s
    assert np.array_equal(series.array[..., 1], scan.ctp[1:5, ..., 1])


@pytest.mark.parametrize("step_s", [0.04, 0.05, 0.06])
def test_a_sweep_that_takes_half_of_a_pass_lacks_no_slice(write_tiny: Callable, step_s: float) -> None:
    """The delay of the last slices against the first changes its sign with the direction by more than half a step."""
    scan, folder = write_tiny("classic", 8, 16)
    sweep(folder / "ctp", places=16, step_s=step_s)
    series = read_series(folder / "ctp")
    assert [one.code for one in series.findings] == ["E-DCM-33"] and len(series.times_s) == 6
    files = sorted((folder / "ctp").iterdir())
    for path in files[-3:]:  # an interrupted last pass
        path.unlink()
    series = read_series(folder / "ctp")
    assert [one.code for one in series.findings] == ["E-DCM-61", "E-DCM-33"] and len(series.times_s) == 5
    files[16 * 4 + 7].unlink()
    refused(folder / "ctp", "E-DCM-13")


def test_a_wide_sweep_takes_the_times_of_its_middle_slices(write_tiny: Callable) -> None:
    """Of 16 slices the sixth had steps of 1.1 and 1.9 s, to which all were interpolated: flow came out a fifth high."""
    _, folder = write_tiny("classic", 8, 16)
    sweep(folder / "ctp", places=16, step_s=0.08)
    series = read_series(folder / "ctp")
    assert np.diff(series.times_s).min() > 1.3 and np.diff(series.times_s).max() < 1.7


def test_a_pass_in_which_every_slice_has_its_own_time_is_one_frame(write_tiny: Callable) -> None:
    """Eight slices 0.1 s apart in passes of 1.5 s: brought to the times of the first, 0.7 s of the last pass unused."""
    scan, folder = write_tiny("classic", 6, 8)
    for number, path in enumerate(sorted((folder / "ctp").iterdir())):
        header = pydicom.dcmread(path)
        header.AcquisitionTime = f"10000{1.5 * (number // 8) + 0.1 * (number % 8):.1f}"
        header.save_as(path, enforce_file_format=True)
    series = read_series(folder / "ctp")
    assert series.interpolated and series.times_s.tolist() == [0.0, 1.5, 3.0, 4.5, 6.0]
    assert np.array_equal(series.array[..., 0], scan.ctp[1:, ..., 0])  # the first time inside the times of all slices
    own = scan.ctp[:, ..., 7].astype(float)  # taken 0.7 s later: 7/15 of the pass before, 8/15 of its own
    np.testing.assert_allclose(series.array[..., 7], own[:-1] * (7 / 15) + own[1:] * (8 / 15), atol=1e-3)


def test_a_helical_scan_that_was_stopped_keeps_its_whole_passes(write_tiny: Callable) -> None:
    _, folder = write_tiny("classic", 6, 8)
    for number, path in enumerate(sorted((folder / "ctp").iterdir())):
        header = pydicom.dcmread(path)
        header.AcquisitionTime = f"10000{1.5 * (number // 8) + 0.1 * (number % 8):.1f}"
        header.save_as(path, enforce_file_format=True)
        if number >= 8 * 5 + 3:
            path.unlink()
    series = read_series(folder / "ctp")
    assert len(series.times_s) == 4 and [one.code for one in series.findings] == ["E-DCM-61", "E-DCM-33"]
