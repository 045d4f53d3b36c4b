"""Bytes put into a DICOM file, or lost from it, are noticed by what follows the pixels."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pydicom
import pytest

from monai_isles.dicom.read import read_series
from monai_isles.errors import IslesError


def refused(dicom, words: str) -> None:
    with pytest.raises(IslesError, match=words):
        read_series(dicom.folder)


def packed(dicom) -> None:
    for path in dicom.files:
        image = pydicom.dcmread(path)
        image.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
        image.save_as(path, enforce_file_format=True)


def pixels_at(path: Path) -> int:
    return path.read_bytes().rfind(b"\xe0\x7f\x10\x00")


@pytest.mark.parametrize("form", ["explicit", "implicit"])
def test_bytes_put_into_the_pixels_are_refused(dicom, form: str) -> None:
    if form == "implicit":
        for path in dicom.files:
            image = pydicom.dcmread(path)
            image.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
            image.save_as(path, implicit_vr=True, little_endian=True, enforce_file_format=True)
    assert np.array_equal(read_series(dicom.folder).array, dicom.scan.ctp)
    path, at = dicom.files[4], pixels_at(dicom.files[4]) + 30
    path.write_bytes(path.read_bytes()[:at] + b"four" + path.read_bytes()[at:])
    refused(dicom, r"E-DCM-06(?s:.*)IM00005(?s:.*)4 bytes after the pixels that are no DICOM elements")


@pytest.mark.parametrize("more", [bytes(2), bytes(64), b"PK\x03\x04", b"x" * 13])
def test_bytes_after_the_end_are_refused(dicom, more: bytes) -> None:
    path = dicom.files[0]
    path.write_bytes(path.read_bytes() + more)
    refused(dicom, rf"E-DCM-06(?s:.*){len(more)} bytes after the pixels")


def test_padding_as_the_standard_has_it_is_accepted(dicom) -> None:
    path = dicom.files[0]
    padding = struct.pack("<HH2sHL", 0xFFFC, 0xFFFC, b"OB", 0, 6) + bytes(6)
    path.write_bytes(path.read_bytes() + padding)
    assert np.array_equal(read_series(dicom.folder).array, dicom.scan.ctp)
    path.write_bytes(path.read_bytes()[:-1])
    refused(dicom, r"E-DCM-06(?s:.*)17 bytes after the pixels")


@pytest.mark.parametrize("kind", [b"SV", b"UV"])
def test_whole_numbers_of_eight_bytes_after_the_pixels_are_elements(dicom, kind: bytes) -> None:
    path = dicom.files[0]
    path.write_bytes(path.read_bytes() + struct.pack("<HH2sHLQ", 0x7FE1, 0x1010, kind, 0, 8, 1))
    assert np.array_equal(read_series(dicom.folder).array, dicom.scan.ctp)


def test_packed_pixels_are_whole_fragments_to_their_delimiter(dicom) -> None:
    packed(dicom)
    assert np.array_equal(read_series(dicom.folder).array, dicom.scan.ctp)
    path = dicom.files[3]
    whole = path.read_bytes()
    path.write_bytes(whole[:-8])
    refused(dicom, r"E-DCM-06(?s:.*)IM00004(?s:.*)packed pixels break off after 2 fragments")
    path.write_bytes(whole[:-30] + whole[-28:])
    refused(dicom, r"E-DCM-06(?s:.*)packed pixels break off after 2 fragments")
    path.write_bytes(whole + b"zz")
    refused(dicom, r"E-DCM-06(?s:.*)2 bytes after the pixels")


def test_values_that_no_scanner_gives_are_refused(dicom) -> None:
    dicom.change(dicom.files[5], RescaleSlope="1e30")
    refused(dicom, r"E-VAL-05: CT perfusion series is outside its plausible range")


def test_an_attribute_of_an_impossible_length_is_damage_not_a_crash(dicom) -> None:
    path = dicom.files[0]
    raw = bytearray(path.read_bytes())
    raw[138:140] = struct.pack("<H", 1366)  # the length of (0002,0000), the first element
    path.write_bytes(bytes(raw))
    refused(dicom, r"E-DCM-06: DICOM file is damaged")
