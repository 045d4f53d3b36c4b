"""A study is found and named without a word about the patient, and its plain CT counts only on the series' grid."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest

from monai_isles.data.checks import check_series
from monai_isles.data.layouts import find_cases, scan_layout
from monai_isles.data.scans import read_perfusion_series
from monai_isles.data.study import find_studies, name_studies, read_study, study_places
from monai_isles.errors import IslesError
from monai_isles.io import read_image
from monai_isles.io.findings import collect_remarks
from monai_isles.phantom.dicom_writer import write_dicom
from tests.fixtures.dicom import change, tiny_scan
from tests.fixtures.shared import one_study


def save(path: Path, data: np.ndarray, *, shift: float = 0.0) -> Path:
    affine = np.diag([2.0, 2.0, 5.0, 1.0])
    affine[0, 3] = shift
    image = nibabel.Nifti1Image(data.astype(np.float32), affine)
    image.header.set_xyzt_units("mm", "sec")
    if data.ndim == 4:
        image.header["pixdim"][4] = 1.5
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)
    return path


def series(path: Path) -> Path:
    return save(path, np.random.default_rng(0).normal(30, 5, (6, 5, 2, 4)))


def fault_of(path: Path) -> str:
    """Return why the one study of a path cannot be used."""
    (record,) = find_studies([path]).values()
    assert record["outcome"] == "failed"
    return record["error"]


def test_a_file_and_a_folder_with_one_are_studies(tmp_path: Path) -> None:
    file = one_study(series(tmp_path / "a" / "ctp.nii.gz"))
    assert (file.name, file.kind, file.plain, file.simulated) == ("ctp", "nifti", None, False)
    save(tmp_path / "a" / "ct.nii", np.full((6, 5, 2), 40.0))
    folder = one_study(tmp_path / "a")
    assert folder.name == "a" and folder.series.name == "ctp.nii.gz" and Path(folder.plain).name == "ct.nii"
    assert folder.sha256() != file.sha256() == one_study(tmp_path / "a" / "ctp.nii.gz").sha256()


def test_other_times_beside_a_series_are_another_source(tmp_path: Path) -> None:
    study, sums = one_study(series(tmp_path / "ctp.nii.gz")), set()
    for content in (None, {"RepetitionTime": 1.5}, {"FrameTimesStart": [0, 1.5, 3, 6]}):
        if content is not None:
            (tmp_path / "ctp.json").write_text(json.dumps(content))
        sums.add(study.sha256())
    assert len(sums) == 3


def test_a_series_asked_for_by_number_is_not_taken_for_a_nifti_file(tmp_path: Path) -> None:
    file = series(tmp_path / "a" / "ctp.nii.gz")
    for path in (file, tmp_path / "a", tmp_path):  # the file, its folder, the data set
        (record,) = find_studies([path], series="5").values()
        assert re.search(r"E-USE-33(?s:.*)ctp\.nii\.gz\n.*--series 5", record["error"])
        assert len(find_studies([path], series="ctp.nii.gz")) == 1
    with pytest.raises(IslesError, match=r"E-USE-33(?s:.*)--series b\.nii"):
        read_perfusion_series(file, series="b.nii")
    assert read_perfusion_series(file, series="ctp.nii.gz").times_s[1] == 1.5


def test_series_of_several_cases_in_one_folder_are_a_study_each(tmp_path: Path) -> None:
    paths = [series(tmp_path / f"P{n}_ctp.nii.gz") for n in (1, 2)]
    (tmp_path / "P3_ctp.nii.gz").write_bytes(b"")
    save(tmp_path / "P2_ct.nii.gz", np.full((6, 5, 2), 40.0))
    found = find_studies([tmp_path])
    assert [*found] == ["P1", "P2", "P3"] and [found[name].series for name in ("P1", "P2")] == paths
    assert [found[name].plain for name in found] == [None, str(tmp_path / "P2_ct.nii.gz"), None]
    with pytest.raises(IslesError, match="E-FILE"):
        read_study(found["P3"])


def test_a_series_beside_itself_under_gzip_is_one_study(tmp_path: Path) -> None:
    plain = series(tmp_path / "a" / "ctp.nii")
    (tmp_path / "a" / "ctp.nii.gz").write_bytes(gzip.compress(plain.read_bytes()))
    assert one_study(tmp_path / "a").series == plain
    (tmp_path / "a" / "ctp.nii.gz").write_bytes(gzip.compress(plain.read_bytes()[:-4] + b"\0\0\0\0"))
    assert re.search(r"E-SCAN-02(?s:.*)2 NIfTI files with time among 2", fault_of(tmp_path / "a"))


def test_a_broken_file_beside_the_series_is_left_out_and_named(tmp_path: Path) -> None:
    good = series(tmp_path / "a" / "ctp.nii.gz")
    (tmp_path / "a" / "ct.nii.gz").write_bytes(good.read_bytes()[:40])
    (tmp_path / "a" / "zoom.nii").write_bytes(b"<html>404</html>")
    images = read_study(one_study(tmp_path / "a"))
    assert images.plain_ct is None and images.series.array.shape == (4, 6, 5, 2)
    assert [note.split(":")[:2] for note in images.notes] == [
        ["ct.nii.gz was left out", " E-FILE-05"], ["zoom.nii was left out", " E-FILE-03"],
    ]  # fmt: skip
    good.write_bytes(good.read_bytes()[:40])  # then nothing is left to measure
    assert "E-FILE-05" in fault_of(tmp_path / "a")


def test_a_plain_ct_on_the_grid_is_used_and_one_beside_it_is_not(tmp_path: Path) -> None:
    series(tmp_path / "a" / "ctp.nii.gz")
    save(tmp_path / "a" / "ct.nii.gz", np.full((6, 5, 2), 40.0))
    images = read_study(one_study(tmp_path / "a"))
    assert images.series.array.shape == (4, 6, 5, 2) and images.series.times_s.tolist() == [0.0, 1.5, 3.0, 4.5]
    assert (images.plain_ct == 40).all() and images.notes == () and images.series.slices == ()
    save(tmp_path / "a" / "ct.nii.gz", np.full((6, 5, 2), 40.0), shift=1.0)
    images = read_study(one_study(tmp_path / "a"))
    assert images.plain_ct is None and "another grid" in images.notes[0]


@pytest.mark.parametrize("kind", ["nifti", "dicom"])
def test_a_plain_ct_that_cannot_be_read_is_left_out_and_told(tmp_path: Path, write_tiny, kind: str) -> None:
    if kind == "nifti":
        folder = series(tmp_path / "a" / "ctp.nii.gz").parent
        save(folder / "ct.nii.gz", np.full((6, 5, 2), np.nan))
    else:  # a head CT in sequences: thin slices below, thick ones above
        folder = write_tiny("classic")[1]
        last = sorted((folder / "ct").iterdir())[-1]
        x, y, z = pydicom.dcmread(last).ImagePositionPatient
        change(last, ImagePositionPatient=[x, y, z + 3])
    images = read_study(one_study(folder))
    assert images.plain_ct is None and len(images.series.array) == 4
    assert images.notes[0].startswith("the plain CT was left out: E-")


@pytest.mark.parametrize(
    ("agents", "used", "note"),
    [
        (("", "Iomeprol"), "2", ""),
        (("NONE", "Iomeprol"), "2", ""),
        (("Iomeprol",), None, "(2) none was used as the plain CT: a contrast agent was given"),
        (("", ""), None, "(2, 3) none was used as the plain CT: 2 may be it"),
    ],
    ids=["cta-beside", "agent-none", "cta-alone", "two-plain"],
)
def test_a_ct_with_a_contrast_agent_is_not_the_plain_ct(
    tmp_path: Path, write_tiny, agents: tuple[str, ...], used: str | None, note: str
) -> None:
    _, folder = write_tiny("classic")
    for number, agent in enumerate(agents, start=2):
        for n, path in enumerate(sorted((folder / "ct").iterdir())):
            header = pydicom.dcmread(path)
            header.SeriesInstanceUID, header.SeriesNumber = f"1.2.{number}", number
            header.SOPInstanceUID, header.ContrastBolusAgent = f"1.2.{number}.{n}", agent
            header.PixelData = (header.pixel_array + number).tobytes()
            header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
            (folder / f"still_{number}").mkdir(exist_ok=True)
            header.save_as(folder / f"still_{number}" / path.name)
    shutil.rmtree(folder / "ct")
    study = one_study(folder)
    assert study.plain == (used and f"1.2.{used}") and "".join(study.notes).endswith(note)
    if agents == ("", ""):  # a projection over the times of the perfusion scan is not the plain CT
        for path in (folder / "still_3").iterdir():
            change(path, ImageType=["DERIVED", "SECONDARY", "MIP"])
        assert one_study(folder).plain == "1.2.2"
        for path in (folder / "still_3").iterdir():  # thick slices made of the thin ones: either may be it
            change(path, ImageType=["DERIVED", "SECONDARY", "MPR"])
        assert one_study(folder).plain is None
        for path in sorted((folder / "still_3").iterdir())[1:]:  # a picture before the bolus is watched for
            path.unlink()
        assert one_study(folder).plain == "1.2.2"


def test_the_phantoms_mark_is_found_above_the_file(tmp_path: Path) -> None:
    (tmp_path / "SIMULATED.txt").write_text("simulated\n")
    assert one_study(series(tmp_path / "a" / "ctp.nii.gz")).simulated


def test_equal_names_take_the_folder_above_and_are_refused_when_that_is_equal_too(tmp_path: Path) -> None:
    found = [one_study(series(tmp_path / place / "ctp.nii.gz")) for place in ("a", "b", "a")]
    assert name_studies(found[:2]) == ["a_ctp", "b_ctp"]
    deep = [one_study(series(tmp_path / place / "raw" / "ctp.nii.gz")) for place in ("c", "d")]
    assert name_studies(deep) == ["c_raw_ctp", "d_raw_ctp"]
    with pytest.raises(IslesError, match="two studies have the same name") as caught:
        name_studies(found)
    assert caught.value.code == "E-SCAN-03" and "a_ctp" in caught.value.found


def test_what_is_not_a_study_is_refused(tmp_path: Path) -> None:
    assert fault_of(tmp_path / "nothing").startswith("E-SCAN-01: no study there")
    series(tmp_path / "a" / "one.nii.gz")
    series(tmp_path / "a" / "two.nii.gz")
    assert re.search(r"E-SCAN-02(?s:.*)2 NIfTI files with time among 2", fault_of(tmp_path / "a"))
    save(tmp_path / "b" / "1.nii", np.full((6, 5, 2), 40.0))
    assert re.search(r"E-SCAN-02(?s:.*)0 NIfTI files with time among 1(?s:.*)fslmerge", fault_of(tmp_path / "b"))


def test_a_folder_above_that_is_called_after_the_patient_lends_no_name(tmp_path: Path, write_tiny) -> None:
    _, folder = write_tiny("classic", 4, 2)
    for place in ("SIMULATED_anna", "other"):
        shutil.copytree(folder / "ctp", tmp_path / place / "scan")
    first, second = name_studies([one_study(tmp_path / place / "scan") for place in ("SIMULATED_anna", "other")])
    assert first.startswith("study_") and first.endswith("_scan") and "anna" not in first and second == "other_scan"


def test_a_link_of_git_annex_keeps_its_own_name(tmp_path: Path) -> None:
    store = tmp_path / ".git/annex/objects/XX"
    series(store / "MD5E-s1234--d41d8cd98f00b204e9800998ecf8427e.nii.gz")
    (tmp_path / "sub-01").mkdir()
    link = tmp_path / "sub-01" / "sub-01_ctp.nii.gz"
    link.symlink_to(Path("..") / ".git/annex/objects/XX/MD5E-s1234--d41d8cd98f00b204e9800998ecf8427e.nii.gz")
    assert one_study(link).name == "sub-01_ctp" and one_study(tmp_path / "sub-01").name == "sub-01"
    other = tmp_path / "sub-02" / "sub-01_ctp.nii.gz"
    other.parent.mkdir()
    other.symlink_to(link)
    assert name_studies([one_study(link), one_study(other)]) == ["sub-01_sub-01_ctp", "sub-02_sub-01_ctp"]


def test_a_link_whose_content_was_not_fetched_says_so(tmp_path: Path) -> None:
    (tmp_path / "a_dwi.nii.gz").symlink_to(tmp_path / ".git/annex/objects/gone.nii.gz")
    with pytest.raises(IslesError, match=r"E-FILE-01(?s:.*)a link to (?s:.*)gone.nii.gz(?s:.*)git annex get"):
        read_image(tmp_path / "a_dwi.nii.gz")


@pytest.mark.parametrize("name", ["ncct.nii.gz", "p1_ct.NII.GZ", "CT.nii.gz"])
def test_the_plain_ct_of_a_study_goes_under_its_usual_names(tmp_path: Path, name: str) -> None:
    series(tmp_path / "ctp.nii.gz")
    image = nibabel.load(tmp_path / "ctp.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj)[..., 0], image.affine), tmp_path / "made.nii.gz")
    (tmp_path / "made.nii.gz").rename(tmp_path / name)
    (tmp_path / "._ctp.nii.gz").write_bytes(b"Mac OS X")
    assert one_study(tmp_path).plain == str(tmp_path / name)


def test_an_image_beside_dicom_files_does_not_hide_them(tmp_path: Path, write_tiny) -> None:
    folder = write_tiny("classic")[1] / "ctp"
    save(folder / "roi.nii.gz", np.full((6, 5, 2), 1.0))
    assert one_study(folder).kind == "dicom"
    series(folder / "ctp.nii.gz")
    assert one_study(folder).kind == "nifti"


def test_what_is_repaired_in_series_and_plain_ct_is_told(tmp_path: Path) -> None:
    padded = np.random.default_rng(0).normal(30, 5, (6, 5, 2, 4))
    padded[0] = -8192
    save(tmp_path / "ctp.nii.gz", padded)
    plain = padded[..., 0].copy()
    plain[0] = -3024
    save(tmp_path / "ct.nii.gz", plain)
    images = read_study(one_study(tmp_path))
    assert images.series.array[:, 0].min() == images.series.array[:, 0].max() == -1024
    assert images.plain_ct is not None and (images.plain_ct[0] == -1024).all()
    assert any("below -1024 HU is read as air: 40 of 240 voxels" in one for one in images.series.remarks)
    assert any(one.startswith("plain CT: padding") and "lowest -3024" in one for one in images.notes)


def test_one_of_two_reconstructions_is_chosen_by_number_or_uid(tmp_path: Path) -> None:
    """A flat export of a thin and a thick reconstruction: either can be named, neither is guessed."""
    scan = tiny_scan(4, 3)
    for name, number in (("thin", 5), ("thick", 6)):
        for path in (write_dicom(scan, tmp_path / name) / "ctp").iterdir():
            header = pydicom.dcmread(path)
            header.SeriesNumber, header.SeriesInstanceUID = number, f"1.2.3.{number}"
            header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}.{int(path.name[2:])}"
            if name == "thick":
                header.RescaleIntercept = "-1000"
            (tmp_path / "export").mkdir(exist_ok=True)
            header.save_as(tmp_path / "export" / f"{name}_{path.name}", enforce_file_format=True)
    with pytest.raises(IslesError, match=r"E-DCM-04(?s:.*)1\.2\.3\.5(?s:.*)1\.2\.3\.6(?s:.*)--series"):
        read_study(one_study(tmp_path / "export"))
    for word, shift in (("5", 0), ("1.2.3.5", 0), ("6", 24), ("1.2.3.6", 24)):
        study = one_study(tmp_path / "export", series=word)
        assert np.array_equal(read_study(study).series.array, scan.ctp + shift) and len(study.files) == 12
        assert np.array_equal(read_perfusion_series(tmp_path / "export", series=word).array, scan.ctp + shift)
    with pytest.raises(IslesError, match=r"E-DCM-05: no such series(?s:.*)7"):
        read_study(one_study(tmp_path / "export", series="7"))


def isles2018(root: Path, *cases: str) -> None:
    for number, case in enumerate(cases):
        names = {key: f"SMIR.Brain.XX.O.{key}.{number}{key[-1]}" for key in ("CT", "CT_4DPWI", "CT_CBF")}
        series(root / case / names["CT_4DPWI"] / f"{names['CT_4DPWI']}.nii")
        for key in ("CT", "CT_CBF"):
            save(root / case / names[key] / f"{names[key]}.nii", np.full((6, 5, 2), 40.0))


@pytest.mark.parametrize("above", ["", "TRAINING"])
def test_every_case_of_a_data_set_is_a_study_wherever_one_points(tmp_path: Path, above: str) -> None:
    isles2018(tmp_path / "TRAINING", "case_1", "case_2")
    found = find_studies([tmp_path / above])
    assert list(found) == ["case_1", "case_2"]
    for one in found.values():
        assert "CT_4DPWI" in one.series.name and ".CT." in Path(one.plain).name
    (place,) = study_places(tmp_path / "TRAINING/case_2")
    assert place.name == "case_2" and one_study(tmp_path / "TRAINING/case_2").series == found["case_2"].series


def test_a_case_without_its_series_fails_alone(tmp_path: Path) -> None:
    isles2018(tmp_path / "TRAINING", "case_1", "case_2")
    next((tmp_path / "TRAINING/case_1").glob("*4DPWI*/*")).unlink()
    found = find_studies([tmp_path])
    assert found["case_1"]["outcome"] == "failed" and "E-LIST-02" in str(found["case_1"])
    assert found["case_2"].kind == "nifti"


def test_a_failed_case_takes_no_other_cases_name(tmp_path: Path) -> None:
    """``case_1`` of one data set was lost, never measured, where that of the next has no series."""
    for site in ("north", "south"):
        isles2018(tmp_path / site / "TRAINING", "case_1", "case_2")
    next((tmp_path / "south/TRAINING/case_1").glob("*4DPWI*/*")).unlink()
    for sites in (("north", "south"), ("south", "north")):
        found = find_studies([tmp_path / site for site in sites])
        failed = [name for name, one in found.items() if isinstance(one, dict)]
        assert len(found) == 4 and len(failed) == 1 and failed[0].startswith("study ")


def test_patients_whose_images_hold_no_series_are_remarked(tmp_path: Path) -> None:
    """A series stored as one 3D file for each time was left out without a word, beside patients with a 4D file."""
    series(tmp_path / "anna" / "perf.nii.gz")
    for frame in range(3):
        save(tmp_path / "bert" / f"perf_{frame}.nii.gz", np.full((6, 5, 2), 40.0))
    series(tmp_path / "carl" / "one.nii.gz")
    series(tmp_path / "carl" / "two.nii.gz")  # fails under the name of its folder, and needs no remark
    with collect_remarks() as remarks:
        found = find_studies([tmp_path])
    assert list(found) == ["anna", "carl"] and "E-SCAN-02" in found["carl"]["error"]
    assert [(remark.code, remark.found) for remark in remarks] == [("E-SCAN-02", "bert: 3 images")]


def test_folders_with_a_series_of_any_name_are_studies(tmp_path: Path) -> None:
    for person in ("anna", "bert"):
        series(tmp_path / person / "scan 1" / "perf.nii.gz")
        save(tmp_path / person / "other" / "angio.nii.gz", np.full((6, 5, 2), 40.0))
    assert [place.path.parent.name for place in study_places(tmp_path)] == ["anna", "bert"]
    assert list(find_studies([tmp_path])) == ["anna_scan_1", "bert_scan_1"]
    save(tmp_path / "template.nii.gz", np.full((6, 5, 2), 40.0))  # it hid the studies below
    (tmp_path / "bert" / "scan 1" / "perf.nii.gz").write_bytes(b"")  # and an empty file was passed over in silence
    anna, bert = find_studies([tmp_path]).values()
    assert not isinstance(anna, dict) and "E-FILE-02" in bert["error"]


def test_a_series_of_another_name_beside_cases_is_a_study_too(tmp_path: Path) -> None:
    """Beside ``P1/ctp.nii``, ``P2/perfusion_4D.nii`` was passed over, and beside a CT a case without series."""
    series(tmp_path / "P1" / "ctp.nii.gz")
    series(tmp_path / "P1" / "old" / "first_try.nii")  # of a patient whose series is known
    series(tmp_path / "P2" / "perfusion_4D.nii")
    series(tmp_path / "P3" / "perf.nii")
    save(tmp_path / "P3" / "ct.nii", np.full((6, 5, 2), 40.0))
    series(tmp_path / "P4" / "dwi.nii.gz")  # a known name of another image
    save(tmp_path / "P5" / "ct.nii", np.full((6, 5, 2), 40.0))
    found = find_studies([tmp_path])
    assert {name for name, one in found.items() if isinstance(one, dict)} == {"P4", "P5"}
    used = {name: one.series.name for name, one in found.items() if not isinstance(one, dict)}
    assert used == {"P1": "ctp.nii.gz", "P2": "perfusion_4D.nii", "P3": "perf.nii"} and found["P3"].plain


@pytest.mark.parametrize("dicom", [False, True])
def test_results_of_a_former_run_below_the_data_are_no_studies(tmp_path: Path, write_tiny, dicom: bool) -> None:
    study = write_tiny("classic")[1] if dicom else series(tmp_path / "data/p1/ctp.nii.gz").parent
    data = study if dicom else study.parent
    places = study_places(data)
    maps = data / "results/p1/maps"
    series(maps / "ctp.nii.gz")
    save(maps / "cbf.nii.gz", np.full((6, 5, 2), 40.0))
    (maps / "perfusion.json").write_text("{}")
    assert study_places(data) == places and len(places) == 1
    assert study_places(maps)[0].series == maps / "ctp.nii.gz"  # asked for by its own name


@pytest.fixture
def unitobrain(tmp_path: Path, write_tiny) -> Path:
    """Two raw scans, with what the data set keeps beside them, in the folder of the archive."""
    _, folder = write_tiny("classic", 4, 2)
    root = tmp_path / "unitobrain" / "DeepHealth_IEEE"
    for person in ("MOL-001", "SLG-007"):
        copy = f"{person}_Registered_Filtered_3mm_20HU"
        for place in (person, f"{person}_Registered", copy, f"{copy}_Maps/NLR_CBF", f"{copy}_Maps/NLR_TTP"):
            shutil.copytree(folder / "ctp", root / place)
    return tmp_path / "unitobrain"


@pytest.mark.parametrize("above", ["", "DeepHealth_IEEE"])
def test_the_raw_scans_of_unitobrain_are_studies_and_their_copies_are_named(unitobrain: Path, above: str) -> None:
    with collect_remarks() as remarks:
        assert list(find_studies([unitobrain / above])) == ["MOL-001", "SLG-007"]
    told = [one.found for one in remarks if one.code == "E-LIST-15"]
    assert told == ["6 folders of copies and maps, such as MOL-001_Registered"]
    layout, scans = scan_layout(unitobrain / above)
    assert layout.name == "dicom" and [(one.name, list(one.files)) for one in scans] == [
        ("MOL-001", ["ctp"]), ("SLG-007", ["ctp"])
    ]  # fmt: skip
    with pytest.raises(IslesError, match=r"E-LIST-01(?s:.*)2 DICOM studies: MOL-001, SLG-007(?s:.*)predict-series"):
        find_cases(unitobrain / above)


def test_a_study_with_a_folder_a_series_is_one_and_patients_are_several(tmp_path: Path, write_tiny) -> None:
    _, folder = write_tiny("classic", 4, 2)
    assert [place.series for place in study_places(folder)] == [folder]
    shutil.copytree(folder, tmp_path / "ward" / "a")
    shutil.copytree(folder, tmp_path / "ward" / "b")
    assert [place.series for place in study_places(tmp_path / "ward")] == [tmp_path / "ward"]
    for path in (tmp_path / "ward" / "b").rglob("*"):
        if path.is_file():
            header = pydicom.dcmread(path)
            header.PatientID = "B"
            header.save_as(path)
    assert [place.series.name for place in study_places(tmp_path / "ward")] == ["a", "b"]


def test_a_dicom_file_stands_for_its_series_and_an_archive_is_refused(tmp_path: Path, write_tiny) -> None:
    """An enhanced series is one file, which users give as they give a NIfTI file."""
    scan, folder = write_tiny("enhanced", 12, 2)
    (flat := tmp_path / "export").mkdir()
    for n, path in enumerate(path for path in folder.rglob("*") if path.is_file()):
        shutil.copy(path, flat / f"{path.parent.name}_{n}")
    study = one_study(next(flat.glob("ctp_*")))
    assert np.array_equal(read_study(study).series.array, scan.ctp) and study.name == "export"
    with pytest.raises(IslesError, match=r"E-SCAN-01(?s:.*)an archive(?s:.*)unpack it"):
        study_places(shutil.make_archive(str(tmp_path / "p"), "zip", flat))


def test_linked_series_of_a_study_are_read(tmp_path: Path, write_tiny) -> None:
    _, folder = write_tiny("classic", 4, 2)
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "perfusion").symlink_to(folder / "ctp")
    (tmp_path / "study" / "round").symlink_to(tmp_path / "study")
    assert len(one_study(tmp_path / "study").files) == 8


@pytest.fixture
def two_days(write_tiny, tmp_path: Path) -> Path:
    """A folder with the series of two studies, each series in a folder of its own."""
    _, folder = write_tiny("classic", 12, 2)
    for day in (1, 2):
        for kind in ("ct", "ctp"):
            place = shutil.copytree(folder / kind, tmp_path / "patient" / f"day_{day}_{kind}")
            for n, path in enumerate(sorted(place.iterdir())):
                uid = f"1.2.{day}.{2 + len(kind)}"
                change(path, StudyInstanceUID=f"1.2.{day}", SeriesInstanceUID=uid, SOPInstanceUID=f"{uid}.{n}",
                       StudyDate=f"2024010{day}")  # fmt: skip
    return tmp_path / "patient"


def test_series_of_several_studies_in_a_folder_each_are_their_studies(two_days: Path) -> None:
    """Each series was a study of its own, so that all but one failed and the plain CT was lost."""
    found = find_studies([two_days])
    assert list(found) == ["day_1_ctp", "day_2_ctp"]
    for day, study in zip("12", found.values(), strict=True):
        assert {path.parent.name for path in study.files} == {f"day_{day}_ct", f"day_{day}_ctp"}
        assert study.uid == f"1.2.{day}.5" and read_study(study).plain_ct is not None
    shutil.rmtree(two_days / "day_2_ctp")  # a follow-up without perfusion
    with collect_remarks() as remarks:
        find_studies([two_days])
    assert [(one.code, "series 2 ct" in one.found) for one in remarks] == [("E-DCM-03", True)]
    assert [one.code for one in check_series(two_days)[0]] == ["E-DCM-03"]
    assert list(one_study(two_days).files) == sorted(one_study(two_days).files)
    assert {path.parent.name for path in one_study(two_days).files} == {"day_1_ct", "day_1_ctp"}


def test_an_export_in_folders_of_so_many_files_each_is_read_as_a_whole(two_days: Path, tmp_path: Path) -> None:
    """Archives number files and folders, whatever patient they belong to; the first files need not differ."""
    files = sorted(path for path in two_days.rglob("IM*"))
    for n, path in enumerate(files[::2] + files[1::2]):
        (place := tmp_path / "export" / "DICOM" / f"{n // 13:08d}").mkdir(parents=True, exist_ok=True)
        change(shutil.copy(path, place / f"{n:08d}"), PatientID="", PatientName="", StudyDate="")
    found = find_studies([tmp_path / "export"])
    assert [len(study.files) for study in found.values()] == [26, 26]
    assert all(re.fullmatch(r"study_[0-9a-f]{10}", name) for name in found)


def test_without_uids_each_folder_is_a_study(write_tiny, tmp_path: Path) -> None:
    _, folder = write_tiny("classic", 4, 2)
    for name in ("a", "b"):
        for path in Path(shutil.copytree(folder / "ctp", tmp_path / "bare" / name)).iterdir():
            change(path, StudyInstanceUID=None, SeriesInstanceUID=None, PatientID=None)
    assert {name: len(study.files) for name, study in find_studies([tmp_path / "bare"]).items()} == {"a": 8, "b": 8}


@pytest.mark.parametrize("dt_s", [None, 1.5])
def test_without_uids_the_series_of_a_folder_are_told_apart_by_number(write_tiny, tmp_path: Path, dt_s) -> None:
    """The plain CT was a first frame of the series, in silence where the step was given."""
    scan, folder = write_tiny("classic", 12, 2)
    (bare := tmp_path / "bare").mkdir()
    for kind in ("ct", "ctp"):
        for path in (folder / kind).iterdir():
            change(shutil.copy(path, bare / f"{kind}_{path.name}"), StudyInstanceUID=None, SeriesInstanceUID=None)
    study = read_study(one_study(bare), dt_s=dt_s)
    assert np.array_equal(study.series.array, scan.ctp) and study.plain_ct is not None


def test_studies_that_lie_mixed_in_one_folder_are_told_apart(two_days: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in two_days.rglob("IM*"):
        shutil.copy(path, flat / f"{path.parent.name}_{path.name}")
    found = find_studies([flat])
    assert len(found) == 2 and all(re.fullmatch(r"study_[0-9a-f]{10}", name) for name in found)
    assert [len(study.files) for study in found.values()] == [26, 26]
    slabs = Path(shutil.copytree(flat, tmp_path / "slabs"))
    for path in slabs.glob("day_2_ctp*[13579]"):  # a series for each slab: nothing is said of the other study
        change(path, SeriesInstanceUID="1.2.2.6")
    first, second = (read_study(study).series for study in find_studies([slabs]).values())
    assert np.array_equal(first.array, second.array)
    assert [any("joined" in remark for remark in one.remarks) for one in (first, second)] == [False, True]
    same_day = Path(shutil.copytree(flat, tmp_path / "same_day"))
    for path in same_day.iterdir():
        change(path, StudyDate="20240101")  # perhaps one scan under two numbers
    with pytest.raises(IslesError, match=r"E-DCM-04(?s:.*)1.2.1.5(?s:.*)1.2.2.5"):
        read_study(one_study(same_day))
    for path in flat.glob("day_2_ctp*"):  # another reconstruction of the second: it alone is refused
        change(shutil.copy(path, flat / f"thin_{path.name}"), SeriesInstanceUID="1.2.2.9", RescaleIntercept="-1000",
               SOPInstanceUID=f"1.2.2.9.{int(path.name[-2:])}")  # fmt: skip
    first, second = find_studies([flat]).values()
    assert read_study(first).series.array.shape[0] == 12
    with pytest.raises(IslesError, match=r"E-DCM-04"):
        read_study(second)
