"""The clock of a DICOM series: over a hundred headers, by vendor, encoding and fault; right to 1 %, or refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from monai_isles.dicom.frames import frame_times
from monai_isles.dicom.read import read_series
from monai_isles.errors import IslesError, refused
from monai_isles.io.clock import Clock, UserTimes, dicom_clock
from monai_isles.phantom.dicom_writer import write_dicom
from tests.fixtures.dicom import tiny_scan

FRAMES, SLICES, STEP_S = 24, 2, 1.3


def clock(seconds: float, digits: int = 6) -> str:
    """A DICOM time of day, cut to so many digits of a second."""
    whole = int(seconds * 10**digits + 1e-6)
    rest = whole % 10**digits
    whole = whole // 10**digits % 86400
    text = f"{whole // 3600:02d}{whole // 60 % 60:02d}{whole % 60:02d}"
    return f"{text}.{rest:0{digits}d}" if digits else text


def mid_scan(header: Dataset, seconds: float) -> None:
    header.private_block(0x19, "GEMS_ACQU_01", create=True).add_new(0x24, "DS", f"{seconds:.3f}")


# --- vendors: how the time t (s) of frame n, the scan begun at s (s of the day), stands in a header


def siemens(h: Dataset, t: float, n: int, s: float) -> None:
    h.AcquisitionTime, h.ContentTime = clock(s + t), clock(s + 40 + 0.2 * n)


def siemens_datetime(h: Dataset, t: float, n: int, s: float) -> None:
    siemens(h, t, n, s)
    h.AcquisitionDateTime = h.AcquisitionDate + clock(s + t) + "+0100"


def ge_cine(h: Dataset, t: float, n: int, s: float) -> None:
    h.AcquisitionTime, h.ContentTime = clock(s, 0), clock(s + 90 + 0.42 * n, 0)
    mid_scan(h, t + 0.25)


def ge_axial(h: Dataset, t: float, n: int, s: float) -> None:
    h.AcquisitionTime, h.ContentTime = clock(s + t), clock(s + 90 + 0.42 * n, 0)
    mid_scan(h, t + 0.25)


def philips(h: Dataset, t: float, n: int, s: float) -> None:
    h.AcquisitionTime, h.ContentTime, h.TemporalPositionIdentifier = clock(s + t, 2), clock(s + t + 3, 2), n + 1


def philips_position(h: Dataset, t: float, n: int, s: float) -> None:
    h.AcquisitionTime, h.ContentTime = clock(s), clock(s + 60 + 0.3 * n)
    h.TemporalPositionIdentifier, h.TemporalResolution = n + 1, "1300"


def canon(h: Dataset, t: float, n: int, s: float) -> None:
    h.AcquisitionTime, h.ContentTime, h.AcquisitionNumber = clock(s + t, 3), clock(s + 200 + 2 * n, 3), n + 1


def trigger(h: Dataset, t: float, n: int, s: float) -> None:
    h.AcquisitionTime, h.ContentTime, h.TriggerTime = clock(s), clock(s + 9 + n), f"{1000 * t:.0f}"


def reference(h: Dataset, t: float, n: int, s: float) -> None:
    h.AcquisitionTime, h.ContentTime, h.FrameReferenceTime = clock(s), clock(s + 9 + n), f"{1000 * t:.0f}"


VENDORS = (siemens, siemens_datetime, ge_cine, ge_axial, philips, philips_position, canon, trigger, reference)
DAYTIME, NIGHT = 36000.0, 86400 - 10.4


# --- faults: what happens to a header after the scanner wrote it


def nothing(h: Dataset, t: float, n: int) -> None:
    """The header as it is."""


def no_date(h: Dataset, t: float, n: int) -> None:
    del h.AcquisitionDate, h.ContentDate


def some_dates(h: Dataset, t: float, n: int) -> None:
    if n % 3 == 0:
        del h.AcquisitionDate


def both_dates(h: Dataset, t: float, n: int) -> None:
    if t > 10.39 and int(h.AcquisitionTime[:2]) < 12:
        h.AcquisitionDate = "20000102"
        if "AcquisitionDateTime" in h:
            h.AcquisitionDateTime = "20000102" + h.AcquisitionDateTime[8:]


def whole_seconds(h: Dataset, t: float, n: int) -> None:
    h.AcquisitionTime, h.ContentTime = h.AcquisitionTime[:6], h.ContentTime[:6]
    if "AcquisitionDateTime" in h:
        h.AcquisitionDateTime = h.AcquisitionDateTime[:14]


def frozen(h: Dataset, t: float, n: int) -> None:
    """Made anonymous: one time of day for all."""
    h.AcquisitionTime = "120000"
    if "AcquisitionDateTime" in h:
        del h.AcquisitionDateTime


def one_lost(h: Dataset, t: float, n: int) -> None:
    if n == 7:
        del h.AcquisitionTime
        if "AcquisitionDateTime" in h:
            del h.AcquisitionDateTime


def jump(h: Dataset, t: float, n: int) -> None:
    """The clock of the computer was set in the middle of the scan."""
    if n >= 12:
        h.AcquisitionTime = clock(DAYTIME + t + 1800)
        if "AcquisitionDateTime" in h:
            h.AcquisitionDateTime = "20000101" + h.AcquisitionTime


def backwards(h: Dataset, t: float, n: int) -> None:
    h.InstanceNumber = 1000 - int(h.InstanceNumber)


def half_as_long(h: Dataset, t: float, n: int) -> None:
    """Two clocks of the acquisition disagree: by one of them the scan took half the time of the other."""
    mid_scan(h, t / 2)
    h.AcquisitionTime = clock(DAYTIME + t)


def other_trigger(h: Dataset, t: float, n: int) -> None:
    """A trigger time in every frame, by which the scan took half the time that its own clock says."""
    h.TriggerTime = h.get("TriggerTime", f"{500 * t:.0f}")


def other_offset(h: Dataset, t: float, n: int) -> None:
    """As ``other_trigger``, with the offset of the position in time."""
    h.TemporalPositionTimeOffset = t / 2


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> list[Dataset]:
    """The headers of 24 frames of 2 slices, without any time."""
    folder = write_dicom(tiny_scan(FRAMES, SLICES), tmp_path_factory.mktemp("clocks") / "dicom")
    return [pydicom.dcmread(path) for path in sorted((folder / "ctp").iterdir())]


def edit_all(headers: list[Dataset], edit: Callable, times: np.ndarray | None) -> list[Dataset]:
    """Return the headers with the given times: ``edit(header, seconds, frame)``."""
    times = np.arange(FRAMES) * STEP_S if times is None else times
    for number, header in enumerate(headers):
        edit(header, float(times[number // SLICES]), number // SLICES)
    return headers


@pytest.fixture
def series(plain: list[Dataset], tmp_path: Path) -> Callable[..., Path]:
    """Write the series with the given headers to disk."""

    def write(edit: Callable, times: np.ndarray | None = None, **how: object) -> Path:
        for number, header in enumerate(edit_all(copy.deepcopy(plain), edit, times)):
            header.file_meta.TransferSyntaxUID = how.get("syntax", header.file_meta.TransferSyntaxUID)
            header.save_as(tmp_path / f"{number:03d}", enforce_file_format=True, implicit_vr=how.get("implicit"))
        return tmp_path

    return write


def bare_header(number: int) -> Dataset:
    header = Dataset()
    header.AcquisitionDate = header.ContentDate = "20000101"
    header.InstanceNumber = number + 1
    return header


def told(edit: Callable, times: np.ndarray | None = None, dt_s: UserTimes = None) -> Clock:
    """Read the clock of a series whose headers hold dates, instance numbers and what ``edit`` adds."""
    headers = edit_all([bare_header(number) for number in range(FRAMES * SLICES)], edit, times)
    frames = [frame_times([header]) for header in headers]
    found = dicom_clock([frames[k::SLICES] for k in range(SLICES)], "here", dt_s)
    if found is None:
        raise refused("E-DCM-12", where="here", found="nothing")
    return found


def right(found: Clock, times: np.ndarray | None = None) -> bool:
    times = np.arange(FRAMES) * STEP_S if times is None else times
    return all(bool(np.abs(np.diff(one) / np.diff(times) - 1).max() <= 0.01) for one in found.times_s)


# who can still be read under which fault; the others have lost their only clock, or hold two that disagree
_STEADY = (ge_cine, ge_axial, philips_position, trigger, reference)
READ = {
    nothing: VENDORS, no_date: VENDORS, some_dates: VENDORS, backwards: VENDORS, whole_seconds: VENDORS,
    frozen: _STEADY, one_lost: _STEADY, jump: (), half_as_long: (), other_trigger: (trigger,), other_offset: (),
}  # fmt: skip


@pytest.mark.parametrize("fault", list(READ), ids=lambda one: one.__name__)
@pytest.mark.parametrize("vendor", VENDORS, ids=lambda one: one.__name__)
def test_the_step_is_right_or_the_series_is_refused(vendor: Callable, fault: Callable) -> None:
    def edit(header: Dataset, seconds: float, frame: int) -> None:
        vendor(header, seconds, frame, DAYTIME)
        fault(header, seconds, frame)

    try:
        found = told(edit)
    except IslesError as error:
        assert vendor not in READ[fault], error
        assert error.code in ("E-DCM-12", "E-TIME-02", "E-TIME-03", "E-TIME-04") and "--dt" in error.fix
        return
    assert right(found), (found.source, np.diff(found.times_s[0]))
    assert "ContentTime" not in found.source


@pytest.mark.parametrize("fault", [nothing, no_date, both_dates, whole_seconds], ids=lambda one: one.__name__)
@pytest.mark.parametrize("vendor", VENDORS, ids=lambda one: one.__name__)
def test_a_scan_across_midnight_is_read(vendor: Callable, fault: Callable) -> None:
    """8 frames before midnight and 16 after it; unless ``both_dates``, all bear the date of the first."""

    def edit(header: Dataset, seconds: float, frame: int) -> None:
        vendor(header, seconds, frame, NIGHT)
        fault(header, seconds, frame)

    assert right(told(edit))


@pytest.mark.parametrize(
    "step_s", [0.5, 0.7, 0.8, 1.0, 1.05, 1.1, 1.37, 1.5, 1.75, 2.0, 2.4, 2.8, 3.0, 3.2], ids=lambda one: f"{one}-s"
)
def test_a_clock_cut_to_whole_seconds_gives_the_step_or_is_refused(step_s: float) -> None:
    """Below 1 s some frames share their second: the order is that of the instance numbers."""
    times = np.arange(FRAMES) * step_s
    try:
        found = told(lambda h, t, n: (siemens(h, t, n, DAYTIME), whole_seconds(h, t, n)), times)
    except IslesError as error:
        assert error.code == "E-TIME-03" and step_s in (0.5, 0.8, 1.05, 1.5, 1.75)
        return
    assert right(found, times), np.diff(found.times_s[0])


def test_positions_of_a_protocol_of_two_phases_do_not_contradict_its_clock() -> None:
    """The temporal resolution states the dense phase; positions count frames on, whatever lies between them."""
    times = np.concatenate([np.arange(14) * 1.3, 16.9 + 3.9 * np.arange(1, 11)])

    def edit(header: Dataset, seconds: float, frame: int) -> None:
        philips(header, seconds, frame, DAYTIME)
        header.TemporalResolution = "1300"

    assert right(told(edit, times), times)


def test_a_protocol_of_two_phases_in_whole_seconds_is_as_it_says() -> None:
    times = np.concatenate([np.arange(14) * 1.0, 13 + 3.0 * np.arange(1, 11)])
    found = told(lambda h, t, n: (siemens(h, t, n, DAYTIME), whole_seconds(h, t, n)), times)
    assert found.times_s[0].tolist() == times.tolist()


def test_phases_that_a_pause_follows_are_as_they_say_in_whole_seconds() -> None:
    """One volume before the contrast, the arteries every 2 s, the veins every 5 s: no cut of one step gives that."""
    times = np.r_[0.0, 7 + 2.0 * np.arange(12), 36 + 5.0 * np.arange(11)]
    found = told(lambda h, t, n: (siemens(h, t, n, DAYTIME), whole_seconds(h, t, n)), times)
    assert right(found, times)


def test_dates_that_differ_from_file_to_file_are_left_out() -> None:
    """An anonymiser put another date into each file; the times of day are those of one scan."""

    def edit(header: Dataset, t: float, n: int) -> None:
        siemens_datetime(header, t, n, DAYTIME)
        header.AcquisitionDateTime = f"2024{1 + n % 12:02d}{1 + n % 28:02d}{header.AcquisitionDateTime[8:]}"
        header.AcquisitionDate = header.AcquisitionDateTime[:8]

    assert right(told(edit))


def test_a_step_that_was_worked_out_is_told(series: Callable) -> None:
    found = read_series(series(lambda h, t, n: (siemens(h, t, n, DAYTIME), whole_seconds(h, t, n))))
    remark = next(one for one in found.findings if one.code == "E-TIME-30")
    assert "AcquisitionTime is cut to whole seconds; a step of 1.299 s was worked out" in remark.found
    assert found.times_from == "AcquisitionTime in whole seconds"


def test_two_phases_cut_to_whole_seconds_are_refused() -> None:
    times = np.concatenate([np.arange(14) * 1.3, 16.9 + 2.6 * np.arange(1, 11)])
    with pytest.raises(IslesError, match=r"E-TIME-03(?s:.*)no even step fits"):
        told(lambda h, t, n: (siemens(h, t, n, DAYTIME), whole_seconds(h, t, n)), times)


def test_uneven_times_and_a_jitter_are_kept() -> None:
    times = np.concatenate([np.arange(14) * 1.3, 16.9 + 2.7 * np.arange(1, 11)])
    times += np.random.default_rng(0).uniform(-0.004, 0.004, FRAMES)
    found = told(lambda h, t, n: siemens(h, t, n, DAYTIME), times - times[0])
    np.testing.assert_allclose(found.times_s[1], times - times[0], atol=1e-5)


def test_mid_scan_times_are_found_where_their_kind_is_not_told(series: Callable) -> None:
    """Implicit files hold no kinds of values; another private owner lies in the first block."""

    def edit(header: Dataset, seconds: float, frame: int) -> None:
        header.private_block(0x19, "SOMEBODY", create=True).add_new(0x24, "DS", f"{9 * seconds:.3f}")
        ge_cine(header, seconds, frame, DAYTIME)

    found = read_series(series(edit, syntax=ImplicitVRLittleEndian, implicit=True))
    assert found.dt_s == pytest.approx(1.3) and found.times_from == "MidScanTime (GEMS_ACQU_01)"


@pytest.mark.parametrize(("attribute", "value"), [("TriggerTime", 1.0), ("FrameReferenceTime", 1e-3)])
def test_times_in_the_wrong_unit_are_refused(attribute: str, value: float) -> None:
    def edit(header: Dataset, seconds: float, frame: int) -> None:
        header.AcquisitionTime = header.ContentTime = "100000"
        setattr(header, attribute, f"{value * seconds:.6g}")

    with pytest.raises(IslesError, match=rf"E-TIME-04(?s:.*){attribute}"):
        told(edit)


def test_a_position_without_a_step_asks_for_it(series: Callable) -> None:
    def edit(header: Dataset, seconds: float, frame: int) -> None:
        philips_position(header, seconds, frame, DAYTIME)
        del header.TemporalResolution

    folder = series(edit)
    with pytest.raises(IslesError, match=r"E-DCM-12(?s:.*)clock of the reconstruction, and is not used(?s:.*)--dt 1.3"):
        read_series(folder)
    found = read_series(folder, dt_s=1.3)
    assert found.dt_s == pytest.approx(1.3) and found.times_from == "given (--dt 1.3), in the order of PositionInTime"


@pytest.mark.parametrize("vendor", VENDORS, ids=lambda one: one.__name__)
@pytest.mark.parametrize("fault", [nothing, frozen, jump, half_as_long], ids=lambda one: one.__name__)
def test_the_user_outranks_every_header(vendor: Callable, fault: Callable) -> None:
    def edit(header: Dataset, seconds: float, frame: int) -> None:
        vendor(header, seconds, frame, DAYTIME)
        fault(header, seconds, frame)

    times = np.cumsum(np.linspace(1, 2, FRAMES))
    even, uneven = told(edit, dt_s=2.6), told(edit, dt_s=times.tolist())
    assert even.times_s[1].tolist() == pytest.approx((np.arange(FRAMES) * 2.6).tolist())
    np.testing.assert_allclose(uneven.times_s[0], times - times[0], atol=1e-9)


def test_frames_with_given_times_keep_their_order(series: Callable) -> None:
    folder = series(lambda h, t, n: ge_cine(h, t, n, DAYTIME))
    found = read_series(folder, dt_s=2.0)
    assert found.dt_s == 2.0 and np.array_equal(found.array, tiny_scan(FRAMES, SLICES).ctp)
    (folder / "012").unlink()  # one slice of frame 7
    with pytest.raises(IslesError, match=r"E-DCM-13(?s:.*)23 of 24 frames, none at 12.00 s"):
        read_series(folder, dt_s=2.0)


def test_a_list_of_another_length_is_refused() -> None:
    with pytest.raises(IslesError, match=r"E-TIME-05(?s:.*)23 times for 24 frames"):
        told(lambda h, t, n: siemens(h, t, n, DAYTIME), dt_s=list(range(23)))


ENHANCED = {
    "FrameAcquisitionDateTime": lambda c, t: setattr(c, "FrameAcquisitionDateTime", f"20000101{clock(36000 + t)}"),
    "FrameReferenceDateTime": lambda c, t: setattr(c, "FrameReferenceDateTime", f"20000101{clock(36000.2 + t)}"),
    "TriggerTime": lambda c, t: setattr(c, "TriggerTime", f"{t * 1000:.0f}"),
    "TemporalPositionTimeOffset": lambda c, t: setattr(c, "TemporalPositionTimeOffset", t),
    "position": lambda c, t: None,
}


@pytest.mark.parametrize("told_by", list(ENHANCED))
def test_an_enhanced_file_is_read_by_what_its_frames_hold(tmp_path: Path, told_by: str) -> None:
    scan = tiny_scan(FRAMES, SLICES, dt_s=STEP_S)
    folder = write_dicom(scan, tmp_path / "d", form="enhanced") / "ctp"
    header = pydicom.dcmread(folder / "IM0001")
    for group in header.PerFrameFunctionalGroupsSequence:
        content = group.FrameContentSequence[0]
        seconds = (int(content.TemporalPositionIndex) - 1) * STEP_S
        del content.FrameAcquisitionDateTime, content.FrameReferenceDateTime
        if told_by == "TemporalPositionTimeOffset":
            group.TemporalPositionSequence = [Dataset()]
            ENHANCED[told_by](group.TemporalPositionSequence[0], seconds)
        else:
            ENHANCED[told_by](content, seconds)
    header.save_as(folder / "IM0001", enforce_file_format=True)
    if told_by == "position":
        with pytest.raises(IslesError, match="E-DCM-12"):
            read_series(folder)
        assert read_series(folder, dt_s=1.3).dt_s == pytest.approx(1.3)
        return
    found = read_series(folder)
    assert found.dt_s == pytest.approx(1.3) and found.times_from == told_by and np.array_equal(found.array, scan.ctp)
