"""The same scan with other paddings, values, headers, clocks and tilts gives the same lesion through the commands."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_isles.cli.main import main
from monai_isles.phantom.ct.scan import CaseArrays
from monai_isles.phantom.dicom_writer import write_dicom
from tests.fixtures.shared import made_once

pydicom = pytest.importorskip("pydicom")
pytestmark = pytest.mark.long
Header = "pydicom.Dataset"
Edit = Callable[[Header, int, int], object]
ROLL = 2  # rows that each slice of the tilted gantry lies further along


def same_lesion(out: Path, name: str, *, least: float = 0.99) -> None:
    clean, other = (nibabel.load(out / case / "lesion.nii.gz").get_fdata() > 0 for case in ("clean", name))
    assert clean.sum() > 100
    if other.shape != clean.shape:  # an upright grid holds a few more lines, of air
        other = _lines_of(other, clean)
    assert 2.0 * (clean & other).sum() / (clean.sum() + other.sum()) >= least


def _lines_of(lesion: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Return the lines of a longer grid that match best; the others must hold nothing."""
    extra = lesion.shape[1] - like.shape[1]
    parts = [lesion[:, n : n + like.shape[1]] for n in range(extra + 1)]
    best = max(parts, key=lambda part: int((part & like).sum()))
    assert best.sum() == lesion.sum()
    return best


def remarks_of(out: Path, name: str) -> str:
    return (out / name / "result.json").read_text(encoding="utf-8")


# --- series


def clock(seconds: float) -> str:
    seconds %= 86400
    return f"{int(seconds // 3600):02d}{int(seconds % 3600 // 60):02d}{seconds % 60:09.6f}"


def mid_scan(header: Header, t: int, k: int, dt_s: float) -> None:
    header.AcquisitionTime, header.ContentTime = "100000", clock(36000 + 0.21 * (2 * t + k))
    header.private_block(0x19, "GEMS_ACQU_01", create=True).add_new(0x24, "DS", f"{t * dt_s:.3f}")


def triggered(header: Header, t: int, k: int, dt_s: float) -> None:
    del header.AcquisitionTime
    header.TriggerTime = f"{1000 * t * dt_s:.1f}"


def dated(header: Header, t: int, k: int, dt_s: float) -> None:
    del header.AcquisitionTime
    header.AcquisitionDateTime = f"20240101{clock(36000 + t * dt_s)}"


def at_midnight(header: Header, t: int, k: int, dt_s: float) -> None:
    header.AcquisitionTime, header.AcquisitionDate = clock(86390 + t * dt_s), "20240101"


def in_positions(header: Header, t: int, k: int, dt_s: float) -> None:
    del header.AcquisitionTime
    header.TemporalPositionIdentifier, header.TemporalResolution = t + 1, f"{1000 * dt_s:g}"


def padded(header: Header, t: int, k: int, dt_s: float) -> None:
    """Scanners pad with -2000, which is 63536 in unsigned pixels."""
    stored = np.frombuffer(header.PixelData, "<u2").reshape(header.Rows, header.Columns).copy()
    stored[:6] = 63536
    header.PixelData = stored.tobytes()
    header.add_new("PixelPaddingValue", "US", 63536)


def offset(header: Header, t: int, k: int, dt_s: float) -> None:
    header.RescaleIntercept = "0"


def tilted(rows: int) -> Callable[[Header, int, int, float], None]:
    """Return an edit that takes the head by a gantry tilted so that each slice lies ``rows`` rows further along."""

    def edit(header: Header, t: int, k: int, dt_s: float) -> None:
        aside, up = rows * float(header.PixelSpacing[0]), float(header.SliceThickness)
        between = np.hypot(aside, up)  # from slice to slice along the table: upright they lie ``up`` apart again
        sine, cosine = aside / between, up / between
        first = [float(x) for x in header.ImagePositionPatient]
        stored = np.frombuffer(header.PixelData, "<u2").reshape(header.Rows, header.Columns)
        header.PixelData = np.roll(stored, -rows * k, axis=0).tobytes()
        header.ImageOrientationPatient = ["1", "0", "0", "0", f"{cosine:.12f}", f"{sine:.12f}"]
        header.ImagePositionPatient = [first[0], first[1], round(between * k, 6)]
        header.GantryDetectorTilt = f"{np.degrees(np.arcsin(sine)):.4f}"

    return edit


def values(**attributes: object) -> Callable[[Header, int, int, float], None]:
    def edit(header: Header, t: int, k: int, dt_s: float) -> None:
        for name, value in attributes.items():
            if value is None:
                delattr(header, name)
            else:
                setattr(header, name, value)

    return edit


SERIES: dict[str, tuple[Callable[[Header, int, int, float], None], str]] = {
    "clean": (values(), ""),
    "mid_scan_time": (mid_scan, "GEMS_ACQU_01"),
    "trigger_time": (triggered, "TriggerTime"),
    "date_time": (dated, "AcquisitionDateTime"),
    "midnight": (at_midnight, "AcquisitionTime"),
    "temporal_position": (in_positions, "TemporalPosition"),
    "padding": (padded, ""),
    "offset_of_1024": (offset, "1024 is taken off"),
    "shown_inverted": (values(PhotometricInterpretation="MONOCHROME1"), "MONOCHROME1"),
    "rescale_type_us": (values(RescaleType="US"), "unspecified"),
    "no_rescale_type": (values(RescaleType=None), ""),
    "tilted_forwards": (tilted(ROLL), "gantry was tilted"),
    "tilted_backwards": (tilted(-ROLL), "gantry was tilted"),
}


@pytest.fixture(scope="module")
def of_series(scan: CaseArrays, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Check every form of one scan, every second pixel of it, and predict all by one command; return the results."""

    def make(folder: Path) -> None:
        right, front, up = scan.spacing_mm
        images = {key: image[::2, ::2] for key, image in scan.images.items()}
        half = replace(scan, images=images, ctp=scan.ctp[:, ::2, ::2], label=scan.label[::2, ::2],
                       spacing_mm=(2 * right, 2 * front, up))  # fmt: skip
        write_dicom(half, folder / "source")
        for name in SERIES:
            _write_form(folder / "source" / "ctp", folder / name, name, half)
            assert main(["check", str(folder / name)]) == 0
        words = ["predict-series", *(str(folder / name) for name in SERIES), "--bundle", "threshold"]
        assert main([*words, "--threads", "1", "--no-report", "--no-dicom", "--out", str(folder / "out")]) == 0

    return made_once(tmp_path_factory, "series-forms", make) / "out"


def _write_form(source: Path, target: Path, name: str, scan: CaseArrays) -> None:
    target.mkdir()
    depth = scan.ctp.shape[3]
    for n, path in enumerate(sorted(source.iterdir())):
        header = pydicom.dcmread(path)
        SERIES[name][0](header, n // depth, n % depth, scan.dt_s)
        header.save_as(target / path.name)


@pytest.mark.parametrize("name", [name for name in SERIES if name != "clean"])
def test_a_series_in_another_form_has_the_same_lesion(of_series: Path, name: str) -> None:
    same_lesion(of_series, name)
    assert SERIES[name][1] in remarks_of(of_series, name)
    steps = [json.loads(remarks_of(of_series, case))["source"] for case in ("clean", name)]
    assert steps[0]["dt_s"] == pytest.approx(steps[1]["dt_s"], rel=0.01)


# --- maps

AIR = np.float32(-1000.0)


def in_background(value: float, *, of: str) -> Callable[[str, nibabel.Nifti1Image], bytes]:
    """Return a writer that puts a number outside the round field of view (CT), or where a map measured nothing."""

    def write(key: str, image: nibabel.Nifti1Image) -> bytes:
        data = np.asarray(image.get_fdata(), np.float32)
        if (key == "ct") != (of == "ct"):
            return _bytes(image, data)
        x, y = np.mgrid[: data.shape[0], : data.shape[1]]
        outside = np.hypot(x - data.shape[0] / 2 + 0.5, y - data.shape[1] / 2 + 0.5) > data.shape[0] / 2 - 1
        where = np.broadcast_to(outside[..., None], data.shape) if key == "ct" else data == 0
        return _bytes(image, np.where(where, np.float32(value), data))

    return write


def _bytes(image: nibabel.Nifti1Image, data: np.ndarray, **fields: object) -> bytes:
    made = nibabel.Nifti1Image(data, image.affine)
    made.set_sform(image.affine, 1)
    made.set_qform(image.affine, 1)
    made.header.set_xyzt_units("mm", "sec")
    raw = bytearray(made.to_bytes())
    header = nibabel.Nifti1Header(bytes(raw[:348]), check=False)
    for name, value in fields.items():
        header[name] = value
    raw[:348] = header.binaryblock
    return bytes(raw)


def as_stored(**fields: object) -> Callable[[str, nibabel.Nifti1Image], bytes]:
    return lambda key, image: _bytes(image, np.asarray(image.get_fdata(), np.float32), **fields)


def scaled(key: str, image: nibabel.Nifti1Image) -> bytes:
    """16 bits with a slope, as most converters store maps."""
    data = np.asarray(image.get_fdata(), np.float64)
    slope = np.float32(max(1e-3, np.abs(data).max() / 32000))
    return _bytes(image, np.rint(data / slope).astype(np.int16), scl_slope=slope, scl_inter=0)


def swapped(key: str, image: nibabel.Nifti1Image) -> bytes:
    big = nibabel.Nifti1Image(image.get_fdata(dtype=np.float32), image.affine, image.header.as_byteswapped(">"))
    big.set_data_dtype(">f4")
    return big.to_bytes()


MAPS: dict[str, tuple[Callable[[str, nibabel.Nifti1Image], bytes], str]] = {
    "clean": (as_stored(), ""),
    **{f"ct_padding{value}": (in_background(value, of="ct"), "E-VAL-16") for value in (-2000, -2048, -3024, -8192)},
    "ct_nan": (in_background(np.nan, of="ct"), "E-VAL-13"),
    "maps_nan": (in_background(np.nan, of="maps"), "E-VAL-13"),
    "maps_minus_one": (in_background(-1, of="maps"), "E-VAL-17"),
    "maps_9999": (in_background(9999, of="maps"), "E-VAL-17"),
    "qform_alone": (as_stored(sform_code=0), ""),
    "unknown_qform_code": (as_stored(qform_code=77), "E-GEOM-08"),
    "one_more_axis": (lambda key, image: _bytes(image, image.get_fdata(dtype=np.float32)[..., None]), "E-DIM-09"),
    "sixteen_bits": (scaled, ""),
    "other_byte_order": (swapped, ""),
    "wrong_header_length": (as_stored(sizeof_hdr=0), "E-FILE-22"),
    "bytes_at_the_end": (lambda key, image: as_stored()(key, image) + bytes(1000), "E-FILE-21"),
    "ct_offset_of_1024": (
        lambda key, image: _bytes(image, image.get_fdata(dtype=np.float32) + 1024 * (key == "ct")), "E-VAL-18"),
}  # fmt: skip
KEYS = {"CT": "ct", "CT_CBF": "cbf", "CT_CBV": "cbv", "CT_MTT": "mtt", "CT_Tmax": "tmax"}


@pytest.fixture(scope="module")
def of_maps(phantom_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Check and predict every form of the maps of one scan, each by one command; return the folder of the results."""

    def make(folder: Path) -> None:
        source = phantom_folder / "TRAINING" / "case_1"
        for name, (write, _) in MAPS.items():
            case = folder / "data" / name
            case.mkdir(parents=True)
            for middle, key in KEYS.items():
                (path,) = source.glob(f"*.{middle}.*/*.nii")
                (case / f"{key}.nii").write_bytes(write(key, nibabel.load(path)))
        assert main(["check", str(folder / "data")]) == 0
        words = ["predict", str(folder / "data"), "--bundle", "clerigues", "--step", "32", "--mc-passes", "1"]
        assert main([*words, "--threads", "1", "--no-report", "--out", str(folder / "out")]) == 0
        shutil.rmtree(folder / "data")

    return made_once(tmp_path_factory, "map-forms", make) / "out"


@pytest.mark.parametrize("name", [name for name in MAPS if name != "clean"])
def test_maps_in_another_form_have_the_same_lesion(of_maps: Path, name: str) -> None:
    same_lesion(of_maps, name)
    assert MAPS[name][1] in remarks_of(of_maps, name)
