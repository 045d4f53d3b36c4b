"""What holds for every image: it comes back as an independent reader sees it, or it is refused; nothing in between."""

from __future__ import annotations

import gzip
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel
import numpy as np
import pytest

from monai_isles.errors import IslesError
from monai_isles.io import read_image
from monai_isles.io.grid import TOLERANCE_VOX, corners_apart_mm, displacement_vox
from monai_isles.io.publish import publish_image

pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

few = settings(max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
DTYPES = ("u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")
SUFFIXES = st.sampled_from([".nii", ".nii.gz"])
FIELDS = [name for name in nibabel.nifti1.header_dtype.names if name not in ("descrip", "aux_file", "db_name")]


@st.composite
def affines(draw: st.DrawFn) -> np.ndarray:
    """Any orientation, any spacing from 0.1 to 20 mm, tilted or not, anywhere in a room."""
    order = draw(st.permutations(range(3)))
    signs = draw(st.lists(st.sampled_from([-1.0, 1.0]), min_size=3, max_size=3))
    spacing = draw(st.lists(st.floats(0.1, 20.0), min_size=3, max_size=3))
    a, c = np.radians(draw(st.floats(-40, 40))), np.radians(draw(st.sampled_from([0.0, 0.0, 5.0, -33.0])))
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = about_x @ about_z @ np.eye(3)[:, order] * np.multiply(signs, spacing)
    affine[:3, 3] = draw(st.lists(st.floats(-500, 500), min_size=3, max_size=3))
    return affine


@st.composite
def images(draw: st.DrawFn) -> nibabel.Nifti1Image:
    """A volume or series of one to seven voxels an axis, of any number type and byte order, with or without a scale."""
    shape = tuple(draw(st.lists(st.integers(1, 7), min_size=3, max_size=4)))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    top = 1000 if dtype.kind == "f" else min(1000, np.iinfo(dtype).max)
    data = rng.uniform(0, top, shape).astype(dtype)
    affine = draw(affines())
    image = nibabel.Nifti1Image(data, affine, dtype=dtype)
    image.set_sform(affine, draw(st.integers(1, 5)))
    if draw(st.booleans()):
        image.set_qform(affine, draw(st.integers(1, 5)))
    image.header.set_xyzt_units("mm", "sec")
    if dtype.kind in "iu" and draw(st.booleans()):
        image.header.set_slope_inter(draw(st.floats(0.001, 10)), draw(st.floats(-100, 100)))
    return image


def stored_bytes(image: nibabel.Nifti1Image, *, swapped: bool = False) -> bytes:
    header = image.header.as_byteswapped() if swapped else image.header
    data = np.asarray(image.dataobj).astype(image.get_data_dtype().newbyteorder(header.endianness))
    scaled = header.copy()
    slope, inter = image.header.get_slope_inter()
    scaled["scl_slope"], scaled["scl_inter"] = (np.nan, np.nan) if slope is None else (slope, inter)
    scaled["vox_offset"] = 352
    scaled["magic"] = b"n+1"
    return scaled.binaryblock + bytes(4) + data.tobytes(order="F")


def place(folder: str, raw: bytes, suffix: str) -> Path:
    path = Path(folder) / f"a{suffix}"
    path.write_bytes(gzip.compress(raw, 1, mtime=0) if suffix.endswith("gz") else raw)
    return path


def other_reader(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = nibabel.as_closest_canonical(nibabel.load(path))
        return image.get_fdata(), image.affine


@few
@given(images(), SUFFIXES, st.booleans())
def test_every_sound_image_is_read_as_another_reader_reads_it(image, suffix: str, swapped: bool) -> None:
    with TemporaryDirectory() as folder:
        path = place(folder, stored_bytes(image, swapped=swapped), suffix)
        ours = read_image(path, dtype=np.float64)
        truth, affine = other_reader(path)
    frames = np.moveaxis(truth, -1, 0) if ours.data.ndim == 4 else truth.reshape(ours.data.shape)
    np.testing.assert_allclose(ours.data, frames, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(ours.affine, affine, atol=1e-4)
    assert ours.native_shape == image.shape[:3] and ours.grid_shape == truth.shape[:3]


@few
@given(images(), SUFFIXES)
def test_what_is_read_and_written_back_lies_on_the_grid_it_came_from(image, suffix: str) -> None:
    with TemporaryDirectory() as folder:
        source = place(folder, stored_bytes(image), suffix)
        ours = read_image(source)
        volume = ours.data[0] if ours.data.ndim == 4 else ours.data
        publish_image(Path(folder) / "out.nii.gz", volume, ours, dtype="float32")
        back, before = (nibabel.load(path, mmap=False) for path in (Path(folder) / "out.nii.gz", source))
        assert back.shape == before.shape[:3]
        assert displacement_vox(before.affine, back.affine, back.shape) <= TOLERANCE_VOX
        first = before.get_fdata()[..., 0] if before.ndim == 4 and before.shape[3] > 1 else before.get_fdata()
        np.testing.assert_allclose(back.get_fdata(), first.reshape(back.shape), rtol=1e-6, atol=1e-5)


@few
@given(images(), SUFFIXES, st.floats(0, 1, exclude_max=True))
def test_no_cut_file_is_ever_accepted(image, suffix: str, share: float) -> None:
    with TemporaryDirectory() as folder:
        path = place(folder, stored_bytes(image), suffix)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(IslesError, match=r"E-FILE-0[2356]"):
            read_image(path)


@few
@given(images(), SUFFIXES, st.binary(min_size=1, max_size=40))
def test_bytes_after_the_last_voxel_change_nothing(image, suffix: str, more: bytes) -> None:
    with TemporaryDirectory() as folder:
        clean = read_image(place(folder, stored_bytes(image), suffix))
        again = read_image(place(folder, stored_bytes(image) + more, suffix))
        assert np.array_equal(clean.data, again.data, equal_nan=True)


@few
@given(images(), st.integers(0, 2**31), st.integers(0, 7))
def test_a_flipped_bit_in_a_compressed_file_is_refused_or_changes_nothing(image, at: int, bit: int) -> None:
    with TemporaryDirectory() as folder:
        path = place(folder, stored_bytes(image), ".nii.gz")
        before, raw = read_image(path), bytearray(path.read_bytes())
        raw[at % len(raw)] ^= 1 << bit
        path.write_bytes(bytes(raw))
        try:
            after = read_image(path)
        except IslesError:
            return
    assert np.array_equal(before.data, after.data) and np.array_equal(before.affine, after.affine)


@settings(few, max_examples=120)
@given(images(), SUFFIXES, st.sampled_from(FIELDS), st.binary(min_size=8, max_size=8), st.integers(0, 7))
def test_any_header_field_may_hold_anything(image, suffix: str, name: str, value: bytes, index: int) -> None:
    raw = bytearray(stored_bytes(image))
    dtype, offset = nibabel.nifti1.header_dtype.fields[name][:2]
    size = dtype.base.itemsize
    start = offset + index % (dtype.itemsize // size) * size
    raw[start : start + size] = value[:size].ljust(size, b"\0")
    with TemporaryDirectory() as folder:
        path = place(folder, bytes(raw), suffix)
        try:
            ours = read_image(path, dtype=np.float64)
        except IslesError as error:
            assert error.code.startswith("E-") and path.name in error.where
            return
        truth, affine = other_reader(path)
    truth = np.moveaxis(truth, -1, 0) if ours.data.ndim == 4 and truth.ndim == 4 else truth
    np.testing.assert_allclose(ours.data, truth.reshape(ours.data.shape), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(ours.affine, affine, atol=1e-3 * max(1.0, np.abs(affine).max()))


@few
@given(st.binary(max_size=2000), SUFFIXES)
def test_bytes_of_any_kind_are_no_image(content: bytes, suffix: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"a{suffix}"
        path.write_bytes(content)
        with pytest.raises(IslesError, match=r"E-FILE-0[2-6]"):
            read_image(path)


@few
@given(affines(), st.lists(st.integers(1, 300), min_size=3, max_size=3), st.floats(0, 100), st.integers(0, 2))
def test_a_shift_is_measured_in_millimetres_and_a_mirror_is_never_the_same_grid(
    affine: np.ndarray, shape: list[int], shift_mm: float, axis: int
) -> None:
    moved = affine.copy()
    moved[axis, 3] += shift_mm
    assert corners_apart_mm(affine, tuple(shape), moved, tuple(shape)) == pytest.approx(shift_mm, abs=1e-6)
    mirrored = affine.copy()
    mirrored[:, axis] *= -1
    assert displacement_vox(affine, mirrored, tuple(shape)) > 100 * TOLERANCE_VOX
    near = affine.copy()
    near[axis, 3] += 1e-5
    assert displacement_vox(affine, near, tuple(shape)) <= TOLERANCE_VOX
