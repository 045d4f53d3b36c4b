"""A DICOM SEG holds the masks bit for bit on the slices of its source, and says who made them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from monai_isles.dicom.read import read_series
from monai_isles.dicom.source import DicomSource
from monai_isles.dicom.write import SEGMENTS, Algorithm, publish_seg
from monai_isles.errors import IslesError
from tests.fixtures.dicom import change

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("highdicom")
ALGORITHM = Algorithm("clerigues", "0.1.0", {"weights_sha256": "ab" * 32, "threshold": "0.2"})


def ras(slices: np.ndarray) -> np.ndarray:
    return slices.transpose(2, 1, 0)[::-1, ::-1]


def three_masks(values: np.ndarray) -> dict[str, np.ndarray]:
    return {"lesion": ras(values > 60), "core": ras(values > 80), "hypoperfused": ras(values > 0)}


def test_every_frame_equals_the_mask_on_its_own_source_image(ct_series, tmp_path: Path) -> None:
    values, source = ct_series
    publish_seg(three_masks(values), source, tmp_path / "seg.dcm", algorithm=ALGORITHM)
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    uids = [pydicom.dcmread(path).SOPInstanceUID for path in source.files]
    wanted = [values > 60, values > 80, values > 0]
    assert seg.pixel_array.shape == (9, 16, 20)
    for frame, group in zip(seg.pixel_array, seg.PerFrameFunctionalGroupsSequence, strict=True):
        k = round((group.PlanePositionSequence[0].ImagePositionPatient[2] - 30) / 5)
        number = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        np.testing.assert_array_equal(frame, wanted[number - 1][k])
        reference = group.DerivationImageSequence[0].SourceImageSequence[0]
        assert reference.ReferencedSOPInstanceUID == uids[k]


def test_orientation_spacing_and_frame_of_reference_are_those_of_the_source(ct_series, tmp_path: Path) -> None:
    values, source = ct_series
    publish_seg(three_masks(values), source, tmp_path / "seg.dcm", algorithm=ALGORITHM)
    seg, image = pydicom.dcmread(tmp_path / "seg.dcm"), pydicom.dcmread(source.files[0])
    shared = seg.SharedFunctionalGroupsSequence[0]
    np.testing.assert_allclose(
        shared.PlaneOrientationSequence[0].ImageOrientationPatient, image.ImageOrientationPatient, atol=1e-6
    )
    np.testing.assert_allclose(shared.PixelMeasuresSequence[0].PixelSpacing, image.PixelSpacing, atol=1e-6)
    assert seg.FrameOfReferenceUID == image.FrameOfReferenceUID and seg.StudyInstanceUID == image.StudyInstanceUID
    assert seg.PatientName == "ZZPLANTED^NAME" and seg.PatientID == "PID-77"


def test_segments_carry_codes_algorithm_and_tracking(ct_series, tmp_path: Path) -> None:
    values, source = ct_series
    rule = Algorithm("rCBF < 30 %, Tmax > 6 s")
    publish_seg(three_masks(values), source, tmp_path / "seg.dcm", algorithm=ALGORITHM, rule=rule)
    lesion, core, late = pydicom.dcmread(tmp_path / "seg.dcm").SegmentSequence
    assert lesion.SegmentedPropertyTypeCodeSequence[0].CodeValue == "55641003"
    assert late.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Ischemia"
    assert lesion.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
    made = lesion.SegmentationAlgorithmIdentificationSequence[0]
    assert made.AlgorithmName == "clerigues" and "ab" * 32 in made.AlgorithmParameters
    assert core.SegmentationAlgorithmIdentificationSequence[0].AlgorithmName == rule.name
    assert len({s.TrackingUID for s in (lesion, core, late)}) == 3


def test_the_mask_of_a_rule_is_no_infarct_by_artificial_intelligence(ct_series, tmp_path: Path) -> None:
    values, source = ct_series
    late = Algorithm("threshold", parameters={"threshold": "0.5", "target": "hypoperfused"})
    for by, said in ((late, ("Ischemia", "THRESHOLD")), (ALGORITHM, ("Infarct", "123110"))):
        publish_seg({"lesion": ras(values > 60)}, source, tmp_path / "seg.dcm", algorithm=by)
        (lesion,) = pydicom.dcmread(tmp_path / "seg.dcm").SegmentSequence
        (family,) = lesion.SegmentationAlgorithmIdentificationSequence[0].AlgorithmFamilyCodeSequence
        assert (lesion.SegmentedPropertyTypeCodeSequence[0].CodeMeaning, family.CodeValue) == said


def test_series_and_tracking_repeat_and_the_instance_does_not(ct_series, tmp_path: Path) -> None:
    values, source = ct_series
    seen = []
    for name, by in (
        ("a", ALGORITHM),
        ("b", ALGORITHM),
        ("c", Algorithm("clerigues", "0.1.0", {"weights_sha256": "cd" * 32})),
    ):
        publish_seg(three_masks(values), source, tmp_path / f"{name}.dcm", algorithm=by)
        seen.append(pydicom.dcmread(tmp_path / f"{name}.dcm"))
    first, again, other = seen
    assert first.SeriesInstanceUID == again.SeriesInstanceUID != other.SeriesInstanceUID
    assert first.SOPInstanceUID != again.SOPInstanceUID
    assert first.SegmentSequence[0].TrackingUID == other.SegmentSequence[0].TrackingUID


def test_no_lesion_is_a_result_too(ct_series, tmp_path: Path) -> None:
    values, source = ct_series
    publish_seg({"lesion": ras(values > 999)}, source, tmp_path / "seg.dcm", algorithm=ALGORITHM)
    assert pydicom.dcmread(tmp_path / "seg.dcm").pixel_array.sum() == 0


def test_a_source_made_anonymous_by_leaving_attributes_out_is_taken(ct_series, tmp_path: Path) -> None:
    values, source = ct_series
    for path in source.files:
        image = pydicom.dcmread(path)
        del image.PatientName, image.PatientID
        image.save_as(path)
    publish_seg(three_masks(values), source, tmp_path / "seg.dcm", algorithm=ALGORITHM)
    assert pydicom.dcmread(tmp_path / "seg.dcm").PatientName == ""


def test_a_frame_of_reference_and_a_thickness_that_the_source_lacks_are_set(ct_series, tmp_path: Path) -> None:
    values, source = ct_series
    for path in source.files:
        change(path, FrameOfReferenceUID=None, SliceThickness=None)
    for name in ("one", "two"):
        publish_seg(three_masks(values), source, tmp_path / name, algorithm=ALGORITHM)
    one, two = (pydicom.dcmread(tmp_path / name) for name in ("one", "two"))
    assert one.FrameOfReferenceUID == two.FrameOfReferenceUID
    assert one.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness == 5


def test_another_grid_is_refused_with_the_distance(ct_series, tmp_path: Path) -> None:
    values, source = ct_series
    moved = source.affine.copy()
    moved[2, 3] += 2.0
    with pytest.raises(IslesError, match="3 slices for 3 source images, up to 2 mm apart") as caught:
        publish_seg(three_masks(values), DicomSource(source.files, moved), tmp_path / "seg.dcm", algorithm=ALGORITHM)
    assert caught.value.code == "E-DCM-41" and not (tmp_path / "seg.dcm").exists()
    with pytest.raises(IslesError, match="rows and columns"):
        publish_seg({"lesion": np.zeros((7, 16, 3), bool)}, source, tmp_path / "seg.dcm", algorithm=ALGORITHM)


@pytest.mark.parametrize("decimals", [4, 3])
def test_results_lie_on_the_places_of_an_oblique_source_whose_numbers_are_rounded(
    ct_series, tmp_path: Path, decimals: int
) -> None:
    """Axes and positions that archives round are axes of no exact grid, and the table does not return exactly."""
    values, source = ct_series
    down = np.array([0.0, np.cos(0.3), np.sin(0.3)])
    for k, path in enumerate(source.files):
        place = np.cross([1, 0, 0], down) * 5.002 * k + [0.003 * k, 0, 0.04 * (k == 1)]
        change(
            path,
            ImageOrientationPatient=[1, 0, 0, *np.round(down, decimals)],
            ImagePositionPatient=np.round(place, 2).tolist(),
        )
    series = read_series(source.files[0].parent)
    publish_seg(
        {"lesion": series.array > 60}, DicomSource(source.files, series.affine), tmp_path / "seg.dcm",
        algorithm=ALGORITHM,
    )  # fmt: skip
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    places = {tuple(header.ImagePositionPatient): n for n, header in enumerate(map(pydicom.dcmread, source.files))}
    for frame, group in zip(seg.pixel_array, seg.PerFrameFunctionalGroupsSequence, strict=True):
        k = places[tuple(group.PlanePositionSequence[0].ImagePositionPatient)]
        np.testing.assert_array_equal(frame, values[k] > 60)


def test_a_wrong_value_of_the_source_is_not_quoted_in_the_log(ct_series, tmp_path: Path, caplog) -> None:
    values, source = ct_series
    for path in source.files:
        with pydicom.config.disable_value_validation():
            image = pydicom.dcmread(path)
            image.PatientBirthDate, image.PatientSex = "ZZPLANTED-19000101", "ZZPLANTED" * 4
            image.save_as(path)
    publish_seg(three_masks(values), source, tmp_path / "seg.dcm", algorithm=ALGORITHM)
    assert "ZZPLANTED" not in caplog.text


@pytest.mark.parametrize("masks", [{}, {"tumour": np.zeros((20, 16, 3), bool)}])
def test_no_mask_or_an_unknown_one_is_refused(ct_series, tmp_path: Path, masks: dict) -> None:
    with pytest.raises(IslesError, match="no such mask to export") as caught:
        publish_seg(masks, ct_series[1], tmp_path / "seg.dcm", algorithm=ALGORITHM)
    assert caught.value.code == "E-DCM-42" and all(name in caught.value.fix for name in SEGMENTS)


def test_images_of_two_series_of_a_study_are_both_named(ct_series, tmp_path: Path) -> None:
    """A scan that is stored as one series for each slab, or for each pass of a shuttled table."""
    values, source = ct_series
    change(source.files[2], SeriesInstanceUID="1.2.3")
    publish_seg(three_masks(values), source, tmp_path / "seg.dcm", algorithm=ALGORITHM)
    named = pydicom.dcmread(tmp_path / "seg.dcm").ReferencedSeriesSequence
    assert [len(item.ReferencedInstanceSequence) for item in named] == [2, 1] and named[1].SeriesInstanceUID == "1.2.3"


def test_images_of_two_studies_are_refused(ct_series, tmp_path: Path) -> None:
    values, source = ct_series
    change(source.files[2], StudyInstanceUID="1.2.3")
    with pytest.raises(IslesError, match="3 images of 2 studies") as caught:
        publish_seg(three_masks(values), source, tmp_path / "seg.dcm", algorithm=ALGORITHM)
    assert caught.value.code == "E-DCM-40"


def test_a_file_that_reads_back_differently_is_not_published(ct_series, tmp_path: Path, monkeypatch) -> None:
    values, source = ct_series
    monkeypatch.setattr("monai_isles.dicom.source.PlacedFrames.same_as", lambda *_: False)
    with pytest.raises(IslesError, match="reads back differently") as caught:
        publish_seg(three_masks(values), source, tmp_path / "seg.dcm", algorithm=ALGORITHM)
    assert caught.value.code == "E-DCM-43" and list(tmp_path.glob("*seg*")) == []


def test_the_source_is_never_overwritten(ct_series) -> None:
    values, source = ct_series
    with pytest.raises(IslesError, match="E-FILE-11"):
        publish_seg(three_masks(values), source, source.files[0], algorithm=ALGORITHM)


def test_without_highdicom_the_extra_is_named(ct_series, tmp_path: Path, monkeypatch) -> None:
    values, source = ct_series
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(IslesError, match='pip install "pydicom>=3" highdicom') as caught:
        publish_seg(three_masks(values), source, tmp_path / "seg.dcm", algorithm=ALGORITHM)
    assert caught.value.code == "E-DCM-46" and "optional package" in caught.value.fault


def test_an_error_of_the_library_is_told_without_its_words(ct_series, tmp_path: Path, monkeypatch) -> None:
    values, source = ct_series

    def fail(*_: object, **__: object) -> None:
        raise ValueError("ZZPLANTED is not a name")

    monkeypatch.setattr("highdicom.seg.Segmentation.__init__", fail)
    with pytest.raises(IslesError, match="no DICOM result can be derived") as caught:
        publish_seg(three_masks(values), source, tmp_path / "seg.dcm", algorithm=ALGORITHM)
    assert caught.value.code == "E-DCM-47" and "ZZPLANTED" not in str(caught.value) and caught.value.__cause__ is None
