"""Damaged bytes are told from whole ones, whatever the reader would have made of them."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from monai_isles.errors import IslesError
from monai_isles.io import read_image
from monai_isles.io.findings import collect_remarks

Write = Callable[..., Path]


def refused(path: Path, words: str, **how: object) -> None:
    with pytest.raises(IslesError, match=words) as caught:
        read_image(path, where="case_7", **how)
    assert "case_7" in caught.value.where and path.name in caught.value.where


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    refused(tmp_path / "none.nii", r"E-FILE-01: file is missing")


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(b"")
    refused(tmp_path / "a.nii.gz", r"E-FILE-02: file is empty(?s:.*)0 bytes")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.nii").mkdir()
    refused(tmp_path / "a.nii", r"E-FILE-08: file cannot be read(?s:.*)directory")


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii"])
def test_text_is_no_image(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("this is a note, not an image, " * 20)
    refused(tmp_path / name, r"E-FILE-03: file is not a NIfTI image(?s:.*)this is a note")


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mha").write_text("x")
    refused(tmp_path / "a.mha", r"E-FILE-03(?s:.*)suffix \.mha(?s:.*)convert it")


def test_gzip_bytes_named_nii_are_told_their_name(write: Write, volume: np.ndarray, tmp_path: Path) -> None:
    write(volume, "a.nii.gz").rename(tmp_path / "a.nii")
    refused(tmp_path / "a.nii", r"E-FILE-04(?s:.*)gzip bytes under a\.nii(?s:.*)rename to \.nii\.gz")


def test_plain_bytes_named_gz_are_told_their_name(write: Write, volume: np.ndarray, tmp_path: Path) -> None:
    write(volume, "a.nii").rename(tmp_path / "a.nii.gz")
    refused(tmp_path / "a.nii.gz", r"E-FILE-04(?s:.*)rename to \.nii\n?")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.99])
def test_a_cut_file_is_refused(write: Write, name: str, share: float) -> None:
    noise = np.random.default_rng(0).random((8, 8, 4), dtype=np.float32)
    path = write(noise, name)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    refused(path, r"E-FILE-05: file is cut short(?s:.*)copy the file again")


def test_a_file_cut_inside_the_header_says_so(write: Write, volume: np.ndarray) -> None:
    path = write(volume)
    path.write_bytes(path.read_bytes()[:200])
    refused(path, r"E-FILE-05(?s:.*)200 of 348 header bytes")


def test_every_flipped_bit_in_the_compressed_voxels_is_caught(write: Write) -> None:
    rng = np.random.default_rng(1)
    path = write(rng.random((16, 16, 4), dtype=np.float32), "a.nii.gz")
    whole = path.read_bytes()
    for position in rng.integers(10, len(whole) - 4, 40):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(damaged))
        with pytest.raises(IslesError, match=r"E-FILE-0[3-7]|E-DIM|E-GEOM"):
            read_image(path)


def test_a_flipped_checksum_is_called_damage(write: Write, volume: np.ndarray) -> None:
    path = write(volume, "a.nii.gz")
    whole = bytearray(path.read_bytes())
    whole[-6] ^= 1
    path.write_bytes(bytes(whole))
    refused(path, r"E-FILE-06: file is damaged(?s:.*)gzip check failed(?s:.*)copy the file again")


def test_a_header_that_claims_terabytes_is_refused_before_memory_is_asked_for(write: Write, volume: np.ndarray) -> None:
    path = write(volume, patch={"dim": [3, 30000, 30000, 3000, 1, 1, 1, 1]})
    refused(path, r"E-FILE-07(?s:.*)claims 10800000000000 bytes(?s:.*)the file has 448 bytes; limit 4294967296 bytes")


def test_a_bomb_is_refused_before_it_is_unpacked_whole(write: Write, volume: np.ndarray) -> None:
    path = write(volume, "a.nii.gz")
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + bytes(2**27), compresslevel=1))
    refused(path, r"E-FILE-20(?s:.*)more than 67108960 bytes once uncompressed, from a file of")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("more", [b"\0", b"x" * 1000])
def test_bytes_after_the_last_voxel_are_ignored_and_counted(
    write: Write, volume: np.ndarray, name: str, more: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(volume, name)
    clean = read_image(path).data
    raw = gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()
    path.write_bytes(gzip.compress(raw + more) if name.endswith(".gz") else raw + more)
    assert np.array_equal(read_image(path).data, clean)
    assert "E-FILE-21" in caplog.text and f"{len(more)} of {448 + len(more)} bytes" in caplog.text


def test_a_long_file_is_refused_by_its_size_alone(write: Write, volume: np.ndarray) -> None:
    path = write(volume)
    with path.open("r+b") as file:
        file.truncate(2**32)  # a hole, no bytes on the disk
    refused(path, r"E-FILE-20(?s:.*)4294967296 bytes in the file, at most")


def test_bytes_after_a_gzip_stream_are_damage(write: Write, volume: np.ndarray) -> None:
    path = write(volume, "a.nii.gz")
    path.write_bytes(path.read_bytes() + b"more")
    refused(path, r"E-FILE-06: file is damaged(?s:.*)gzip check failed")


def test_a_gzip_stream_in_several_members_is_one_file(write: Write, volume: np.ndarray) -> None:
    path = write(volume, "a.nii.gz")
    raw = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(raw[:400]) + gzip.compress(raw[400:]))
    assert read_image(path).data.size == 24


def test_a_part_of_a_byte_in_the_offset_is_cut_off_as_other_readers_do(write: Write, volume: np.ndarray) -> None:
    sound = read_image(write(volume))
    with collect_remarks() as remarks:
        image = read_image(write(volume, "b.nii", patch={"vox_offset": 352.5}))
    assert np.array_equal(image.data, sound.data)
    assert [(one.code, one.found) for one in remarks] == [("E-FILE-22", "offset 352.5: 352")]


def test_the_size_is_claimed_by_the_number_type_not_by_bitpix(write: Write, volume: np.ndarray) -> None:
    assert read_image(write(volume, patch={"bitpix": 8})).data.size == 24
    refused(write(volume, patch={"bitpix": 8, "dim": [3, 30000, 30000, 2, 1, 1, 1, 1]}), r"claims 7200000000 bytes")


def test_a_budget_that_fits_is_enough(write: Write, volume: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monai_isles.io.read.MAX_BYTES", volume.nbytes)
    assert read_image(write(volume)).data.size == 24


def test_an_odd_voxel_offset_is_refused(write: Write, volume: np.ndarray) -> None:
    refused(
        write(volume, patch={"vox_offset": 12}),
        r"E-FILE-09: voxels start inside the header(?s:.*)offset 12",
    )
