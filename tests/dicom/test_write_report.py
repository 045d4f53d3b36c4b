"""Report, captures and PDF hold the numbers and pictures of a case, and DICOM's own tools read them."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from monai_isles.dicom.read import read_series
from monai_isles.dicom.source import DicomSource
from monai_isles.dicom.write import Algorithm, publish_captures, publish_maps, publish_pdf, publish_seg, publish_sr
from monai_isles.errors import IslesError
from tests.fixtures.dicom import make_ct_series

pydicom = pytest.importorskip("pydicom")
highdicom = pytest.importorskip("highdicom")
NETWORK, RULE = Algorithm("clerigues", "0.1.0", {"weights_sha256": "ab" * 32}), Algorithm("thresholds of CBF and Tmax")
PDF = b"%PDF-1.4\n% one page\n%%EOF"
ROWS, COLUMNS, SLICES = 30, 24, 6
RESULT = {
    "lesion_ml": 12.5,
    "lesion_ml_interval": [8.25, 17.0],
    "perfusion": {
        "core_ml": 10.0, "hypoperfused_ml": 40.0, "penumbra_ml": 30.0, "mismatch_ml": 30.0, "mismatch_ratio": 4.0,
        "rcbf_ml": {"20": 4.0, "30": 10.0}, "cbv_index": 0.75,
        "defuse3": True, "dawn": False, "hir": 0.25, "side": "left",
        "tmax_ml": {"4": 60.0, "6": 40.0, "8": 20.0, "10": 10.0},
    },
}  # fmt: skip
LAID = {
    "axial": ((1, 0, 0), (0, 1, 0), (0, 0, 5)),
    "oblique": ((0.8, 0.6, 0), (-0.6, 0.8, 0), (0, 0, 5)),
    "feet first": ((-1, 0, 0), (0, 1, 0), (0, 0, -5)),
    "tilted": ((1, 0, 0), (0, 0.96, -0.28), (0, 0, 5)),
}


def tool(name: str) -> str:
    """Return the path of a program, or skip the test by its name."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def source_of(folder: Path, laid: str) -> tuple[DicomSource, np.ndarray]:
    """Write a series that lies as asked; return it and the place (H, W, D, 3) of every voxel in mm, RAS."""
    files = make_ct_series(folder, np.random.default_rng(1).integers(0, 80, (SLICES, ROWS, COLUMNS)))
    row, column, step = (np.array(part, float) for part in LAID[laid])
    for k, path in enumerate(files):
        header = pydicom.dcmread(path)
        header.ImageOrientationPatient = [f"{x:.8g}" for x in (*row, *column)]
        header.ImagePositionPatient = [f"{x:.8g}" for x in np.array([-11.0, -14.0, 30.0]) + k * step]
        header.PatientPosition = "FFS" if laid == "feet first" else "HFS"
        header.save_as(path, enforce_file_format=True)
    series = read_series(folder)
    ijk = np.stack(np.meshgrid(*map(np.arange, series.array.shape[-3:]), indexing="ij"), axis=-1)
    return DicomSource(files, series.affine), nibabel.affines.apply_affine(series.affine, ijk)


@pytest.fixture(scope="module", params=list(LAID))
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write every object for one lie of the source."""
    folder = tmp_path_factory.mktemp("out")
    source, world = source_of(folder / "source", request.param)
    masks = masks_of(world)
    picture = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    np.save(folder / "picture.npy", picture)
    publish_seg(masks, source, folder / "lesion_seg.dcm", algorithm=NETWORK, rule=RULE)
    publish_sr(RESULT, folder / "lesion_seg.dcm", source, folder / "report_sr.dcm", algorithm=NETWORK, rule=RULE)
    pictures, titles = {"summary": picture, "mosaic": picture[::-1]}, {"summary": "Summary", "mosaic": "Mosaic"}
    publish_captures(pictures, source, folder, titles=titles)
    publish_pdf(PDF, source, folder / "report_pdf.dcm", title="Summary")
    publish_maps({"tmax": (100 + world[..., 1]).astype(np.float32)}, source, folder)
    return folder


def masks_of(world: np.ndarray) -> dict[str, np.ndarray]:
    front = world[..., 1] > 2.0
    return {"lesion": front, "core": front & (world[..., 0] > 0), "hypoperfused": ~front}


def objects(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.dcm"))


def numbers(item: pydicom.Dataset) -> dict[str, float]:
    """Return every number below an item by its meaning, as a reader who knows the attributes alone finds it."""
    found = {}
    if item.get("ValueType") == "NUM":
        found[item.ConceptNameCodeSequence[0].CodeMeaning] = float(item.MeasuredValueSequence[0].NumericValue)
    for child in item.get("ContentSequence", ()):
        found |= numbers(child)
    return found


def texts(item: pydicom.Dataset) -> list[tuple[str, str]]:
    """Return every text below an item with its meaning."""
    own = [(item.ConceptNameCodeSequence[0].CodeMeaning, item.TextValue)] if item.get("ValueType") == "TEXT" else []
    return own + [one for child in item.get("ContentSequence", ()) for one in texts(child)]


def test_every_object_belongs_to_patient_and_study_of_the_source(written: Path) -> None:
    image = pydicom.dcmread(next((written / "source").iterdir()))
    seen = set()
    for path in objects(written):
        made = pydicom.dcmread(path)
        assert (
            (made.PatientName, made.PatientID) == (image.PatientName, image.PatientID) == ("ZZPLANTED^NAME", "PID-77")
        )
        assert made.StudyInstanceUID == image.StudyInstanceUID and made.SeriesInstanceUID != image.SeriesInstanceUID
        seen.add((made.SeriesInstanceUID, made.SOPInstanceUID, made.Modality))
    assert len(seen) == 6 and {modality for _, _, modality in seen} >= {"SEG", "SR", "DOC"}


def test_the_report_has_the_volume_of_each_segment_under_the_tracking_of_the_seg(written: Path) -> None:
    report, seg = highdicom.sr.srread(written / "report_sr.dcm"), highdicom.seg.segread(written / "lesion_seg.dcm")
    groups = report.content.get_volumetric_roi_measurement_groups()
    assert len(groups) == 3
    for group, volume in zip(groups, (12.5, 10.0, 40.0), strict=True):
        (one,) = group.get_measurements()
        assert one.value == volume and one.unit.value == "ml" and one.name.meaning == "Volume"
        number = group.referenced_segment.referenced_segment_numbers
        (n,) = number if isinstance(number, (list, tuple)) else (number,)
        described = seg.get_segment_description(n)
        assert group.tracking_uid == described.tracking_uid
        assert group.tracking_identifier == described.tracking_id
        assert group.referenced_segment.referenced_sop_instance_uid == seg.SOPInstanceUID
    lesion, core = texts(groups[0][0]), texts(groups[1][0])
    assert ("Algorithm Name", "clerigues") in lesion and ("Algorithm Name", RULE.name) in core
    assert ("Algorithm Parameters", "weights_sha256: " + "ab" * 32) in lesion


def test_the_report_has_mismatch_ratio_ladder_interval_and_side(written: Path) -> None:
    report = pydicom.dcmread(written / "report_sr.dcm")
    found = numbers(report)
    assert found["Hypoperfusion intensity ratio"] == 0.25  # 10 ml above 10 s of 40 ml above 6 s
    assert found["Mismatch volume"] == 30.0 and found["Mismatch ratio"] == 4.0
    assert [found[f"Volume with Tmax above {s} s"] for s in (4, 6, 8, 10)] == [60.0, 40.0, 20.0, 10.0]
    assert [found[f"Volume with CBF below {part} % of the other side"] for part in (20, 30)] == [4.0, 10.0]
    assert found["CBV index"] == 0.75
    assert found["Lesion volume, lower limit (90 %)"] == 8.25 and found["Lesion volume, upper limit (90 %)"] == 17.0
    text = str(report)
    said = ("'7771000'", "Laterality", "DEFUSE-3 target profile", "DAWN target profile")
    assert [word for word in said if word not in text] == []
    assert report.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.34"
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"


def test_masks_lie_in_space_where_they_were_computed(written: Path) -> None:
    """Place of every pixel of every frame by the attributes alone; a voxel beside the plane may fall to either side."""
    seg = pydicom.dcmread(written / "lesion_seg.dcm")
    shared, seen = seg.SharedFunctionalGroupsSequence[0], 0
    turned = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    height, width = (float(x) for x in shared.PixelMeasuresSequence[0].PixelSpacing)
    v, u = np.mgrid[: seg.Rows, : seg.Columns]
    for frame, group in zip(seg.pixel_array, seg.PerFrameFunctionalGroupsSequence, strict=True):
        first = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        lps = first + u[..., None] * width * turned[:3] + v[..., None] * height * turned[3:]
        world, number = lps * [-1, -1, 1], group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        wanted = list(masks_of(world).values())[number - 1]
        sure = (np.abs(world[..., 1] - 2.0) > 1.2) & (np.abs(world[..., 0]) > 1.2)
        edge = np.zeros_like(sure)
        edge[1:-1] = True  # the outermost lines of a tilted slice are shared with the outside
        assert np.array_equal(frame[sure & edge], wanted[sure & edge])
        seen += 1
    assert seen == 3 * SLICES


def test_pictures_and_pdf_come_back_as_they_were(written: Path) -> None:
    picture = np.load(written / "picture.npy")
    for name, wanted in (("summary", picture), ("mosaic", picture[::-1])):
        path = written / f"capture_{name}.dcm"
        assert np.array_equal(pydicom.dcmread(path).pixel_array, wanted)
        assert np.array_equal(highdicom.imread(path).get_frame(1, apply_icc_profile=False), wanted)
    document = pydicom.dcmread(written / "report_pdf.dcm")
    assert bytes(document.EncapsulatedDocument)[: document.EncapsulatedDocumentLength] == PDF


def test_dcmtk_reads_the_same_numbers_pictures_and_pdf(written: Path, tmp_path: Path) -> None:
    dump = subprocess.run(
        [tool("dsrdump"), "-Er", str(written / "report_sr.dcm")], check=True, capture_output=True, text=True
    ).stdout
    for value in ("12.5", "8.25", "0.25"):
        assert f'"{value}"' in dump, value
    subprocess.run([tool("dcm2pdf"), str(written / "report_pdf.dcm"), str(tmp_path / "a.pdf")], check=True)
    assert (tmp_path / "a.pdf").read_bytes().rstrip(b"\0") == PDF
    drawn = tmp_path / "a.ppm"
    subprocess.run([tool("dcm2pnm"), "+op", str(written / "capture_summary.dcm"), str(drawn)], check=True)
    assert np.array_equal(np.asarray(Image.open(drawn)), np.load(written / "picture.npy"))


def test_dciodvfy_reports_no_error(written: Path) -> None:
    program = tool("dciodvfy")
    for path in objects(written):
        said = subprocess.run([program, str(path)], capture_output=True, text=True)
        errors = [line for line in (said.stdout + said.stderr).splitlines() if line.startswith("Error")]
        assert not errors, (path.name, errors)


def test_a_server_takes_every_object_as_it_is(written: Path, tmp_path: Path) -> None:
    server_program, client = tool("storescp"), tool("storescu")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    words = [server_program, "--output-directory", str(tmp_path), "--promiscuous", port]
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        sent = [client, "--required", "127.0.0.1", port, *map(str, objects(written))]
        for _ in range(60):
            if subprocess.run(sent, capture_output=True).returncode == 0:
                break
            time.sleep(0.5)
        arrived = {pydicom.dcmread(path).SOPInstanceUID: path for path in tmp_path.iterdir()}
        assert len(arrived) == 6
        for path in objects(written):
            made = pydicom.dcmread(path)
            assert pydicom.dcmread(arrived[made.SOPInstanceUID]) == made
    finally:
        server.terminate()
        server.wait(timeout=20)


def test_numbers_that_are_not_there_are_left_out(tmp_path: Path) -> None:
    source, world = source_of(tmp_path / "source", "axial")
    publish_seg({"lesion": world[..., 0] > 1e6}, source, tmp_path / "seg.dcm", algorithm=NETWORK)
    result = {"lesion_ml": 0.0, "perfusion": {"not_computed": "no artery"}}
    publish_sr(result, tmp_path / "seg.dcm", source, tmp_path / "sr.dcm", algorithm=NETWORK, rule=RULE)
    assert numbers(pydicom.dcmread(tmp_path / "sr.dcm")) == {"Volume": 0.0}


def test_a_ratio_without_end_is_written_to_the_digits_that_dicom_holds(tmp_path: Path) -> None:
    source, world = source_of(tmp_path / "source", "axial")
    publish_seg({"lesion": world[..., 0] > 0}, source, tmp_path / "seg.dcm", algorithm=NETWORK)
    result = {"lesion_ml": 1 / 3, "perfusion": {"hir": 1 / 3}}
    publish_sr(result, tmp_path / "seg.dcm", source, tmp_path / "sr.dcm", algorithm=NETWORK, rule=RULE)
    found = numbers(pydicom.dcmread(tmp_path / "sr.dcm"))
    assert found["Volume"] == found["Hypoperfusion intensity ratio"] == pytest.approx(1 / 3, rel=1e-12)


def test_what_is_no_pdf_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    source, _ = source_of(tmp_path / "source", "axial")
    with pytest.raises(IslesError, match=r"E-DCM-48(?s:.*)9 bytes that are no PDF"):
        publish_pdf(b"<!doctype", source, tmp_path / "a.dcm", title="t")
    assert not (tmp_path / "a.dcm").exists()
