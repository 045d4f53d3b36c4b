"""What comes in is time-first, RAS+, and exactly what was stored."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_isles.errors import IslesError
from monai_isles.io import read_image
from monai_isles.io.findings import collect_remarks
from monai_isles.io.read import inspect_image, read_header

Write = Callable[..., Path]


def test_the_array_is_ras_and_the_stored_frame_is_kept(write: Write, volume: np.ndarray) -> None:
    path = write(volume, "a.nii.gz")
    image = read_image(path, where="case_7")
    assert np.array_equal(image.data, volume[::-1, ::-1])  # stored left-posterior, x 10..7, y 20..16
    assert image.affine.tolist() == [[1, 0, 0, 7], [0, 2, 0, 16], [0, 0, 5, 30], [0, 0, 0, 1]]
    assert (image.spacing_mm, image.native_shape, image.dt_s) == ((1.0, 2.0, 5.0), (4, 3, 2), None)
    assert image.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_it_agrees_with_an_independent_reader(write: Write) -> None:
    data = np.random.default_rng(0).integers(-1000, 3000, (7, 6, 5)).astype(np.int16)
    path = write(data, "a.nii.gz", patch={"scl_slope": 0.5, "scl_inter": -3.0})
    truth = nibabel.as_closest_canonical(nibabel.load(path))
    image = read_image(path, dtype=np.float64)
    assert np.array_equal(image.data, truth.get_fdata()) and np.allclose(image.affine, truth.affine)


@pytest.mark.parametrize("shape", [(4, 3, 2, 6), (4, 3, 2, 1, 6)])
def test_a_series_is_time_first(write: Write, shape: tuple[int, ...]) -> None:
    series = np.arange(1.0, 145.0, dtype=np.float32).reshape(shape)
    image = read_image(write(series, affine=np.diag([1.0, 2, 5, 1])), kind="ctp")
    assert image.data.shape == (6, 4, 3, 2) and image.grid_shape == (4, 3, 2)
    assert np.array_equal(image.data[2], series.reshape(4, 3, 2, 6)[..., 2])


def test_trailing_ones_are_dropped(write: Write, volume: np.ndarray) -> None:
    assert read_image(write(volume[..., None]), kind="ct").data.shape == (4, 3, 2)


def test_a_plane_becomes_one_slice_and_it_is_said(
    write: Write, volume: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    assert read_image(write(volume[..., 0], "plane.nii"), kind="ct").data.shape == (4, 3, 1)
    assert "E-DIM-10: a 2D image is read as one slice" in caplog.text and "plane.nii: dimensions (4, 3)" in caplog.text


def _ring(frames: int = 12) -> np.ndarray:
    """A head whose slices shrink, with noise and a bolus, as (X, Y, Z, T) = (24, 20, 14, frames)."""
    x, y = np.mgrid[:24, :20] - np.array([11.5, 9.5])[:, None, None]
    radii = np.linspace(9, 4, 14)
    still = np.stack([np.where(np.hypot(x, y) < r, 40.0, -1000.0) for r in radii], -1)
    bolus = 60 * np.exp(-(((np.arange(frames) - 5) / 2.0) ** 2)) * (still > 0)[..., None]
    noise = np.random.default_rng(0).normal(0, 8, (24, 20, 14, frames))
    return (still[..., None] + bolus + noise).astype(np.float32)


@pytest.mark.parametrize(("axis", "word"), [(0, "right to left"), (2, "bottom to top")], ids=["t,x,y,z", "x,y,t,z"])
def test_a_series_whose_time_is_not_the_fourth_axis_is_refused_by_name(write: Write, axis: int, word: str) -> None:
    """As arrays of other programs are saved without a thought for the axes: 14 slices would be taken for frames."""
    series = _ring()
    assert read_image(write(series, affine=np.diag([1.0, 1, 5, 1])), kind="ctp").data.shape == (12, 24, 20, 14)
    path = write(np.moveaxis(series, -1, axis), "b.nii", affine=np.diag([1.0, 1, 5, 1]))
    with pytest.raises(IslesError, match=rf"E-DIM-11(?s:.*)14 frames that differ(?s:.*)12 pictures(?s:.*){word}"):
        read_image(path, kind="ctp")


def test_a_series_without_a_head_is_not_judged_by_its_frames(write: Write) -> None:
    """Noise is as different from slice to slice as from frame to frame; so is one flat number that rises in time."""
    noise = np.random.default_rng(0).normal(0, 200, (8, 7, 6, 12)).astype(np.float32)
    flat = np.broadcast_to(100.0 * np.arange(12, dtype=np.float32), (8, 7, 6, 12)).copy()
    for name, series in (("noise.nii", noise), ("flat.nii", flat)):
        assert len(read_image(write(series, name, affine=np.diag([1.0, 1, 5, 1])), kind="ctp").data) == 12


def test_names_with_spaces_and_accents_are_read(write: Write, volume: np.ndarray) -> None:
    assert read_image(write(volume, "Läsion größe 1 图.nii.gz")).data.size == 24


def test_findings_can_be_had_without_an_error(write: Write, volume: np.ndarray) -> None:
    image, found = inspect_image(write(volume, codes=(0, 0)), kind="ct")
    assert image is None and [f.code for f in found] == ["E-GEOM-01"]
    image, found = inspect_image(write(volume * 0), kind="ct")
    assert image is not None and [f.code for f in found] == ["E-VAL-04"]


def test_reading_needs_no_torch() -> None:
    names = "import monai_isles.io.publish, monai_isles.io.read, monai_isles.io.runs"
    words = f"import sys; {names}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", words], check=False).returncode == 0


def test_unknown_names_are_attribute_errors() -> None:
    import monai_isles.io as io

    with pytest.raises(AttributeError, match="attribute (nothing|nonsense)"):
        io.nonsense  # noqa: B018


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_file_larger_than_the_budget_is_read_when_its_own_size_bears_its_claim(
    write: Write, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monai_isles.io.read.MAX_BYTES", 100)
    noise = np.random.default_rng(0).random((16, 16, 4), dtype=np.float32)
    assert read_image(write(noise, name)).data.shape == (16, 16, 4)  # 4096 bytes, hardly compressible
    with pytest.raises(IslesError, match=r"E-FILE-07(?s:.*)claims 262144 bytes"):
        read_image(write(np.zeros((64, 64, 16), np.float32), "b.nii.gz"))  # compressed to a hundredth


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_diffusion_series_is_the_geometric_mean_of_its_volumes_near_b_1000(write: Write, suffix: str) -> None:
    """As dcm2niix writes it: b 0, three directions of b 1000 (one 995), one of b 2000."""
    decay = np.arange(1, 25, dtype=np.float32).reshape(4, 3, 2)
    volumes = [900 + 0 * decay, 2 * decay, 4 * decay, 8 * decay, 50 + 0 * decay]
    path = write(np.stack(volumes, axis=-1), f"p_dwi{suffix}")
    with pytest.raises(IslesError, match=r"E-DIM-03(?s:.*)add its .bval file"):
        read_image(path, kind="dwi")
    bval = path.with_name("p_dwi.bval")
    bval.write_text("0 1000 995\t1000 2000\n")
    with collect_remarks() as remarks:
        image = read_image(path, kind="dwi")
    alone = read_image(write(4 * decay, "alone.nii"), kind="dwi")
    np.testing.assert_allclose(image.data, alone.data, rtol=1e-6)
    assert image.native_shape == alone.native_shape and image.dt_s is None
    assert [one.code for one in remarks] == ["E-DIM-12"] and "the 3 of b 1000" in remarks[0].found
    assert read_header(path, kind="dwi").grid_shape == (4, 3, 2)
    for text in ("0 1000 1000", "0 0 0 0 50", "no numbers at all x"):  # of other volumes, of none that is weighted
        bval.write_text(text)
        with pytest.raises(IslesError, match="E-DIM-03"):
            read_image(path, kind="dwi")
    bval.write_text("0 1000 1000 1000 2000")
    with pytest.raises(IslesError, match="E-DIM-03"):
        read_image(path, kind="flair")
