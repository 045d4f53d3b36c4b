"""Results beside an enhanced multi-frame source: pixels, geometry, and the frames that each result frame refers to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from monai_isles.dicom.read import DicomSeries, read_series
from monai_isles.dicom.source import DicomSource
from monai_isles.dicom.write import Algorithm, publish_maps, publish_seg
from monai_isles.errors import IslesError
from monai_isles.phantom.ct.scan import CaseArrays
from monai_isles.phantom.dicom_writer import write_dicom

highdicom = pytest.importorskip("highdicom")
FRAMES, SHAPE = 4, (6, 5, 3)


@pytest.fixture
def enhanced(tmp_path: Path) -> tuple[DicomSeries, DicomSource]:
    """One enhanced file of 4 times and 3 slices, voxels all different."""
    series = np.arange(FRAMES * 90, dtype=np.int16).reshape(FRAMES, *SHAPE) - 1000
    scan = CaseArrays({"ct": series[0]}, series, np.zeros(SHAPE, bool), (0.9, 0.8, 5.0), 1.5, {"level_mm": 12.34})
    found = read_series(write_dicom(scan, tmp_path / "d", form="enhanced"), kind="ctp")
    return found, DicomSource(tuple(dict.fromkeys(file for file, _ in found.slices)), found.affine)


@pytest.fixture
def masks() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.random(SHAPE) > part for name, part in (("lesion", 0.6), ("core", 0.8), ("penumbra", 0.5))}


def test_each_frame_of_the_seg_refers_to_the_source_frames_at_its_place(enhanced, masks, tmp_path: Path) -> None:
    found, source = enhanced
    publish_seg(masks, source, tmp_path / "seg.dcm", algorithm=Algorithm("a"))
    seg, image = pydicom.dcmread(tmp_path / "seg.dcm"), pydicom.dcmread(source.files[0])
    places = [g.PlanePositionSequence[0].ImagePositionPatient for g in image.PerFrameFunctionalGroupsSequence]
    seen = set()
    for frame, group in zip(seg.pixel_array, seg.PerFrameFunctionalGroupsSequence, strict=True):
        references = group.DerivationImageSequence[0].SourceImageSequence
        assert {one.ReferencedSOPInstanceUID for one in references} == {image.SOPInstanceUID}
        assert {one.ReferencedSOPClassUID for one in references} == {image.SOPClassUID}
        numbers = sorted(int(one.ReferencedFrameNumber) for one in references)
        own = group.PlanePositionSequence[0].ImagePositionPatient
        assert numbers == [n for n, place in enumerate(places, 1) if np.allclose(place, own, atol=1e-3)]
        assert len(numbers) == FRAMES
        k = round((float(own[2]) - found.affine[2, 3]) / 5.0)
        name = list(masks)[group.SegmentIdentificationSequence[0].ReferencedSegmentNumber - 1]
        np.testing.assert_array_equal(frame, masks[name][::-1, ::-1, k].T)
        seen.add((name, k))
    assert len(seen) == 9
    referred = seg.ReferencedSeriesSequence[0]
    assert referred.SeriesInstanceUID == image.SeriesInstanceUID
    assert [one.ReferencedSOPInstanceUID for one in referred.ReferencedInstanceSequence] == [image.SOPInstanceUID]


def test_highdicom_reads_back_masks_and_geometry(enhanced, masks, tmp_path: Path) -> None:
    found, source = enhanced
    publish_seg(masks, source, tmp_path / "seg.dcm", algorithm=Algorithm("a"))
    image = pydicom.dcmread(source.files[0])
    seg = highdicom.seg.segread(tmp_path / "seg.dcm")
    assert seg.FrameOfReferenceUID == image.FrameOfReferenceUID
    pixels = seg.get_pixels_by_source_frame(image.SOPInstanceUID, [1, 2, 3])  # frames 1 to 3 are the first time
    for n, mask in enumerate(masks.values()):
        np.testing.assert_array_equal(pixels[..., n], mask[::-1, ::-1].transpose(2, 1, 0))
    volume = seg.get_volume()
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine
    corners = np.array([[0, 0, 0, 1], [2, 4, 5, 1]]) @ lps.T
    own = np.array([[5, 4, 2, 1], [0, 0, 0, 1]]) @ found.affine.T
    np.testing.assert_allclose(corners[0][:2], own[0][:2], atol=1e-3)
    np.testing.assert_allclose(sorted(corners[:, 2]), sorted(own[:, 2]), atol=1e-3)


def test_the_maps_lie_on_the_source_too(enhanced, tmp_path: Path) -> None:
    found, source = enhanced
    cbf = np.random.default_rng(1).random(SHAPE).astype(np.float32)
    publish_maps({"cbf": cbf}, source, tmp_path / "maps")
    again = read_series(tmp_path / "maps", kind="cbf")
    np.testing.assert_array_equal(again.array, cbf)
    np.testing.assert_allclose(again.affine, found.affine, atol=1e-4)
    assert again.frame_of_reference_uid == found.frame_of_reference_uid


@pytest.mark.parametrize("part", ["frame", "slice", "slab"])
def test_a_series_in_several_enhanced_files_gets_its_results_too(enhanced, masks, tmp_path: Path, part: str) -> None:
    found, source = enhanced
    whole, folder = pydicom.dcmread(source.files[0]), tmp_path / part
    groups, pictures, parts = list(whole.PerFrameFunctionalGroupsSequence), whole.pixel_array, {}
    for n, group in enumerate(groups):
        z = float(group.PlanePositionSequence[0].ImagePositionPatient[2])
        parts.setdefault({"frame": n, "slice": z, "slab": z < found.affine[2, 3] + 6}[part], []).append(n)
    for number, frames in enumerate(parts.values(), start=1):
        whole.SOPInstanceUID = whole.file_meta.MediaStorageSOPInstanceUID = f"1.2.{number}"
        whole.PerFrameFunctionalGroupsSequence, whole.NumberOfFrames = [groups[n] for n in frames], len(frames)
        whole.PixelData = np.stack([pictures[n] for n in frames]).tobytes()
        folder.mkdir(exist_ok=True)
        whole.save_as(folder / f"{number}.dcm")
    again = read_series(folder, kind="ctp")
    np.testing.assert_array_equal(again.array, found.array)
    split = DicomSource(tuple(dict.fromkeys(file for file, _ in again.slices)), again.affine)
    assert len(split.files) == {"frame": 3, "slice": 3, "slab": 2}[part]
    publish_seg(masks, split, tmp_path / "seg.dcm", algorithm=Algorithm("a"))
    for group, frame in zip((seg := pydicom.dcmread(tmp_path / "seg.dcm")).PerFrameFunctionalGroupsSequence,
                            seg.pixel_array, strict=True):  # fmt: skip
        k = round((float(group.PlanePositionSequence[0].ImagePositionPatient[2]) - found.affine[2, 3]) / 5.0)
        name = list(masks)[group.SegmentIdentificationSequence[0].ReferencedSegmentNumber - 1]
        np.testing.assert_array_equal(frame, masks[name][::-1, ::-1, k].T)


def test_another_grid_is_refused_with_the_distance(enhanced, masks, tmp_path: Path) -> None:
    found, source = enhanced
    moved = found.affine.copy()
    moved[2, 3] += 2.5
    with pytest.raises(IslesError, match=r"E-DCM-41(?s:.*)3 slices for 3 source images, up to 2.5 mm apart"):
        publish_seg(masks, replace(source, affine=moved), tmp_path / "seg.dcm", algorithm=Algorithm("a"))
