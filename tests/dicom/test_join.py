"""A dynamic scan stored as one series for each time is put together; what is not one scan in time is left alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest

from monai_isles.data.study import find_studies, read_study
from monai_isles.dicom.read import find_series, read_series
from monai_isles.errors import IslesError
from monai_isles.phantom.ct.scan import CaseArrays
from tests.fixtures.shared import one_study

FRAMES, DEPTH = 6, 3


@pytest.fixture
def parted(write_tiny: Callable, tmp_path: Path) -> tuple[CaseArrays, Path]:
    """A study of a plain CT, taken 5 minutes before, and a dynamic scan in a series a time, in one folder each."""
    scan, folder = write_tiny("classic", FRAMES, DEPTH)
    for n, path in enumerate(sorted((folder / "ctp").iterdir())):
        t = n // DEPTH
        change(path, SeriesInstanceUID=f"1.2.3.{t}", SeriesNumber=str(100 + t))
        place = folder / f"time_{t}"
        place.mkdir(exist_ok=True)
        path.rename(place / path.name)
    (folder / "ctp").rmdir()
    for path in (folder / "ct").iterdir():
        change(path, AcquisitionTime="095500")
    for key in ("cbf", "tmax"):
        for path in (folder / key).iterdir():
            path.unlink()
    return scan, folder


def change(path: Path, **values: object) -> None:
    header = pydicom.dcmread(path)
    for key, value in values.items():
        setattr(header, key, value)
    header.save_as(path, enforce_file_format=True)


def test_the_joined_series_is_the_scan_exactly(parted: tuple[CaseArrays, Path]) -> None:
    scan, folder = parted
    found = find_series(folder)
    assert [(one.kind, one.frames) for one in found] == [("ct", DEPTH), ("ctp", FRAMES * DEPTH)]
    series = read_series(folder, kind="ctp")
    assert np.array_equal(series.array, scan.ctp) and series.dt_s == pytest.approx(scan.dt_s)
    (study,) = find_studies([folder / "time_3" / "IM00010"]).values()  # alone in its folder: one time is no scan
    with pytest.raises(IslesError, match="E-DCM-03"):
        read_study(study)
    for path in list(folder.glob("time_*/*")):
        path.rename(folder / path.name)
    (study,) = find_studies([folder / "IM00010"]).values()  # a file stands for its series, which was joined
    assert np.array_equal(read_study(study).series.array, scan.ctp)
    assert found[1].uid == "1.2.3.0" and {path.parent.name for path, _ in series.slices} == {"time_0"}
    (told,) = [one for one in series.findings if one.code == "E-DCM-60"]
    assert "6 series of one time each, 7.5 s from first to last" in told.found


@pytest.mark.parametrize("clock", ["midnight", "summer time"])
def test_times_on_both_sides_of_midnight_or_of_a_change_of_summer_time_are_joined(parted, clock: str) -> None:
    """Without dates; the frames before were left out, and a scan of two parts was refused."""
    scan, folder = parted
    for t in range(FRAMES):
        for path in (folder / f"time_{t}").iterdir():
            late = 1.5 * t >= 4
            hour = {"midnight": "0000" if late else "2359", "summer time": "0200" if late else "0259"}[clock]
            change(path, AcquisitionTime=f"{hour}{1.5 * t - 4 + 60 * (not late):04.1f}", AcquisitionDate="")
    for path in (folder / "ct").iterdir():
        change(path, AcquisitionTime="234500" if clock == "midnight" else "024500", AcquisitionDate="")
    series = read_series(folder, kind="ctp")
    assert np.array_equal(series.array, scan.ctp) and series.dt_s == pytest.approx(1.5)


@pytest.mark.parametrize("day", ["20000101", "200001{:02d}"])
def test_dates_that_an_anonymiser_made_equal_or_changed_in_each_series_do_not_hinder_the_joining(parted, day) -> None:
    scan, folder = parted
    for t in range(FRAMES):
        for path in (folder / f"time_{t}").iterdir():
            date = day.format(1 + 3 * t)
            change(path, AcquisitionDate=date, AcquisitionDateTime=f"{date}000000")
    assert np.array_equal(read_series(folder, kind="ctp").array, scan.ctp)


def test_the_plain_ct_of_the_study_stays_apart_and_is_used(parted: tuple[CaseArrays, Path]) -> None:
    scan, folder = parted
    study = one_study(folder)
    images = read_study(study)
    assert len(study.files) == (FRAMES + 1) * DEPTH and np.array_equal(images.plain_ct, scan.images["ct"])
    assert np.array_equal(images.series.array, scan.ctp) and len(images.series.slices) == DEPTH
    assert images.series.remarks == (
        "series are joined to one in time: 6 series of one time each, 7.5 s from first to last",
    )


def test_two_phases_of_a_protocol_in_a_series_each_are_one_scan(write_tiny: Callable) -> None:
    scan, folder = write_tiny("classic", 12, DEPTH)
    for n, path in enumerate(sorted((folder / "ctp").iterdir())):
        change(path, SeriesInstanceUID=f"1.2.3.{n // (7 * DEPTH)}")
    series = read_series(folder, kind="ctp")
    assert np.array_equal(series.array, scan.ctp) and series.dt_s == pytest.approx(scan.dt_s)
    assert ["2 series of one scan, 16.5 s" in one.found for one in series.findings if one.code == "E-DCM-60"] == [True]
    for path in sorted((folder / "ctp").iterdir())[7 * DEPTH :]:  # a second reconstruction overlaps in time
        change(path, AcquisitionTime="100006.0" if path.name < "IM00025" else "100009.0")
    assert [one.kind for one in find_series(folder)].count("ctp") == 2


@pytest.mark.parametrize(
    "why", ["one time", "two reconstructions", "other steps", "a tenth apart", "other frame", "too few", "no time"]
)
def test_what_is_not_one_scan_in_time_is_not_joined(parted: tuple[CaseArrays, Path], why: str) -> None:
    _, folder = parted
    for t in range(FRAMES):
        for path in sorted((folder / f"time_{t}").iterdir()):
            if why == "too few" and t > 3:
                path.unlink()
            elif why == "one time" or (why == "two reconstructions" and t == 5):
                change(path, AcquisitionTime=f"10000{4 if why == 'two reconstructions' else 0}.5")
            elif why == "other steps":  # reconstructions of one helical scan begin a little apart
                change(path, SpacingBetweenSlices=str(5 - 0.1 * t))
            elif why == "a tenth apart":
                change(path, AcquisitionTime=f"100000.{t}")
            elif why == "other frame" and t % 2:
                change(path, FrameOfReferenceUID="1.9")
            elif why == "no time":
                change(path, AcquisitionTime="", AcquisitionDate="")
    if why == "two reconstructions":
        for path in (folder / "time_4").iterdir():
            change(path, AcquisitionTime="100004.5")
    assert {one.kind for one in find_series(folder)} == {"ct"}
    with pytest.raises(IslesError, match=r"E-DCM-03: no series that can be read"):
        read_series(folder, kind="ctp")
    with pytest.raises(IslesError, match=r"E-DCM-04: several series are there"):
        read_series(folder)


def test_two_reconstructions_of_each_time_are_two_scans_by_their_kernels(parted: tuple[CaseArrays, Path]) -> None:
    scan, folder = parted
    for t in range(FRAMES):
        for path in sorted((folder / f"time_{t}").iterdir()):
            (other := folder / f"sharp_{t}" / path.name).parent.mkdir(exist_ok=True)
            shutil.copy(path, other)
            new = {"SeriesInstanceUID": f"1.2.4.{t}", "SOPInstanceUID": f"1.2.4.{t}.{path.name[2:].lstrip('0')}"}
            change(other, **new, SeriesNumber=40 + t, ConvolutionKernel="H70", RescaleIntercept="-1020")
            change(path, ConvolutionKernel="H30")
    with pytest.raises(IslesError, match=r"E-DCM-04: several series are there"):
        read_series(folder, kind="ctp")
    assert np.array_equal(read_series(folder, kind="ctp", series_uid="1.2.3.0").array, scan.ctp)


def test_the_slabs_of_a_shuttled_table_in_a_series_each_are_read_like_one_series(write_tiny: Callable) -> None:
    _, folder = write_tiny("shuttle", 12, 4)
    whole = read_series(folder, kind="ctp")
    for path in (folder / "ctp").iterdir():
        lower = pydicom.dcmread(path).ImagePositionPatient[2] < whole.native_affine[2, 3] + 7
        change(path, SeriesInstanceUID=f"1.2.3.{int(lower)}")
    (info,) = [one for one in find_series(folder) if one.kind == "ctp"]
    assert (info.places, info.frames) == (4, 24) and info.extent == "(4 slices, 6 times)"
    parted = read_series(folder, kind="ctp")
    assert np.array_equal(whole.array, parted.array) and np.array_equal(whole.times_s, parted.times_s)
    for named in ("1.2.3.0", "1.2.3.1"):  # either slab stands for the scan
        assert np.array_equal(read_series(folder, series_uid=named).array, whole.array)
    assert ["2 series of one slab each" in one.found for one in parted.findings if one.code == "E-DCM-60"] == [True]


def test_tracking_of_the_bolus_does_not_hinder_the_joining_of_slabs(write_tiny: Callable) -> None:
    scan, folder = write_tiny("classic", 18, 3)
    for n, path in enumerate(sorted((folder / "ctp").iterdir())):
        change(path, SeriesInstanceUID=f"1.2.3.{9 if n < 15 else n % 3 // 2}")
        if n < 15 and n % 3 != 1:
            path.unlink()  # one slice, before the scan
    assert np.array_equal(read_series(folder, kind="ctp").array, scan.ctp[5:])


@pytest.mark.parametrize("why", ["two injections", "a gap between them", "another kernel", "mid-scan times"])
def test_slabs_that_are_not_certainly_of_one_scan_are_not_joined(write_tiny: Callable, why: str) -> None:
    _, folder = write_tiny("classic", 12, 4)
    for n, path in enumerate(sorted((folder / "ctp").iterdir())):
        header, upper = pydicom.dcmread(path), n % 4 // 2
        change(path, SeriesInstanceUID=f"1.2.3.{upper}")
        if why == "two injections" and upper:
            change(path, AcquisitionTime=f"10{10 + n // 40}{header.AcquisitionTime[4:]}")
        elif why == "a gap between them" and upper:
            change(path, ImagePositionPatient=[*header.ImagePositionPatient[:2], header.ImagePositionPatient[2] + 10])
        elif why == "another kernel":
            header.SeriesInstanceUID, header.SOPInstanceUID = f"1.2.4.{upper}", f"1.2.5.{n}"
            header.PixelData = (header.pixel_array + 1).tobytes()
            header.save_as(path.with_name(f"{path.name}b"), enforce_file_format=True)
        elif why == "mid-scan times":  # they may begin anew in each series
            header.SeriesInstanceUID = f"1.2.3.{upper}"
            header.private_block(0x19, "GEMS_ACQU_01", create=True).add_new(0x24, "DS", f"{n // 4}")
            header.save_as(path, enforce_file_format=True)
    assert [one.kind for one in find_series(folder)].count("ctp") == (4 if why == "another kernel" else 2)
    with pytest.raises(IslesError, match="E-DCM-04: several series are there"):
        read_series(folder, kind="ctp")


def test_a_slice_that_one_time_lacks_is_named(parted: tuple[CaseArrays, Path]) -> None:
    _, folder = parted
    sorted((folder / "time_2").iterdir())[1].unlink()
    with pytest.raises(IslesError, match=r"E-DCM-13: slices are missing(?s:.*)5 of 6 frames, none at 3.00 s"):
        read_series(folder, kind="ctp")


def test_times_at_another_place_are_refused_by_name(parted: tuple[CaseArrays, Path]) -> None:
    _, folder = parted
    for path in (folder / "time_3").iterdir():
        at = pydicom.dcmread(path).ImagePositionPatient
        change(path, ImagePositionPatient=[float(at[0]) + 30, at[1], at[2]])
    with pytest.raises(IslesError, match=r"E-DCM-17: slices of one level lie beside each other(?s:.*)30 mm apart"):
        read_series(folder, kind="ctp")


def test_a_shuttled_table_in_a_series_a_time_is_read_like_one_series(write_tiny: Callable) -> None:
    _, folder = write_tiny("shuttle", 12, 4)
    whole = read_series(folder, kind="ctp")
    for n, path in enumerate(sorted((folder / "ctp").iterdir())):
        change(path, SeriesInstanceUID=f"1.2.3.{n // 2}", SeriesNumber=str(100 + n // 2))
    for path in (folder / "ct").iterdir():
        change(path, AcquisitionTime="095500")
    parted = read_series(folder, kind="ctp")
    assert np.array_equal(whole.array, parted.array) and np.array_equal(whole.times_s, parted.times_s)
