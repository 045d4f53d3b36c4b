"""Group G of the reliability list: DICOM folders that are not one whole series."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest

from tests.reliability import gates
from tests.reliability.conftest import BUNDLE
from tests.reliability.scanner import Tiny, scan, tiny, write_scan

Gate, Run = Callable[..., object], Callable[..., object]


@pytest.fixture
def series(tmp_path: Path) -> Tiny:
    """A contrast series of 4 times and 4 slices, 5 mm apart."""
    return tiny(tmp_path / "in/series")


@pytest.fixture
def refused_by_all(run: Run, refused: Gate, tmp_path: Path) -> Callable[..., None]:
    """Require that the maps, the prediction from the series and the check refuse a folder in the same words."""

    def gate(folder: Path, code: str, says: list[str], *, checked: bool = True) -> None:
        says = [str(folder), *says]
        bundle = ("--bundle", BUNDLE.parent / "threshold")
        refused(run, "perfusion", folder, "--out", tmp_path / "out", exit_code=4, code=code, says=says)
        words = ("predict-series", folder, *bundle, "--out", tmp_path / "out", "--threads", "1")
        refused(run, *words, exit_code=3, code=code, says=says)
        if checked:
            refused(run, "check", folder, exit_code=4, code=code, says=says)

    return gate


def mm(path: Path) -> str:
    return f"{float(pydicom.dcmread(path).ImagePositionPatient[2]):.2f} mm"


def test_g1_a_missing_slice_is_refused_with_the_files_beside_the_gap(series: Tiny, refused_by_all: Callable) -> None:
    for path in series.slice_files(1):
        path.unlink()
    below, above = series.file(0), series.file(2)
    says = ["slices are missing", below.name, above.name, mm(below), mm(above), "10 mm", "5 mm elsewhere"]
    refused_by_all(series.folder, "E-DCM-13", [*says, "export the whole series again"])


def test_g2_a_position_that_is_there_twice_is_refused_with_both_files(series: Tiny, refused_by_all: Callable) -> None:
    first, again = series.file(1, 2), series.folder / "again"
    shutil.copy(first, again)
    series.change(again, SOPInstanceUID="1.2.3.4.5", InstanceNumber="99")
    refused_by_all(series.folder, "E-DCM-1[0-9]", [first.name, again.name])


def test_g2_a_still_series_with_a_slice_twice_is_refused_too(run: Run, refused: Gate, tmp_path: Path) -> None:
    still = tiny(tmp_path / "in/still", frames=1)
    shutil.copy(still.file(1), still.folder / "again")
    still.change(still.folder / "again", SOPInstanceUID="1.2.3.4.5", InstanceNumber="99")
    says = [still.file(1).name, "again"]
    refused(run, "check", still.folder, exit_code=4, code="E-DCM-[0-9]+", says=says)


def test_g3_two_series_in_one_folder_are_listed_and_one_is_asked_for(
    series: Tiny, refused_by_all: Callable, tmp_path: Path
) -> None:
    other = tiny(tmp_path / "other", frames=3, number=4)
    for path in other.folder.iterdir():
        shutil.copy(path, series.folder)
    counts = [f"{len(one.slice_files(0)) * one.depth} frames" for one in (series, other)]
    refused_by_all(series.folder, "E-DCM-04", ["series 3", "series 4", *counts, "folder of one series"], checked=False)


def test_g4_slices_of_different_size_are_refused_with_both_groups(series: Tiny, refused_by_all: Callable) -> None:
    for path in series.slice_files(3):
        header = pydicom.dcmread(path)
        header.Rows, header.PixelData = 10, header.PixelData[: 10 * header.Columns * 2]
        header.save_as(path, enforce_file_format=True)
    refused_by_all(series.folder, "E-DCM-18", ["12 x 16", "10 x 16", series.file(3).name])


def test_g5_a_gantry_tilt_is_corrected_and_told_with_its_angle(series: Tiny, run: Run) -> None:
    """Refused before; the slices have one right place each, so they are laid upright (tests/dicom/test_tilt.py)."""
    shear = np.tan(np.radians(12.0))
    for k in range(series.depth):
        for path in series.slice_files(k):
            x, y, z = (float(one) for one in pydicom.dcmread(path).ImagePositionPatient)
            series.change(path, ImagePositionPatient=[f"{x:g}", f"{y + 5 * k * shear:.6f}", f"{z:g}"])
    series.change(*series.folder.iterdir(), GantryDetectorTilt="12")
    shown = run("check", series.folder)
    assert shown.code == 0 and "E-DCM-64" in shown.text and "12.00 degrees" in shown.text


@pytest.mark.parametrize("left", [0.6, 0.99])
def test_g6_a_slice_file_cut_short_is_refused_by_name(series: Tiny, refused_by_all: Callable, left: float) -> None:
    path = series.file(2, 1)
    path.write_bytes(path.read_bytes()[: int(left * path.stat().st_size)])
    refused_by_all(series.folder, "E-DCM-[0-9]+", [path.name, "again"])


@pytest.mark.long
def test_g7_a_single_slice_takes_its_thickness(run: Run, tmp_path: Path) -> None:
    series = write_scan(tmp_path / "in/series")
    low = min(float(pydicom.dcmread(path).ImagePositionPatient[2]) for path in series.iterdir())
    for path in list(series.iterdir()):
        header = pydicom.dcmread(path)
        if float(header.ImagePositionPatient[2]) > low + 1:
            path.unlink()
    gates.require_success(run("perfusion", series, "--out", tmp_path / "out", "--threads", "1", "--no-motion"))
    gates.require_nothing_partial(tmp_path / "out")
    assert len(json.loads((tmp_path / "out/run.json").read_text())["sha256"]) == 64
    image = nibabel.load(tmp_path / "out/cbf.nii.gz")
    assert image.shape[2] == 1
    np.testing.assert_allclose(image.header.get_zooms(), scan().spacing_mm, rtol=1e-5)


def test_g7_a_single_slice_without_thickness_is_refused(series: Tiny, refused_by_all: Callable) -> None:
    for k in range(1, series.depth):
        for path in series.slice_files(k):
            path.unlink()
    series.change(*series.folder.iterdir(), SliceThickness=None)
    refused_by_all(series.folder, "E-DCM-20", ["Slice Thickness", "there is one slice only"])


def test_g8_a_folder_of_junk_says_how_many_files_were_looked_at(refused_by_all: Callable, tmp_path: Path) -> None:
    junk = tmp_path / "in/junk"
    junk.mkdir(parents=True)
    for n in range(7):
        (junk / f"IM{n:05d}").write_bytes(bytes(range(256)) * (n + 1))
    refused_by_all(junk, "E-DCM-02|E-LIST-01", ["7 files", "none"])


def test_g9_an_empty_folder_says_so(run: Run, refused: Gate, tmp_path: Path) -> None:
    empty = tmp_path / "in/empty"
    empty.mkdir(parents=True)
    says = [str(empty), "empty"]
    refused(run, "perfusion", empty, "--out", tmp_path / "out", exit_code=4, code="E-DCM-02", says=says)
    words = ("predict-series", empty, "--bundle", "threshold", "--out", tmp_path / "out")
    refused(run, *words, exit_code=3, code="E-DCM-02", says=says)
    refused(run, "check", empty, exit_code=4, code="E-(DCM-02|LIST-01)", says=[str(empty)])


def test_g10_a_time_point_that_is_missing_is_refused_with_its_frame(series: Tiny, refused_by_all: Callable) -> None:
    gone = series.file(2, 1)
    place = mm(gone)
    gone.unlink()
    refused_by_all(series.folder, "E-DCM-[0-9]+", [place, "export the whole series again"])
