"""Headers are parsed as stored, in both byte orders and both NIfTI versions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_isles.errors import IslesError
from monai_isles.io import read_image
from monai_isles.io.header import parse_header
from monai_isles.io.read import read_header

AFFINE = np.diag([1.0, 2.0, 5.0, 1.0])


def image_bytes(kind: type, volume: np.ndarray) -> bytes:
    image = kind(volume, AFFINE)
    image.set_sform(AFFINE, 1)
    image.set_qform(AFFINE, 1)
    return image.to_bytes()


def test_nifti_2_reads_like_nifti_1(tmp_path: Path, volume: np.ndarray) -> None:
    (tmp_path / "one.nii").write_bytes(image_bytes(nibabel.Nifti1Image, volume))
    (tmp_path / "two.nii").write_bytes(image_bytes(nibabel.Nifti2Image, volume))
    one, two = read_image(tmp_path / "one.nii"), read_image(tmp_path / "two.nii")
    assert np.array_equal(one.data, two.data) and np.array_equal(one.affine, two.affine)


def test_big_endian_files_are_read(tmp_path: Path, volume: np.ndarray) -> None:
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(np.int16)
    image = nibabel.Nifti1Image(volume.astype(np.int16), AFFINE, header)
    image.set_sform(AFFINE, 1)
    (tmp_path / "a.nii").write_bytes(image.to_bytes())
    assert (tmp_path / "a.nii").read_bytes()[:4] == b"\0\0\x01\x5c"
    assert np.array_equal(read_image(tmp_path / "a.nii").data, volume)


def test_a_pair_header_is_refused(volume: np.ndarray) -> None:
    block = bytearray(image_bytes(nibabel.Nifti1Image, volume)[:348])
    block[344:348] = b"ni1\0"
    with pytest.raises(IslesError, match=r"E-FILE-03(?s:.*)single-file NIfTI"):
        parse_header(bytes(block), "a.nii")


def test_the_header_alone_tells_shape_frames_and_time(write: Callable[..., Path]) -> None:
    series = np.ones((4, 3, 2, 6), np.float32)
    header = read_header(write(series, "s.nii.gz", patch={"pixdim": [1, 1, 2, 5, 1.5, 1, 1, 1]}), kind="ctp")
    assert (header.grid_shape, header.frames, header.dt_s, header.spacing_mm) == ((4, 3, 2), 6, 1.5, (1.0, 2.0, 5.0))
    assert header.affine[0, 0] > 0 and header.sha256 == "" and not header.data.any()


def test_the_header_alone_is_judged_too(write: Callable[..., Path], volume: np.ndarray) -> None:
    assert read_header(write(volume)).frames is None
    with pytest.raises(IslesError, match="E-GEOM-01"):
        read_header(write(volume, codes=(0, 0)))
