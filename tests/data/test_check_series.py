"""``check`` on a DICOM folder: nothing on a sound one, the fault by name on a damaged one."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_isles.cli.main import main
from monai_isles.data.checks import check_folder, check_series
from monai_isles.data.layouts import DICOM, find_layout
from monai_isles.data.study import find_studies
from monai_isles.dicom.read import read_series
from monai_isles.errors import IslesError

pytest.importorskip("pydicom")


def test_a_sound_study_has_no_findings(dicom) -> None:
    assert check_series(dicom.folder.parent)[0] == []


def test_a_cut_file_is_named(dicom) -> None:
    cut = dicom.files[3]
    cut.write_bytes(cut.read_bytes()[:-10])
    (finding,) = check_series(dicom.folder)[0]
    assert finding.code == "E-DCM-08" and finding.severity == "error" and cut.name in finding.where


def test_a_lost_header_and_a_lost_slice_are_errors(dicom) -> None:
    dicom.file(1, 2).unlink()
    assert [one.code for one in check_series(dicom.folder)[0]] == ["E-DCM-13"]
    dicom.files[1].write_bytes(dicom.files[1].read_bytes()[:200])
    assert "E-DCM-06" in [one.code for one in check_series(dicom.folder)[0]]


def test_an_image_of_no_case_beside_dicom_files_does_not_hide_them(
    dicom, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (dicom.folder / "scout.nii.gz").write_bytes(b"x")
    assert main(["check", str(dicom.folder), "--json"]) == 0
    remarks = json.loads(capsys.readouterr().out)["findings"]
    assert [one["code"] for one in remarks] == ["E-LIST-15", "E-DCM-31"] and "scout.nii.gz" in remarks[0]["found"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(IslesError, match="E-LIST-01"):
        find_layout(tmp_path / "empty")


def test_dicom_files_beside_a_case_of_nifti_images_are_said_not_to_be_checked(dicom) -> None:
    assert "E-LIST-15" not in [one.code for one in check_folder(dicom.folder)[0]]
    nibabel.save(nibabel.Nifti1Image(np.full((8, 8, 2), 40, np.int16), np.eye(4)), dicom.folder / "ct.nii.gz")
    told = [one for one in check_folder(dicom.folder)[0] if one.code == "E-LIST-15"]
    assert [(one.severity, one.found) for one in told] == [("warning", "DICOM files beside the images")]


def test_the_command_prints_them(dicom, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(dicom.folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["errors"] == 0
    dicom.files[0].write_bytes(dicom.files[0].read_bytes()[:-1000])
    assert main(["check", str(dicom.folder)]) == 4 and "E-DCM-06" in capsys.readouterr().out


def test_a_folder_without_a_series_that_can_be_read_is_an_error(dicom) -> None:
    dicom.change_all(PhotometricInterpretation="RGB")
    found = check_series(dicom.folder)[0]
    assert [one.code for one in found if one.severity == "error"] == ["E-DCM-03"] and "colours" in found[-1].found


def test_an_mr_study_without_perfusion_is_remarked_and_sent_to_predict(dicom) -> None:
    folder = dicom.folder.parent / "ct"
    for path in list(folder.iterdir()):
        dicom.change(path, SOPClassUID="1.2.840.10008.5.1.4.1.1.4", Modality="MR")
    (found,) = check_series(folder)[0]
    assert (found.code, found.severity) == ("E-DCM-03", "warning") and "NIfTI for predict" in found.fix
    with pytest.raises(IslesError, match=r"E-DCM-03(?s:.*)series 2 mr(?s:.*)to NIfTI"):
        read_series(folder, kind="ctp")


def test_a_first_file_whose_header_breaks_the_parser_is_named_as_damaged(dicom) -> None:
    first = dicom.files[0]
    first.write_bytes(first.read_bytes().replace(b"\x02\x00\x10\x00UI", b"\x02\x00\x10\x00U\xb5"))  # no such type
    assert find_layout(dicom.folder) is DICOM
    assert "E-DCM-06" in [found.code for found in check_series(dicom.folder)[0]]
    (record,) = find_studies([dicom.folder]).values()
    assert str(record["error"]).startswith("E-DCM-06")


def test_a_fault_of_another_series_is_a_warning_and_two_perfusion_scans_are_an_error(dicom) -> None:
    for path in list((dicom.folder.parent / "ct").iterdir()):
        dicom.change(path, StudyInstanceUID="1.2", FrameOfReferenceUID=f"1.2.{path.name[-1]}")
    found = check_series(dicom.folder.parent)[0]
    assert [(one.code, one.severity) for one in found] == [("E-DCM-03", "warning"), ("E-DCM-22", "warning")]
    (dicom.folder.parent / "thin").mkdir()
    for path in dicom.files:
        other = dicom.folder.parent / "thin" / path.name
        other.write_bytes(path.read_bytes())
        uid = f"1.3.{path.name[2:].lstrip('0')}"
        dicom.change(other, SeriesInstanceUID="1.3", SOPInstanceUID=uid, RescaleIntercept="-1000")
    assert "E-DCM-04" in [one.code for one in check_series(dicom.folder.parent)[0] if one.severity == "error"]


def test_a_study_without_perfusion_among_others_is_an_error_that_is_listed_once(dicom, tmp_path: Path) -> None:
    """``predict-series`` leaves it out, which ``check`` did not say."""
    for name, kind in (("a", "ctp"), ("b", "ct")):
        for path in (dicom.folder.parent / kind).iterdir():
            (tmp_path / "ward" / name).mkdir(parents=True, exist_ok=True)
            (tmp_path / "ward" / name / path.name).write_bytes(path.read_bytes())
            dicom.change(tmp_path / "ward" / name / path.name, StudyInstanceUID=f"1.2.{ord(name)}")
    (tmp_path / "ward" / "a" / "note.txt").write_text("x")
    found = check_series(tmp_path / "ward")[0]
    assert [(one.code, one.case) for one in found] == [("E-DCM-31", "study a"), ("E-DCM-03", "study b")]
    assert "leave it out" in found[1].fix and found[1].severity == "error"


def test_folders_of_nifti_series_of_any_name_are_checked_as_predict_series_finds_them(tmp_path: Path) -> None:
    good, torn = tmp_path / "s1/3_Perfusion_20200101.nii", tmp_path / "s2/3_Perfusion_20200101.nii"
    for path in (good, torn):
        path.parent.mkdir()
        image = nibabel.Nifti1Image(np.full((6, 5, 2, 12), 40, np.int16), np.diag([2.0, 2, 5, 1]))
        image.header["pixdim"][4] = 1.5
        image.header.set_xyzt_units("mm", "sec")
        nibabel.save(image, path)
    torn.write_bytes(torn.read_bytes()[:-10])
    findings, scans = check_folder(tmp_path)
    assert [scan.name for scan in scans] == ["s1", "s2"] and scans[0].files == {"ctp": good}
    errors = {(one.case, one.code) for one in findings if one.severity == "error"}
    assert {case for case, _ in errors} == {"study s2"} and {code[:6] for _, code in errors} == {"E-FILE"}
    with pytest.raises(IslesError, match="E-LIST-01"):
        check_folder(tmp_path, ["cbf"])  # for a bundle of maps they are no cases
