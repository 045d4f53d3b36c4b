"""Thin slices averaged while they are read: numbers, places, what is left out, and the memory that is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from monai_isles.data.scans import read_perfusion_series
from monai_isles.dicom import pixels as dicom_pixels
from monai_isles.dicom.read import read_series
from monai_isles.errors import IslesError


def test_slices_are_averaged_and_stand_where_their_middle_was(dicom) -> None:
    """Three slices of 5 mm from 7.34 mm: two of them make one of 10 mm at 9.84 mm, the third is left out."""
    series = read_series(dicom.folder, slab_mm=10)
    np.testing.assert_allclose(series.array[..., 0], dicom.scan.ctp[..., :2].mean(axis=-1), atol=1e-4)
    assert series.array.shape[-1] == 1 and series.spacing_mm == pytest.approx((0.9, 0.8, 10.0))
    assert series.affine[2, 3] == pytest.approx(7.34 + 2.5)
    assert series.times_s.tolist() == [0.0, 1.5, 3.0, 4.5] and len(series.slice_times_s) == 1
    told = [one.found for one in series.findings if one.code == "E-DCM-65"]
    assert told == ["3 slices of 5 mm to 1 of 10 mm, 1 at the end left out"]
    assert [path.name for path, _ in series.slices] == ["IM00001", "IM00002"]


@pytest.mark.parametrize(("form", "depth", "slab_mm"), [("classic", 4, 10), ("classic", 6, 15), ("enhanced", 5, 10)])
def test_masks_and_maps_of_slabs_go_onto_each_of_their_slices(
    write_tiny, tmp_path: Path, form: str, depth: int, slab_mm: float
) -> None:
    """Slices of 5 mm: two or three make a slab; the fifth of five makes none and is not in the results."""
    highdicom = pytest.importorskip("highdicom")
    from monai_isles.dicom.source import DicomSource
    from monai_isles.dicom.write import Algorithm, publish_maps, publish_seg

    _, folder = write_tiny(form, 4, depth)
    thick, whole = round(slab_mm / 5), depth - depth % round(slab_mm / 5)
    series, thin = read_series(folder, kind="ctp", slab_mm=slab_mm), read_series(folder, kind="ctp")
    source = DicomSource(tuple(dict.fromkeys(path for path, _ in series.slices)), series.affine)
    mask = np.zeros(series.array.shape[1:], bool)
    mask[2, 3, 1] = True
    publish_seg({"lesion": mask}, source, tmp_path / "seg.dcm", algorithm=Algorithm("rule", "1"))
    (path,) = publish_maps({"tmax": np.where(mask, 7.5, 1.5).astype(np.float32)}, source, tmp_path / "maps")
    wanted = np.zeros(thin.array.shape[1:], bool)
    wanted[2, 3, thick : 2 * thick] = True
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])  # LPS to RAS
    for file, level in ((tmp_path / "seg.dcm", 0), (path, 2)):
        volume = highdicom.imread(file).get_volume()
        assert sorted(volume.spatial_shape) == sorted((6, 5, whole))
        found = np.argwhere(volume.array.reshape(volume.spatial_shape) > level)
        places = (flip @ volume.affine @ np.c_[found, np.ones(len(found))].T)[:3].T
        true = (thin.affine @ np.c_[np.argwhere(wanted), np.ones(wanted.sum())].T)[:3].T
        np.testing.assert_allclose(places[np.lexsort(places.T)], true[np.lexsort(true.T)], atol=1e-3)


def test_slices_in_passes_are_averaged_after_they_are_brought_to_common_times(write_tiny) -> None:
    """Slices 2 and 3 of a shuttled table half way between their frames, then their mean; see test_slabs.py."""
    scan, folder = write_tiny("shuttle", 8, 4)
    series = read_series(folder, kind="ctp", slab_mm=10)
    upper = scan.ctp[1::2, :, :, 2:].astype(float)
    wanted = ((upper[:3] + upper[1:]) / 2).mean(axis=-1)
    np.testing.assert_allclose(series.array[..., 1], wanted, atol=1e-3)
    np.testing.assert_allclose(series.array[..., 0], scan.ctp[[2, 4, 6], :, :, :2].mean(axis=-1), atol=1e-3)
    assert series.array.shape == (3, 6, 5, 2) and [own[0] for own in series.slice_times_s] == [-3.0, -1.5]


def test_a_slab_thinner_than_the_slices_changes_nothing(dicom) -> None:
    series = read_series(dicom.folder, slab_mm=5)
    assert np.array_equal(series.array, dicom.scan.ctp) and not [f for f in series.findings if f.code == "E-DCM-65"]


def test_a_series_too_large_for_memory_is_read_in_slabs(dicom, monkeypatch: pytest.MonkeyPatch) -> None:
    """12 files of 5 x 6 voxels, 4 bytes each: 1440 bytes, 480 in slabs of three slices."""
    monkeypatch.setattr(dicom_pixels, "MAX_BYTES", 1000)
    monkeypatch.setattr(dicom_pixels, "_free_bytes", lambda: 0)
    with pytest.raises(IslesError, match=r"E-DCM-09: series is too large(?s:.*)perfusion --slab-mm 5"):
        read_series(dicom.folder)
    assert read_series(dicom.folder, slab_mm=15).array.shape == (4, 6, 5, 1)


@pytest.mark.parametrize("slab_mm", [0.0, -5.0, 25.0, float("nan")])
def test_impossible_slabs_are_refused(dicom, slab_mm: float) -> None:
    with pytest.raises(IslesError, match=r"E-USE-32: the slab thickness is not valid for this input"):
        read_perfusion_series(dicom.folder, slab_mm=slab_mm)


def test_the_slices_of_a_nifti_file_are_not_averaged_unseen(tmp_path: Path) -> None:
    with pytest.raises(IslesError, match=r"E-USE-32(?s:.*)DICOM folder"):
        read_perfusion_series(tmp_path / "ctp.nii.gz", slab_mm=5.0)
