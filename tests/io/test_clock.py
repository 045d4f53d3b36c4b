"""The clock of a 4D NIfTI file: the user, the sidecar, the header with a unit, the ISLES 2018 rule; else a question."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_isles.errors import IslesError
from monai_isles.io.clock import nifti_clock, read_times, require_user_times

FRAMES = 12


def write(path: Path, step: float, unit: str = "sec", **beside: object) -> Path:
    image = nibabel.Nifti1Image(np.zeros((3, 3, 2, FRAMES), np.int16), np.eye(4))
    image.header.set_xyzt_units("mm", unit)
    image.header["pixdim"][4] = step
    image.to_filename(path)
    if beside:
        Path(str(path).split(".nii")[0] + ".json").write_text(json.dumps(beside))
    return path


UNEVEN = [0, 1.3, 2.6, 3.9, 5.2, 6.5, 7.8, 9.1, 13, 16.9, 20.8, 24.7]
OF_DAY = [f"23:59:{50 + t:09.6f}" if t < 10 else f"00:00:{t - 10:09.6f}" for t in UNEVEN]
SUMMER = [f"02:59:{50 + t:09.6f}" if t < 10 else f"02:00:{t - 10:09.6f}" for t in UNEVEN]  # set back by an hour


@pytest.mark.parametrize(("step", "unit", "beside", "second", "last", "source"), [
    (1.3, "sec", {}, 1.3, 14.3, "pixdim[4]"),
    (1300, "msec", {}, 1.3, 14.3, "pixdim[4]"),
    (1.3e6, "usec", {}, 1.3, 14.3, "pixdim[4]"),
    (0.0, "sec", {"RepetitionTime": 1.3}, 1.3, 14.3, "RepetitionTime of s.json"),
    (1.0, "unknown", {"RepetitionTime": 1.3}, 1.3, 14.3, "RepetitionTime of s.json"),
    (1.3, "sec", {"RepetitionTime": 1.3, "AcquisitionTime": "10:00:00"}, 1.3, 14.3, "RepetitionTime of s.json"),
    (1.3, "sec", {"FrameTimesStart": UNEVEN}, 1.3, 24.7, "FrameTimesStart of s.json"),
    (24.7 / 11, "sec", {"VolumeTiming": UNEVEN}, 1.3, 24.7, "VolumeTiming of s.json"),
    (1.0, "unknown", {"FrameTimesStart": [5 + t for t in UNEVEN]}, 1.3, 24.7, "FrameTimesStart of s.json"),
    (0.0, "unknown", {"AcquisitionTime": OF_DAY}, 1.3, 24.7, "AcquisitionTime of s.json"),
    (0.0, "unknown", {"AcquisitionTime": SUMMER}, 1.3, 24.7, "AcquisitionTime of s.json"),
    (1.3, "sec", {"EchoTime": 3}, 1.3, 14.3, "pixdim[4]"),
    (0.0, "sec", {"FrameTimesStart": [f"{t:.1f}" for t in UNEVEN]}, 1.3, 24.7, "FrameTimesStart of s.json"),
    (0.0, "sec", {"FrameTimesStart": UNEVEN, "VolumeTiming": UNEVEN}, 1.3, 24.7, "FrameTimesStart of s.json"),
    (0.0, "sec", {"FrameTimesStart": UNEVEN, "RepetitionTime": 1.3}, 1.3, 24.7, "FrameTimesStart of s.json"),
    (0.0, "sec", {"VolumeTiming": [0, 1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20]}, 1, 20, "VolumeTiming of s.json"),
])  # fmt: skip
def test_a_stated_time_is_read(
    tmp_path: Path, step: float, unit: str, beside: dict, second: float, last: float, source: str
) -> None:
    clock = nifti_clock(write(tmp_path / "s.nii.gz", step, unit, **beside), FRAMES)
    assert clock.times_s[0][[0, 1, -1]].tolist() == pytest.approx([0, second, last], rel=1e-6)
    assert clock.source == source and clock.remarks == ()


@pytest.mark.parametrize(("step", "unit", "beside", "words"), [
    (0.0, "sec", {}, r"E-TIME-01(?s:.*)pixdim\[4\] is 0\)(?s:.*)no times in s.json(?s:.*)--dt 1.3"),
    (1.0, "unknown", {}, r"E-TIME-01(?s:.*)pixdim\[4\] = 1 without a unit of time"),
    (1.3, "unknown", {}, r"E-TIME-01(?s:.*)1.3 without a unit"),
    (1.3, "hz", {}, r"E-TIME-01(?s:.*)1.3 without a unit"),
    (0.0, "sec", {"RepetitionTime": 1300}, r"E-TIME-04(?s:.*)RepetitionTime of s.json: 1300 s"),
    (1.3, "msec", {}, r"E-TIME-04(?s:.*)pixdim\[4\]: 0.0013 s"),
    (1.3, "sec", {"RepetitionTime": 2.0}, r"E-TIME-02(?s:.*)RepetitionTime of s.json: 2 s(?s:.*)pixdim\[4\]: 1.3 s"),
    (2.0, "sec", {"FrameTimesStart": UNEVEN}, r"E-TIME-02(?s:.*)FrameTimesStart of s.json: 1.3 s"),
    (1.3, "sec", {"FrameTimesStart": UNEVEN[:-1]}, r"E-TIME-05(?s:.*)11 values for 12 frames"),
    (1.3, "sec", {"FrameTimesStart": UNEVEN[::-1]}, r"E-TIME-04(?s:.*)do not rise"),
    (1.3, "sec", {"FrameTimesStart": [1000 * t for t in UNEVEN]}, r"E-TIME-04(?s:.*)1300 s"),
    (1.3, "sec", {"FrameTimesStart": [*UNEVEN[:-1], "soon"]}, r"E-TIME-05(?s:.*)no time: 'soon'"),
    (0.0, "sec", {"FrameTimesStart": list(range(12)), "VolumeTiming": UNEVEN}, r"E-TIME-02(?s:.*)13.7 s apart"),
    (0.0, "sec", {"FrameTimesStart": list(range(12)), "RepetitionTime": 1.3}, r"E-TIME-02(?s:.*)RepetitionTime"),
    (0.0, "sec", {"AcquisitionTime": [f"1000{int(1.3 * n):02d}" for n in range(12)]},
     r"E-TIME-03(?s:.*)steps of 1.29 to 1.33 s fit"),
    (1.3, "sec", {"FrameTimesStart": [*UNEVEN[:-1], 90.0]}, r"E-TIME-04(?s:.*)at most 69.2 s"),
])  # fmt: skip
def test_a_time_that_is_not_stated_or_cannot_be_is_asked_for(
    tmp_path: Path, step: float, unit: str, beside: dict, words: str
) -> None:
    path = write(tmp_path / "s.nii.gz", step, unit, **beside)
    with pytest.raises(IslesError, match=words):
        nifti_clock(path, FRAMES)
    clock = nifti_clock(path, FRAMES, 1.3)  # the user outranks each of these files
    assert clock.times_s[0].tolist() == pytest.approx((1.3 * np.arange(FRAMES)).tolist())
    assert clock.source == "given (--dt 1.3)"
    assert nifti_clock(path, FRAMES, UNEVEN).times_s[0].tolist() == UNEVEN


def test_the_rule_of_isles_2018_holds_for_its_names_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "SMIR.Brain.XX.O.CT_4DPWI.339100.nii", 1.0, "unknown")
    clock = nifti_clock(path, FRAMES)
    assert clock.times_s[0][1] == 1.0 and "ISLES 2018" in clock.source
    assert nifti_clock(write(path, 1.3), FRAMES).source == "pixdim[4]"
    with pytest.raises(IslesError, match=r"E-TIME-01(?s:.*)1.3 without a unit"):
        nifti_clock(write(path, 1.3, "unknown"), FRAMES)


def test_a_sidecar_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "s.nii", 1.3)
    (tmp_path / "s.json").write_text("{half")
    assert nifti_clock(path, FRAMES).remarks == ("s.json cannot be read (JSONDecodeError)",)
    (tmp_path / "s.json").write_text("[1, 2]")
    with pytest.raises(IslesError, match=r"E-TIME-01(?s:.*)s.json \(holds no names\)"):
        nifti_clock(write(tmp_path / "s.nii", 0.0), FRAMES)


@pytest.mark.parametrize("text", ["0\n1.3\n2.6\n", "0, 1.3, 2.6", "0;1.3;2.6\r\n", "[0, 1.3, 2.6]", "\ufeff0\t1.3 2.6"])
def test_a_list_of_times_is_read_in_any_form(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.txt").write_text(text, encoding="utf-8")
    assert read_times(tmp_path / "t.txt") == [0, 1.3, 2.6]


@pytest.mark.parametrize("text", ["", "0 1.3 soon", "0:00 0:01"])
def test_a_list_without_numbers_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.txt").write_text(text)
    with pytest.raises(IslesError, match=r"E-TIME-05(?s:.*)no list of numbers"):
        read_times(tmp_path / "t.txt")
    with pytest.raises(IslesError, match=r"E-TIME-05(?s:.*)FileNotFoundError"):
        read_times(tmp_path / "none.txt")


@pytest.mark.parametrize(("asked", "code"), [
    (0.0, "E-PERF-10"), (1300.0, "E-PERF-10"), ([0, 1300, 2600], "E-TIME-05"), ([0, 2, 1], "E-TIME-05"),
    ([0], "E-TIME-05"), ([0, float("nan")], "E-TIME-05"),
])  # fmt: skip
def test_impossible_times_are_refused_from_the_user_too(asked: object, code: str) -> None:
    with pytest.raises(IslesError, match=code):
        require_user_times(asked)


def test_a_sidecar_in_whole_seconds_gives_its_step_where_all_its_times_allow_one(tmp_path: Path) -> None:
    """50 times of 1.3 s: 49 steps leave 1.3 s to within 1 %, though single times are off by up to a second."""
    times = [int(1.3 * n) for n in range(50)]
    image = nibabel.Nifti1Image(np.zeros((3, 3, 2, 50), np.int16), np.eye(4))
    image.to_filename(tmp_path / "s.nii.gz")
    (tmp_path / "s.json").write_text(json.dumps({"FrameTimesStart": times}))
    clock = nifti_clock(tmp_path / "s.nii.gz", 50)
    assert np.diff(clock.times_s[0]).tolist() == pytest.approx([1.3] * 49, rel=0.01)
    assert clock.source == "FrameTimesStart of s.json in whole seconds" and "cut to whole seconds" in clock.remarks[0]


def test_exactly_one_second_is_read_and_remarked_where_nobody_says_who_wrote_it(tmp_path: Path) -> None:
    """SimpleITK states 1 s for volumes that it joined; a header that names its writer, and ISLES 2018, are believed."""
    sitk = pytest.importorskip("SimpleITK")
    volumes = [sitk.GetImageFromArray(np.zeros((2, 3, 3), np.int16))] * FRAMES
    sitk.WriteImage(sitk.JoinSeries(volumes), str(tmp_path / "s.nii.gz"))
    clock = nifti_clock(tmp_path / "s.nii.gz", FRAMES)
    assert clock.times_s[0].tolist() == list(range(FRAMES)) and "exactly 1 s" in clock.remarks[0]
    named = write(tmp_path / "named.nii.gz", 1.0)
    image = nibabel.load(named)
    image.header["descrip"] = b"Time=100000.000"
    image.to_filename(tmp_path / "t.nii.gz")
    assert nifti_clock(tmp_path / "t.nii.gz", FRAMES).remarks == ()
    assert nifti_clock(write(tmp_path / "SMIR.Brain.XX.O.CT_4DPWI.1.nii", 1.0), FRAMES).remarks == ()
