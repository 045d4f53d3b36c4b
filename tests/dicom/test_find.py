"""What lies in a folder: series, what is passed over with a finding, and files that are damaged."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from monai_isles.dicom.find import scan_dicom
from monai_isles.dicom.read import find_series, read_series
from monai_isles.errors import IslesError


def refused(folder: Path, words: str, **options: object) -> None:
    with pytest.raises(IslesError, match=words) as error:
        read_series(folder, **options)
    assert len(str(error.value).splitlines()) == 4


def test_every_series_of_a_folder_is_found_by_number(write_tiny: Callable) -> None:
    _, folder = write_tiny("classic")
    found = [(info.number, info.kind, info.frames, len(info.files), info.usable) for info in find_series(folder)]
    assert found == [("2", "ct", 3, 3, True), ("3", "ctp", 12, 12, True), ("10", "cbf", 3, 3, True),
                     ("11", "tmax", 3, 3, True)]  # fmt: skip
    assert (info := find_series(folder)[1]).rows == 5 and info.columns == 6 and info.modality == "CT"


def test_an_enhanced_file_counts_its_frames(write_tiny: Callable) -> None:
    _, folder = write_tiny("enhanced")
    (info,) = find_series(folder / "ctp")
    assert (info.kind, info.frames, len(info.files)) == ("ctp", 12, 1)


def test_other_files_are_named_and_passed_over(dicom) -> None:
    (dicom.folder / "DICOMDIR").write_bytes(b"\0" * 200)
    (dicom.folder / ".hidden").write_text("x")
    (dicom.folder / ".git/annex").mkdir(parents=True)
    (dicom.folder / ".git/annex/former").write_bytes(dicom.file(0, 0).read_bytes())
    for n in range(6):
        (dicom.folder / f"report{n}.txt").write_text("nothing")
    found = scan_dicom(dicom.folder)
    (finding,) = found.findings
    assert (finding.code, finding.severity) == ("E-DCM-31", "warning")
    assert finding.found == "6 files: report0.txt, report1.txt, report2.txt, report3.txt and 2 more"
    assert read_series(dicom.folder).array.shape == (4, 6, 5, 3)


def test_objects_without_pixels_are_passed_over(dicom) -> None:
    path = dicom.folder / "report"
    path.write_bytes(dicom.file(0, 0).read_bytes())
    dicom.change(path, PixelData=None, SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11")
    assert [finding.code for finding in scan_dicom(dicom.folder).findings] == ["E-DCM-30"]


def test_a_localiser_in_the_series_is_left_out(dicom) -> None:
    dicom.change(dicom.file(3, 2), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    found = scan_dicom(dicom.folder)
    assert found.findings[0].code == "E-DCM-32" and "IM00012" in found.findings[0].found
    assert found.series[0].frames == 11


def test_copies_of_files_are_left_out(dicom) -> None:
    """A series that was sent twice: one file byte for byte, one with another date of its creation."""
    for n, path in enumerate(dicom.files[:5]):
        again = dicom.folder / f"{path.name} (1)"
        again.write_bytes(path.read_bytes())
        if n:
            dicom.change(again, InstanceCreationTime="121212")
    found = scan_dicom(dicom.folder)
    assert [(one.code, one.severity) for one in found.findings] == [("E-DCM-66", "warning")]
    assert found.findings[0].found == "5 of series 3: IM00001 (1)" and found.series[0].frames == 12
    assert np.array_equal(read_series(dicom.folder).array, dicom.scan.ctp)


@pytest.mark.parametrize("change", [{}, {"InstanceNumber": "99"}, {"RescaleIntercept": "-1000"}])
def test_a_slice_that_was_sent_again_under_a_new_uid_is_a_copy_if_nothing_else_differs(dicom, change: dict) -> None:
    again = dicom.folder / "again"
    again.write_bytes(dicom.file(1, 1).read_bytes())
    dicom.change(again, SOPInstanceUID="1.2.3.4", **change)
    if change:
        return refused(dicom.folder, "E-DCM-11: a slice is stored twice")
    assert [one.code for one in scan_dicom(dicom.folder).findings] == ["E-DCM-66"]
    assert np.array_equal(read_series(dicom.folder).array, dicom.scan.ctp)


@pytest.mark.parametrize("same", [True, False])
def test_a_series_that_was_sent_again_under_new_uids_is_a_copy_if_its_pixels_are(dicom, same: bool) -> None:
    for number, path in enumerate(dicom.files):
        again = dicom.folder / f"again{number:02d}"
        again.write_bytes(path.read_bytes())
        dicom.change(again, SOPInstanceUID=f"1.2.{number}", SeriesInstanceUID="1.2.3", SeriesNumber="7")
    if not same:
        dicom.change(again, PixelData=bytes(60))
        return refused(dicom.folder, "E-DCM-04: several series are there", kind="ctp")
    assert [one.code for one in scan_dicom(dicom.folder).findings] == ["E-DCM-66"]
    for uid in (None, "1.2.3"):
        assert np.array_equal(read_series(dicom.folder, series_uid=uid).array, dicom.scan.ctp)


@pytest.mark.parametrize("same", [True, False])
def test_a_copy_that_was_compressed_is_a_copy(dicom, same: bool) -> None:
    again = dicom.folder / "again"
    header = pydicom.dcmread(dicom.file(1, 1))
    if not same:
        header.PixelData = bytes(60)
    header.compress(RLELossless, generate_instance_uid=False)
    header.save_as(again, enforce_file_format=True)
    if same:
        assert np.array_equal(read_series(dicom.folder).array, dicom.scan.ctp)
    else:
        refused(dicom.folder, r"E-DCM-11(?s:.*)IM00005, again \(one SOP Instance UID\)")


@pytest.mark.parametrize("values", [{"AcquisitionTime": "100000.1"}, {"PixelData": bytes(60)}], ids=["time", "pixels"])
def test_two_instances_of_one_uid_that_differ_are_refused(dicom, values: dict) -> None:
    again = dicom.folder / "again"
    again.write_bytes(dicom.file(1, 1).read_bytes())
    dicom.change(again, **values)
    refused(dicom.folder, r"E-DCM-11(?s:.*)IM00005, again \(one SOP Instance UID\)")


def test_a_capture_under_the_uid_of_the_series_is_left_out(dicom) -> None:
    capture = dicom.folder / "dose"
    capture.write_bytes(dicom.file(0, 0).read_bytes())
    values = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "SOPInstanceUID": "1.2.3", "ImagePositionPatient": None}
    dicom.change(capture, **values)
    found = scan_dicom(dicom.folder)
    assert [one.code for one in found.findings] == ["E-DCM-32"] and "captures" in found.findings[0].fault
    assert np.array_equal(read_series(dicom.folder).array, dicom.scan.ctp)


def test_a_colour_picture_of_the_class_ct_in_the_series_is_left_out(dicom) -> None:
    colours = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "SOPInstanceUID": "1.2.3"}
    picture = dicom.folder / "cbf"
    picture.write_bytes(dicom.file(0, 0).read_bytes())
    dicom.change(picture, **colours)
    assert [one.code for one in scan_dicom(dicom.folder).findings] == ["E-DCM-32"]
    assert np.array_equal(read_series(dicom.folder).array, dicom.scan.ctp)


@pytest.mark.parametrize("implicit", [True, False], ids=["implicit", "explicit"])
@pytest.mark.parametrize("cut", ["preamble", "meta", "both"])
def test_files_without_preamble_or_meta_header_are_read(dicom, cut: str, implicit: bool) -> None:
    """Data sets as older archives stored them; pydicom tells the encoding by the first element."""
    for path in dicom.files:
        header = pydicom.dcmread(path)
        header.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        header.save_as(path, implicit_vr=implicit, little_endian=True, enforce_file_format=True)
        raw = path.read_bytes()
        data = 144 + int.from_bytes(raw[140:144], "little")  # behind the elements of group 2
        path.write_bytes({"preamble": raw[132:], "meta": raw[:132] + raw[data:], "both": raw[data:]}[cut])
    assert scan_dicom(dicom.folder).findings == []
    assert np.array_equal(read_series(dicom.folder).array, dicom.scan.ctp)


def test_a_deflated_report_is_passed_over(dicom) -> None:
    path = dicom.folder / "report"
    header = pydicom.dcmread(dicom.file(0, 0))
    del header.PixelData
    header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.33"
    header.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    header.save_as(path, enforce_file_format=True)
    assert [finding.code for finding in scan_dicom(dicom.folder).findings] == ["E-DCM-30"]


def test_of_many_damaged_files_eight_are_named(dicom) -> None:
    for path in dicom.files:
        path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(IslesError, match=r"E-DCM-06: DICOM file is damaged, and 11 more") as caught:
        read_series(dicom.folder)
    assert caught.value.where.count("IM0") == 8 and caught.value.where.endswith("; 4 more")


def test_a_series_in_time_is_no_map_whatever_its_name(dicom) -> None:
    dicom.change_all(ImageType=["DERIVED", "SECONDARY", "AXIAL"], SeriesDescription="Dynamic for CBF, CBV, MTT")
    assert read_series(dicom.folder, kind="ctp").kind == "ctp"


@pytest.mark.parametrize(("values", "reason"), [
    ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "a localiser"),
    ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "not an original CT or MR image (Secondary Capture Image Storage)"),
    ({"SOPClassUID": "1.3.12.2.1107.5.9.1"}, "not an original CT or MR image"),
])  # fmt: skip
def test_series_that_are_no_measurement_are_passed_over_by_name(dicom, values: dict, reason: str) -> None:
    dicom.change_all(**values)
    (info,) = find_series(dicom.folder)
    assert not info.usable and reason in info.reason and info.kind == "other"
    refused(dicom.folder, r"E-DCM-03: no series that can be read")


@pytest.mark.parametrize("kind", ["RGB", "PALETTE COLOR", "YBR_FULL"])
def test_colour_maps_are_refused(dicom, kind: str) -> None:
    dicom.change_all(PhotometricInterpretation=kind, SamplesPerPixel=3 if kind != "PALETTE COLOR" else 1)
    refused(
        dicom.folder, rf"E-DCM-15: the series holds colours, not values(?s:.*){kind}(?s:.*)grey values with rescale"
    )
    for path in (folder := dicom.folder.parent / "tmax").iterdir():
        dicom.change(path, PhotometricInterpretation=kind, SamplesPerPixel=3 if kind != "PALETTE COLOR" else 1)
    refused(folder, rf"E-DCM-15(?s:.*): tmax(?s:.*){kind}", kind="tmax")


def test_an_empty_or_missing_folder_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "no", r"E-DCM-02: no DICOM image found(?s:.*)no such folder")
    (tmp_path / "a.txt").write_text("x")
    refused(tmp_path, r"E-DCM-02(?s:.*)1 files, none of them a DICOM image")


def test_without_pydicom_the_extra_is_named(dicom, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = builtins.__import__

    def absent(name: str, *rest: object) -> object:
        if name.split(".")[0] == "pydicom":
            raise ModuleNotFoundError("No module named 'pydicom'", name="pydicom")
        return plain(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    refused(dicom.folder, r'E-DCM-01: DICOM needs an optional package(?s:.*)pip install "pydicom>=3" highdicom')


def test_an_older_pydicom_is_named_and_no_file_is_called_damaged(dicom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pydicom, "__version__", "2.4.5")
    refused(dicom.folder, r"E-DCM-01(?s:.*)pydicom\n.*version 2\.4\.5, older than 3\n.*pydicom>=3")


@pytest.mark.parametrize("keep", [140, 300, 700, 1100])
def test_a_header_that_ends_too_soon_is_damage(dicom, keep: int) -> None:
    path = dicom.file(1, 1)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(IslesError, match=r"E-DCM-(06|13)(?s:.*)IM0000[25]") as error:
        read_series(dicom.folder)
    assert len(str(error.value).splitlines()) == 4


def test_a_damaged_file_stops_the_series_beside_it(dicom) -> None:
    path = dicom.folder / "IM00099"
    path.write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 50)
    refused(dicom.folder, r"E-DCM-06: DICOM file is damaged(?s:.*)IM00099(?s:.*)header cannot be read")
    with pytest.raises(IslesError, match="E-DCM-06"):
        find_series(dicom.folder)


def test_noise_in_the_header_never_gives_other_numbers(dicom) -> None:
    """One byte changed at many places: the series is the same, or it is refused with a code of ours."""
    import numpy as np

    path, rng = dicom.file(2, 1), np.random.default_rng(3)
    raw = path.read_bytes()
    end = len(raw) - 60
    same = 0
    for _ in range(40):
        at = int(rng.integers(132, end))
        path.write_bytes(raw[:at] + bytes([int(rng.integers(256))]) + raw[at + 1 :])
        try:
            series = read_series(dicom.folder)
        except IslesError as error:
            assert error.code.startswith(("E-DCM-", "E-TIME-"))
            continue
        same += np.array_equal(series.array[[0, 1, 3]], dicom.scan.ctp[[0, 1, 3]])
    assert same > 0


def test_per_frame_groups_that_do_not_fit_are_damage(write_tiny: Callable) -> None:
    _, folder = write_tiny("enhanced")
    path = folder / "ctp" / "IM0001"
    header = pydicom.dcmread(path)
    header.PerFrameFunctionalGroupsSequence.pop()
    header.save_as(path)
    refused(folder, r"E-DCM-06(?s:.*)12 frames, 11 per-frame functional groups", series_uid=header.SeriesInstanceUID)
    header.NumberOfFrames = 0
    header.save_as(path)
    refused(folder, r"E-DCM-06(?s:.*)Number of Frames '0'", series_uid=header.SeriesInstanceUID)


def test_a_raw_series_is_no_map_whatever_it_is_called(dicom) -> None:
    dicom.change_all(SeriesDescription="protocol for CBF and Tmax")
    assert [info.kind for info in find_series(dicom.folder)] == ["ctp"]


def test_the_perfusion_series_of_a_study_is_taken_from_among_its_series(dicom) -> None:
    from monai_isles.data.scans import read_perfusion_series

    found = read_perfusion_series(dicom.folder.parent)
    assert found.array.shape == (4, 6, 5, 3) and found.times_s.tolist() == [0.0, 1.5, 3.0, 4.5]
    with pytest.raises(IslesError, match=r"E-DCM-03(?s:.*): ctp(?s:.*)series 2 ct(?s:.*)give the series in time"):
        read_perfusion_series(dicom.folder.parent / "ct")


@pytest.mark.parametrize("beside", ["tracking of the bolus", "three phases", "maps in one series", "movement undone"])
def test_what_is_no_perfusion_scan_is_not_taken_for_one(write_tiny: Callable, tmp_path: Path, beside: str) -> None:
    """Every CT angiogram has a series that tracks the bolus: a study with one was refused."""
    scan, folder = write_tiny("classic", 12, 3)
    keep = {"tracking of the bolus": 36, "movement undone": 36}.get(beside, 9)
    (folder / "beside").mkdir()
    for n, path in enumerate(sorted((folder / "ctp").iterdir())[:keep]):
        header = pydicom.dcmread(path)
        header.SeriesInstanceUID, header.SOPInstanceUID, header.SeriesNumber = "1.2.9", f"1.2.9.{n}", 99
        header.RescaleIntercept = "-1000"
        if beside == "tracking of the bolus" and n % 3:
            continue
        if beside in ("maps in one series", "movement undone"):
            header.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
        header.save_as(folder / "beside" / path.name, enforce_file_format=True)
    series = read_series(folder, kind="ctp")
    assert np.array_equal(series.array, scan.ctp)
    (told,) = [one.found for one in series.findings if one.code == "E-DCM-69"]
    assert told.startswith("3 (3 slices, 12 times); not 99 (")
    assert len(read_series(folder, series_uid="99", kind="ctp").array) == keep // 3
