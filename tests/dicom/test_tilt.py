"""A tilted gantry: sheared slices on an upright grid, as dcm2niix does it, and results back where they were taken."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest

from monai_isles.dicom.read import read_series
from monai_isles.errors import IslesError
from monai_isles.phantom import make_case
from monai_isles.phantom.ct.scan import CaseArrays
from monai_isles.phantom.dicom_writer import write_dicom
from tests.fixtures.dicom import make_ct_series

ROWS, COLUMNS, SLICES, STEP_MM = 30, 24, 6, 5.0
FIELD = np.array([3.0, -7.0, 11.0, 40.0])  # HU = 3 x - 7 y + 11 z + 40, in mm, RAS


def tilt(path: Path, degrees: float, position: list[float], **values: object) -> pydicom.Dataset:
    """Write a file again with its slice turned about the left-right axis; the table moves along z."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    header = pydicom.dcmread(path)
    header.ImageOrientationPatient = ["1", "0", "0", "0", f"{c:.12f}", f"{s:.12f}"]
    header.ImagePositionPatient, header.GantryDetectorTilt = position, f"{degrees:g}"
    for key, value in values.items():
        setattr(header, key, value)
    header.save_as(path, enforce_file_format=True)
    return header


def tilted_field(folder: Path, degrees: float) -> list[Path]:
    """Write slices of a tilted gantry whose numbers are linear in the place of every pixel."""
    files = make_ct_series(folder, np.zeros((SLICES, ROWS, COLUMNS)))
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    for k, path in enumerate(files):
        first = np.array([-11.0, -14.0, 30 + STEP_MM * k])
        v, u = np.mgrid[:ROWS, :COLUMNS]
        lps = first + u[..., None] * np.array([1.1, 0, 0]) + v[..., None] * 0.9 * np.array([0, c, s])
        values = lps @ (FIELD[:3] * [-1, -1, 1]) + FIELD[3]
        stored = np.rint(20 * values).astype(np.int16)
        tilt(path, degrees, first.tolist(), RescaleSlope="0.05", PixelData=stored.tobytes())
    return files


@pytest.mark.parametrize("degrees", [-25.0, -12.5, 0.5, 12.5, 25.0])
def test_every_voxel_has_the_value_of_its_place(tmp_path: Path, degrees: float) -> None:
    """A linear field is what linear interpolation keeps: the affine and the voxels must agree to rounding."""
    tilted_field(tmp_path / "s", degrees)
    series = read_series(tmp_path / "s")
    ijk = np.stack(np.meshgrid(*map(np.arange, series.array.shape), indexing="ij"), axis=-1)
    wanted = nibabel.affines.apply_affine(series.affine, ijk) @ FIELD[:3] + FIELD[3]
    here = np.abs(series.array - wanted) <= 0.06
    axes = series.affine[:3, :3] / np.linalg.norm(series.affine[:3, :3], axis=0)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-6)  # the grid is upright
    assert here.sum() >= (ROWS - 1) * COLUMNS * SLICES  # of each slice all but one line that is shared with the outside
    (remark,) = [one for one in series.findings if one.code == "E-DCM-64"]
    assert f"{abs(degrees):.2f} degrees" in remark.found


def test_a_perfusion_series_is_corrected_frame_by_frame(dicom) -> None:
    """Slices 5 mm apart along z, tilted by 20 degrees: each lies 1.71 mm further forward, 2.14 of its lines."""
    for t in range(4):
        for k in range(3):
            tilt(dicom.file(t, k), -20.0, [-2.25, -1.6, 7.34 + 5 * k])
    series = read_series(dicom.folder)
    assert series.array.shape == (4, 6, 10, 3) and series.spacing_mm[2] == pytest.approx(5 * np.cos(np.radians(20)))
    front = series.array[:, :, ::-1]  # lines from the front to the back, as they are stored
    assert np.array_equal(front[:, :, 5:, 0], dicom.scan.ctp[:, :, ::-1, 0])  # the first slice is not moved
    shift = 5 * np.sin(np.radians(20)) / 0.8
    one, part = dicom.scan.ctp[2, :, ::-1, 1].astype(float), shift - int(shift)
    wanted = one[:, :-1] * (1 - part) + one[:, 1:] * part
    np.testing.assert_allclose(front[2, :, 3:7, 1], wanted, atol=1e-3)  # 5 - 2.14 = 2.86 lines from the first


def test_a_tilt_that_the_slices_do_not_have_is_remarked_and_the_positions_hold(dicom) -> None:
    dicom.change_all(GantryDetectorTilt="-12.5")
    series = read_series(dicom.folder)
    assert np.array_equal(series.array, dicom.scan.ctp)
    (remark,) = series.findings
    assert remark.code == "E-DCM-14" and "tilt 12.5 degrees by the header" in remark.found


def test_a_slice_beside_the_line_of_the_others_is_refused(dicom) -> None:
    for t in range(4):
        dicom.change(dicom.file(t, 1), ImagePositionPatient=["1", "-1.6", "12.34"])
    with pytest.raises(IslesError, match=r"E-DCM-17(?s:.*)3.25 mm beside the line of the others"):
        read_series(dicom.folder)


@pytest.mark.parametrize("degrees", [-15.0, 15.0])
def test_masks_and_maps_lie_on_the_slices_as_they_were_taken(tmp_path: Path, degrees: float) -> None:
    """A mask of one block per slice goes to the upright grid and back; a map that is linear comes back exactly."""
    highdicom = pytest.importorskip("highdicom")
    from monai_isles.dicom.source import DicomSource
    from monai_isles.dicom.write import Algorithm, publish_maps, publish_seg

    files = tilted_field(tmp_path / "s", degrees)
    series = read_series(tmp_path / "s")
    ijk = np.stack(np.meshgrid(*map(np.arange, series.array.shape), indexing="ij"), axis=-1)
    world = nibabel.affines.apply_affine(series.affine, ijk)
    mask = world[..., 1] > 2.0  # all in front of a plane through the head
    source = DicomSource(files, series.affine)
    publish_seg({"lesion": mask, "core": ~mask}, source, tmp_path / "seg.dcm", algorithm=Algorithm("a", "1"))
    publish_maps({"tmax": (100 + world[..., 1]).astype(np.float32)}, source, tmp_path / "maps")
    seg, tmax = highdicom.seg.segread(tmp_path / "seg.dcm"), highdicom.imread(tmp_path / "maps/tmax.dcm")
    headers = {str(h.SOPInstanceUID): h for h in map(pydicom.dcmread, files)}
    back = seg.get_pixels_by_source_instance(list(headers))  # (slices, rows, columns, segments)
    for picture, header in zip(back, headers.values(), strict=True):
        first, column = (
            np.array(header[key].value, float) for key in ("ImagePositionPatient", "ImageOrientationPatient")
        )
        front = -(first[1] + np.arange(ROWS) * 0.9 * column[4])  # RAS y of each row
        sure = np.abs(front - 2.0) > 0.9
        assert np.array_equal(picture[sure, 3, 0], (front > 2.0)[sure]) and picture.shape[:2] == (ROWS, COLUMNS)
    for group, picture in zip(tmax.PerFrameFunctionalGroupsSequence, tmax.pixel_array, strict=True):
        first = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        front = -(first[1] + np.arange(ROWS) * 0.9 * np.cos(np.radians(degrees)))
        np.testing.assert_allclose(picture[1:-1, 5], (100 + front)[1:-1], atol=1e-3)


@pytest.fixture(scope="module")
def of_eight_slices() -> CaseArrays:
    """A simulated scan with the first two frames of its series."""
    scan = make_case(4, seed=5, max_slices=8)
    return replace(scan, ctp=scan.ctp[:2])


@pytest.mark.skipif(shutil.which("dcm2niix") is None, reason="dcm2niix (Debian package) is not installed")
@pytest.mark.parametrize("degrees", [-15.0, -7.5, 12.0])
def test_the_phantom_is_what_dcm2niix_makes_of_it(of_eight_slices: CaseArrays, tmp_path: Path, degrees: float) -> None:
    """Where slices lean forwards, grids are equal and voxels too, to rounding, but for the two lines at the edge of
    each slice, which mix with the fill. Where they lean backwards, dcm2niix begins with the last slice (its lines lie
    between ours) and states another origin (seen in 1.0.20220720; the linear field above decides for ours): the voxels
    are equal to what interpolation costs.
    """
    write_dicom(of_eight_slices, tmp_path / "d")
    for path in (tmp_path / "d" / "ct").iterdir():
        position = [float(x) for x in pydicom.dcmread(path).ImagePositionPatient]
        tilt(path, degrees, position, PixelRepresentation=1, Manufacturer="SIEMENS")
    words = ["dcm2niix", "-z", "n", "-f", "x", "-o", str(tmp_path), str(tmp_path / "d" / "ct")]
    subprocess.run(words, check=True, capture_output=True)
    theirs = nibabel.as_closest_canonical(nibabel.load(tmp_path / "x_Tilt_1.nii"))
    ours, values = read_series(tmp_path / "d" / "ct"), np.asarray(theirs.dataobj).astype(float)
    assert ours.array.shape == values.shape
    assert ours.spacing_mm == pytest.approx(theirs.header.get_zooms()[:3], abs=1e-4)
    lean = 5 * abs(np.sin(np.radians(degrees))) / ours.spacing_mm[1] * (values.shape[2] - 1)
    part = np.ceil(lean) - lean if degrees > 0 else 0.0
    between = ours.array[:, :-1] * (1 - part) + ours.array[:, 1:] * part
    apart = np.abs(between - values[:, :-1])
    apart[(ours.array[:, :-1] == -1024) | (ours.array[:, 1:] == -1024) | (values[:, :-1] == values.min())] = 0
    if degrees > 0:
        assert apart.mean() < 2.0  # noise of 5 HU, interpolated twice
        return
    np.testing.assert_allclose(ours.affine, theirs.affine, atol=2e-3)
    lines = (apart > 0.51).any(axis=0)  # (lines, slices)
    assert lines.sum(axis=0).max() <= 2
