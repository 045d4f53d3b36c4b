"""DICOM written here, read by dciodvfy, dcm2niix and SimpleITK: legal, the same voxels, places and times."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_isles.data.scans import dicom_input
from monai_isles.dicom.read import read_series
from monai_isles.dicom.source import DicomSource
from monai_isles.dicom.write import Algorithm, publish_maps, publish_seg
from monai_isles.io.publish import publish_image
from monai_isles.phantom.ct.scan import CaseArrays
from monai_isles.phantom.dicom_writer import FORMS, write_dicom

SHAPE, FRAMES, DT_S = (24, 20, 4), 7, 1.25
Client = Callable[..., str]
Record = Callable[[str, str, str, str], None]


@pytest.fixture(scope="module")
def case() -> CaseArrays:
    """Numbers that no two voxels share by chance, in voxels of three different sizes."""
    rng = np.random.default_rng(3)
    maps = {key: (1 + 9 * rng.random(SHAPE)).astype(np.float32) for key in ("cbf", "cbv", "mtt", "tmax")}
    images = {"ct": rng.integers(-1000, 1000, SHAPE).astype(np.float32), **maps}
    series = rng.integers(-1000, 2000, (FRAMES, *SHAPE)).astype(np.int16)
    return CaseArrays(images, series, np.zeros(SHAPE, bool), (1.5, 2.0, 5.0), DT_S, {"level_mm": 30.0})


@pytest.fixture(scope="module", params=FORMS)
def written(request: pytest.FixtureRequest, case: CaseArrays, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The case as DICOM in one form; the folder is named after it."""
    return write_dicom(case, tmp_path_factory.mktemp("dicom") / request.param, form=request.param)


def _derived(case: CaseArrays, folder: Path, out: Path) -> list[Path]:
    """Write every object that is derived from a series; return the files."""
    series = read_series(folder, kind="ctp")
    source = DicomSource(list(dict.fromkeys(path for path, _ in series.slices)), series.affine)
    mask = case.images["ct"] > 0
    publish_seg(
        {"lesion": mask, "core": ~mask},
        source,
        out / "seg.dcm",
        algorithm=Algorithm("a system", "1", {"weights_sha256": "ab"}),
    )
    return [out / "seg.dcm", *publish_maps({key: case.images[key] for key in ("cbf", "tmax")}, source, out)]


def test_dciodvfy_finds_no_error(
    case: CaseArrays, written: Path, tmp_path: Path, client: Client, record: Record
) -> None:
    """One file a series, and SEG and parametric maps derived from it."""
    version = client("dciodvfy", "-version")
    files = [next(iter(sorted(folder.iterdir()))) for folder in sorted(written.iterdir())]
    for path in [*files, *_derived(case, written, tmp_path)]:
        done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, timeout=60)
        errors = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]
        assert done.returncode == 0 and not errors, (path.name, errors[:5])
    record("dciodvfy", version, f"phantom as {written.name} DICOM, SEG and maps derived from it", "no error")


def _converted(folder: Path, out: Path) -> tuple[nibabel.Nifti1Image, dict]:
    words = ["dcm2niix", "-z", "n", "-b", "y", "-f", "x", "-o", str(out), str(folder)]
    subprocess.run(words, check=True, capture_output=True, timeout=120)
    assert [path.name for path in sorted(out.glob("*.nii"))] == ["x.nii"]
    return nibabel.as_closest_canonical(nibabel.load(out / "x.nii")), json.loads((out / "x.json").read_text())


def test_dcm2niix_reads_the_same_voxels_places_and_times(
    case: CaseArrays, written: Path, tmp_path: Path, client: Client, record: Record
) -> None:
    """A shuttled series is compared with what the table saw: lower slices on even frames, upper ones on odd frames."""
    version = client("dcm2niix")
    image, beside = _converted(written / "ctp", tmp_path)
    ours = read_series(written, kind="ctp")
    shuttle = written.name == "shuttle"
    seen = np.concatenate([case.ctp[0:6:2, ..., :2], case.ctp[1:6:2, ..., 2:]], -1) if shuttle else ours.array
    assert np.array_equal(np.moveaxis(image.get_fdata(), -1, 0), seen)
    np.testing.assert_allclose(image.affine, ours.affine, atol=1e-4)
    assert image.header["pixdim"][4] == pytest.approx(DT_S * (2 if shuttle else 1))
    assert beside["RepetitionTime"] == pytest.approx(np.diff(ours.times_s).mean())
    record(
        "dcm2niix", version, f"{written.name} series to NIfTI", "voxels, affine and frame time equal to our reader's"
    )


@pytest.mark.parametrize("form", ["classic", "shuttle"])
def test_simpleitk_lays_a_result_on_the_series_without_resampling(
    case: CaseArrays, form: str, tmp_path: Path, client: Client, record: Record
) -> None:
    """The first frame, written as a result, is the first frame that SimpleITK reads."""
    version = client("SimpleITK")
    import SimpleITK

    series = read_series(write_dicom(case, tmp_path / form, form=form), kind="ctp")
    publish_image(tmp_path / "first.nii.gz", series.array[0], dicom_input(series, tmp_path).like, dtype="float32")
    result = SimpleITK.ReadImage(str(tmp_path / "first.nii.gz"))
    volume = SimpleITK.ReadImage([str(path) for path, _ in series.slices])
    for facts in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(result, facts)(), getattr(volume, facts)(), atol=1e-4)
    if form == "classic":
        assert np.array_equal(*map(SimpleITK.GetArrayFromImage, (result, volume)))
    record("SimpleITK", version, f"NIfTI result beside the {form} series", "same size, spacing, origin and direction")
