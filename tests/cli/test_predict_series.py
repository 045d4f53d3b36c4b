"""``monai-isles predict-series``: a DICOM folder or a 4D NIfTI file in, everything out, each study alone."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_isles.cli.main import main
from monai_isles.io import read_image
from monai_isles.phantom.ct.scan import CaseArrays

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("highdicom")
ROOT = Path(__file__).parents[2]
CLINICAL = ("--age", "83.8125", "--nihss", "17.0625")  # found nowhere afterwards
PLANTED = (*CLINICAL[1::2], "ZZPLANTED", "ZZID9", "19230405")
ALL = [
    "core.nii.gz", "hypoperfused.nii.gz", "lesion.nii.gz", "lesion_seg.dcm", "maps", "penumbra.nii.gz",
    "probability.nii.gz", "report.html", "result.json",
]  # fmt: skip


@pytest.fixture(scope="module")
def studies(scan: CaseArrays, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the scan as DICOM with a planted patient, and as a NIfTI folder; read only."""
    return write_studies(scan, tmp_path_factory.mktemp("studies"))


@pytest.fixture(scope="module")
def coarse(scan: CaseArrays, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write every second pixel of the scan in the same way, where no test is about its values."""
    (x, y, z), fewer = scan.spacing_mm, {key: image[::2, ::2] for key, image in scan.images.items()}
    small = replace(
        scan, images=fewer, ctp=scan.ctp[:, ::2, ::2], label=scan.label[::2, ::2], spacing_mm=(2 * x, 2 * y, z)
    )
    return write_studies(small, tmp_path_factory.mktemp("coarse"))


def write_studies(scan: CaseArrays, folder: Path) -> Path:
    from monai_isles.phantom.dicom_writer import write_dicom

    write_dicom(scan, folder / "scan_a")
    for path in (folder / "scan_a").rglob("IM*"):
        image = pydicom.dcmread(path)
        image.PatientName, image.PatientID, image.PatientBirthDate = "ZZPLANTED^NAME", "ZZID9", "19230405"
        image.save_as(path)
    (folder / "scan_b").mkdir()
    series = nibabel.Nifti1Image(np.moveaxis(scan.ctp, 0, -1).copy(), np.diag([*scan.spacing_mm, 1.0]))
    series.header.set_xyzt_units("mm", "sec")
    series.header["pixdim"][4] = scan.dt_s
    series.set_sform(series.affine, 1)
    series.set_qform(series.affine, 1)
    nibabel.save(series, folder / "scan_b" / "ctp.nii.gz")
    return folder


@pytest.fixture
def predict(tmp_path: Path) -> Callable[..., int]:
    def run(*studies: Path, bundle: str = "threshold", extra: tuple[str, ...] = ()) -> int:
        words = ["predict-series", *map(str, studies), "--bundle", bundle, "--out", str(tmp_path / "out")]
        return main([*words, "--threads", "1", *extra])

    return run


def result_of(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text(encoding="utf-8"))


def test_a_dicom_folder_becomes_maps_masks_numbers_page_and_seg(
    predict: Callable[..., int], studies: Path, tmp_path: Path, scan: CaseArrays, caplog, capsys
) -> None:
    kinds = ("seg", "sr", "sc", "pdf", "maps")
    assert predict(studies / "scan_a", extra=("--dicom-out", *kinds, "--debug", *CLINICAL)) == 0
    out = tmp_path / "out/scan_a"
    objects = ["capture_mosaic.dcm", "capture_summary.dcm", "dicom_maps", "report_pdf.dcm", "report_sr.dcm"]
    assert sorted(p.name for p in out.iterdir()) == sorted([*ALL, *objects])
    beside = {p.name for p in (tmp_path / "out").iterdir() if p.is_file()}
    assert {"results.csv", "studies.html", "methods.md", "run.json"} <= beside
    result = result_of(out)
    core = read_image(out / "core.nii.gz")
    assert result["perfusion"]["core_ml"] == pytest.approx(core.data.sum() * np.prod(core.spacing_mm) / 1000, rel=1e-3)
    assert result["perfusion"]["dawn"] is (result["perfusion"]["core_ml"] < 21)  # older than 80, NIHSS above 10
    assert {flag["code"] for flag in result["quality"]} >= {"few-slices"}
    assert result["source"]["kind"] == "dicom" and result["source"]["ct"] == "plain CT, HU"
    np.testing.assert_array_equal(read_image(out / "maps/ct.nii.gz").data, scan.images["ct"])
    seg = pydicom.dcmread(out / "lesion_seg.dcm")
    labels = [segment.SegmentLabel for segment in seg.SegmentSequence]
    assert labels[0] == "Predicted lesion" and len(labels) == 4
    found = int(sum(f.sum() for f, g in zip(seg.pixel_array, seg.PerFrameFunctionalGroupsSequence, strict=True)
                    if g.SegmentIdentificationSequence[0].ReferencedSegmentNumber == 1))  # fmt: skip
    assert found == int(read_image(out / "lesion.nii.gz").data.sum()) > 0
    assert seg.PatientName == "ZZPLANTED^NAME"
    _require_report(out, seg, result)
    _require_nobody(tmp_path / "out", caplog.text + "".join(capsys.readouterr()))


def _require_report(out: Path, seg: pydicom.Dataset, result: dict) -> None:
    """The report has the volumes of ``result.json``, under the tracking UIDs of the SEG."""
    import highdicom

    groups = highdicom.sr.srread(out / "report_sr.dcm").content.get_volumetric_roi_measurement_groups()
    volumes = {group.tracking_uid: group.get_measurements()[0].value for group in groups}
    wanted = [result["lesion_ml"], *(result["perfusion"][f"{key}_ml"] for key in ("core", "hypoperfused", "penumbra"))]
    assert [volumes[segment.TrackingUID] for segment in seg.SegmentSequence] == wanted
    assert pydicom.dcmread(out / "report_pdf.dcm").EncapsulatedDocument.startswith(b"%PDF-")


def test_kinds_of_dicom_are_added_by_the_older_options() -> None:
    from argparse import Namespace

    from monai_isles.cli.predict_series import _objects

    def chosen(**options: object) -> tuple[str, ...]:
        return _objects(Namespace(**({"no_dicom": False, "dicom_maps": False, "dicom_out": None} | options)))

    assert chosen() == ("seg",) and chosen(no_dicom=True) == () and chosen(dicom_maps=True) == ("seg", "maps")
    assert chosen(dicom_out=["sr", "pdf"]) == ("sr", "pdf")
    assert chosen(no_dicom=True, dicom_maps=True) == ("maps",)


def _require_nobody(out: Path, said: str) -> None:
    """Look for the planted patient in every file that is not DICOM, unpacked, and in all that was said."""
    for path in out.rglob("*"):
        if path.is_file() and path.suffix != ".dcm":
            raw = path.read_bytes()
            raw = gzip.decompress(raw) if path.suffix == ".gz" else raw
            assert not [word for word in PLANTED if word.encode() in raw or word in path.name], path
    assert not [word for word in PLANTED if word in said]


@pytest.mark.long
def test_the_same_series_as_nifti_gives_the_same_numbers_but_no_dicom(
    predict: Callable[..., int], coarse: Path, tmp_path: Path
) -> None:
    assert predict(coarse / "scan_a" / "ctp", coarse / "scan_b", extra=("--bids",)) == 0
    assert (tmp_path / "out/derivatives/monai_isles/sub-scanb/perf/sub-scanb_desc-monaiisles_tmax.nii.gz").is_file()
    dicom, nifti = tmp_path / "out/ctp", tmp_path / "out/scan_b"
    assert not (nifti / "lesion_seg.dcm").exists() and (nifti / "report.html").is_file()
    one, other = (result_of(folder)["perfusion"] for folder in (dicom, nifti))
    assert one["tmax_ml"] == pytest.approx(other["tmax_ml"], abs=0.05)  # a voxel may fall to either side of a limit
    assert one["core_ml"] == pytest.approx(other["core_ml"], abs=0.05) and one["midline"] == other["midline"]
    assert result_of(nifti)["source"]["ct"] == "mean before the bolus, HU"
    assert "stands in for it" in (nifti / "report.html").read_text(encoding="utf-8")
    for key in ("ct", "cbf", "tmax"):
        one, other = (read_image(folder / f"maps/{key}.nii.gz").data for folder in (dicom, nifti))
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=1e-3)  # float32 sums in another order


def test_one_failure_takes_no_other_and_a_second_run_does_what_is_missing(
    predict: Callable[..., int], coarse: Path, tmp_path: Path, capsys
) -> None:
    (tmp_path / "empty").mkdir()
    nobody = tmp_path / "nobody"
    assert predict(nobody, coarse / "scan_b", tmp_path / "empty") == 3
    said = capsys.readouterr().out
    assert "E-SCAN-01" in said and "E-DCM-02" in said and "1 of 3 cases" in said
    record = json.loads((tmp_path / "out/run.json").read_text())
    assert [r["outcome"] for r in record["cases"].values()] == ["failed", "ok", "failed"]
    before = (tmp_path / "out/scan_b/maps/cbf.nii.gz").stat().st_mtime_ns
    assert predict(coarse / "scan_b") == 0 and "done before" in capsys.readouterr().out
    (tmp_path / "out/scan_b/report.html").unlink()
    assert predict(coarse / "scan_b") == 0 and "scan_b: ok" in capsys.readouterr().out
    assert (tmp_path / "out/scan_b/report.html").is_file()
    assert (tmp_path / "out/scan_b/maps/cbf.nii.gz").stat().st_mtime_ns == before


def test_the_network_runs_on_the_maps_and_its_weights_stand_in_the_seg(
    predict: Callable[..., int], studies: Path, tmp_path: Path, scan: CaseArrays
) -> None:
    assert predict(studies / "scan_a", bundle="clerigues", extra=("--step", "32", "--mc-passes", "2")) == 0
    out = tmp_path / "out/scan_a"
    result = result_of(out)
    assert not (out / "maps/network").exists()  # network, rules and page see one and the same maps
    for key in ("cbf", "cbv", "mtt", "tmax"):
        np.testing.assert_allclose(read_image(out / f"maps/{key}.nii.gz").data, scan.images[key], rtol=1e-3, atol=1e-2)
    assert result["source"]["settings"]["method"] == "learned" and result["source"]["coverage"]["slices"] == 2
    assert result["source"]["tube_kv"] == 80.0 and result["source"]["times_from"] == "AcquisitionTime"
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "learned 0.5, smoothed over 5 mm" in page and "80 kV" in page
    assert all(said in page for said in ("Hypoperfusion intensity ratio", "CBV index", "CBF &lt; 38 %"))
    made = pydicom.dcmread(out / "lesion_seg.dcm").SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    assert made.AlgorithmName == "clerigues" and result["weights_sha256"][0] in made.AlgorithmParameters
    shutil.rmtree(tmp_path / "out")
    assert predict(studies / "scan_a", extra=("--no-report",)) == 0
    assert result_of(out)["perfusion"] == result["perfusion"]


def test_the_patient_is_on_the_page_only_when_asked(predict: Callable[..., int], coarse: Path, tmp_path: Path) -> None:
    page = tmp_path / "out/scan_a/report.html"
    assert predict(coarse / "scan_a") == 0 and "ZZPLANTED" not in page.read_text(encoding="utf-8")
    assert predict(coarse / "scan_a", extra=("--show-patient",)) == 0
    assert "ZZPLANTED^NAME" in page.read_text(encoding="utf-8")
    assert "ZZPLANTED" not in (page.parent / "result.json").read_text(encoding="utf-8")
    assert predict(coarse / "scan_a") == 0 and "ZZPLANTED" not in page.read_text(encoding="utf-8")


def test_objects_and_page_of_a_former_result_go_and_those_of_the_same_stay(
    predict: Callable[..., int], coarse: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out/scan_a"
    assert predict(coarse / "scan_a", extra=("--dicom-out", "seg", "sc")) == 0
    small = (out / "report.html").stat().st_size
    assert predict(coarse / "scan_a", extra=("--viewer", "niivue", "--show-patient", "--dicom-out", "pdf")) == 0
    assert (out / "report.html").stat().st_size > small + 100_000
    assert {"lesion_seg.dcm", "capture_mosaic.dcm", "report_pdf.dcm"} <= {path.name for path in out.iterdir()}
    assert predict(coarse / "scan_a", extra=("--dicom-out", "seg", "--no-report", "--threshold", "0.4")) == 0
    assert [path.name for path in out.glob("*.dcm")] == ["lesion_seg.dcm"] and not (out / "report.html").exists()


def test_a_folder_called_after_its_patient_lends_no_name(
    predict: Callable[..., int], coarse: Path, tmp_path: Path
) -> None:
    shutil.copytree(coarse / "scan_a" / "ctp", tmp_path / "zzplanted_name_ctp")
    assert predict(tmp_path / "zzplanted_name_ctp", extra=("--no-report", "--no-dicom")) == 0
    (made,) = [p for p in (tmp_path / "out").iterdir() if p.is_dir()]
    assert made.name.startswith("study_") and not (made / "lesion_seg.dcm").exists()
    assert "zzplanted" not in (tmp_path / "out/run.json").read_text().lower()


def test_a_source_without_uids_gives_all_results_but_dicom(
    predict: Callable[..., int], coarse: Path, tmp_path: Path
) -> None:
    """An anonymiser left them out: what would refer to the source has nothing to refer to."""
    shutil.copytree(coarse / "scan_a" / "ctp", source := tmp_path / "bare")
    for path in source.iterdir():
        image = pydicom.dcmread(path)
        del image.SOPInstanceUID
        image.save_as(path)
    assert predict(source, extra=("--no-report",)) == 0
    result = json.loads((tmp_path / "out/bare/result.json").read_text())
    assert any("the source lacks the UIDs" in remark["text"] for remark in result["quality"])
    assert not list((tmp_path / "out").rglob("*.dcm"))


@pytest.mark.parametrize(
    ("words", "found"),
    [(["--age", "80"], "age 80.0, NIHSS None"), (["--age", "80", "--nihss", "43"], "NIHSS 43.0"), (None, "2 studies")],
)
def test_age_and_nihss_come_together_for_one_study(
    words: list[str] | None, found: str, predict: Callable[..., int], studies: Path, tmp_path: Path, capsys
) -> None:
    paths = [studies / "scan_a"] if words else [studies / "scan_a", studies / "scan_b"]
    assert predict(*paths, extra=tuple(words or CLINICAL)) == 2
    said = capsys.readouterr().err
    assert "E-USE-81" in said and found in said and not (tmp_path / "out/run.json").exists()


def test_the_old_spelling_does_the_same_and_is_not_shown(
    predict: Callable[..., int], coarse: Path, tmp_path: Path, capsys
) -> None:
    words = ["predict", "--bundle", "threshold", "--threads", "1", "--from-series", str(coarse / "scan_b")]
    assert main([*words, "--no-report", "--out", str(tmp_path / "old")]) == 0
    assert predict(coarse / "scan_b", extra=("--no-report",)) == 0
    old, new = ((folder / "scan_b/lesion.nii.gz").read_bytes() for folder in (tmp_path / "old", tmp_path / "out"))
    assert old == new
    capsys.readouterr()
    assert main(["predict", "--help"]) == 0
    shown = capsys.readouterr().out
    assert not [word for word in ("--from-series", "--dt", "--dicom-out", "--show-patient") if word in shown]
    assert main(["predict-series", "--help"]) == 0
    shown = capsys.readouterr().out
    assert not [word for word in ("--dt", "--dicom-out", "--show-patient") if word not in shown]


def test_strict_stops_at_the_first_study_that_fails(predict: Callable[..., int], coarse: Path, tmp_path: Path) -> None:
    broken = tmp_path / "scan_x.nii.gz"
    broken.write_bytes((coarse / "scan_b/ctp.nii.gz").read_bytes()[:9999])
    assert predict(broken, coarse / "scan_b", extra=("--strict",)) == 4
    assert not (tmp_path / "out/scan_b").exists() and not (tmp_path / "out/run.json").exists()


def test_a_bundle_for_mri_is_refused_at_once(predict: Callable[..., int], coarse: Path, capsys) -> None:
    assert predict(coarse / "scan_b", bundle="clerigues_mri") == 4
    assert "E-SCAN-04: the bundle reads images that a CT perfusion series does not give" in capsys.readouterr().err


@pytest.mark.long
def test_thin_slices_averaged_as_asked_come_back_on_the_slices_of_the_source(
    predict: Callable[..., int], studies: Path, tmp_path: Path
) -> None:
    """Two slices of 10 mm make one of 20 mm: its lesion stands in both of them."""
    assert predict(studies / "scan_a", extra=("--slab-mm", "20", "--no-report")) == 0
    out = tmp_path / "out/scan_a"
    lesion, seg = read_image(out / "lesion.nii.gz"), pydicom.dcmread(out / "lesion_seg.dcm")
    assert lesion.data.shape[2] == 1 and lesion.spacing_mm[2] == pytest.approx(20)
    assert any("thin slices are averaged" in flag["text"] for flag in result_of(out)["quality"])
    first = [int(picture.sum()) for picture, group in zip(seg.pixel_array, seg.PerFrameFunctionalGroupsSequence,
             strict=True) if group.SegmentIdentificationSequence[0].ReferencedSegmentNumber == 1]  # fmt: skip
    assert first == 2 * [int(lesion.data.sum())] and first[0] > 0
