"""The numbers of a frame: sizes that lie, formats, padding, packed files and those that nobody here unpacks."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import uid

from monai_isles.dicom import pixels as dicom_pixels
from monai_isles.dicom.read import read_series
from monai_isles.errors import IslesError


def refused(folder: Path, words: str) -> None:
    with pytest.raises(IslesError, match=words) as error:
        read_series(folder)
    assert len(str(error.value).splitlines()) == 4


def test_a_file_cut_in_its_pixels_is_refused(dicom) -> None:
    path = dicom.file(3, 2)
    path.write_bytes(path.read_bytes()[:-10])
    refused(dicom.folder, r"E-DCM-08(?s:.*)IM00012(?s:.*)60 bytes of pixels wanted for 5 x 6 x 1, 60 claimed, 50 there")


def test_fewer_pixels_than_rows_and_columns_are_refused(dicom) -> None:
    dicom.change_all(Rows=500)
    refused(dicom.folder, r"E-DCM-08(?s:.*)6000 bytes of pixels wanted for 500 x 6 x 1, 60 claimed, 60 there")


@pytest.mark.parametrize(("free", "most"), [(0, "4.0"), (10 * 2**30, "4.0"), (40 * 2**30, "10.0")])
def test_huge_dimensions_are_refused_before_anything_is_allocated(
    dicom, monkeypatch: pytest.MonkeyPatch, free: int, most: str
) -> None:
    """At most 4 GiB, or a quarter of the free memory where that is more; 12 slices of 65535 squared are 192 GiB."""
    monkeypatch.setattr(dicom_pixels, "_free_bytes", lambda: free)
    dicom.change_all(Rows=65535, Columns=65535)
    words = rf"12 files of up to 65535 x 65535 x 1 frames: 192.0 GiB in memory, at most {most} GiB(?s:.*)768.0 GiB"
    refused(dicom.folder, rf"E-DCM-09: series is too large(?s:.*){words}")


def test_the_free_memory_is_what_the_system_can_give() -> None:
    """What Linux calls available, or what is unused elsewhere: more than nothing, less than all."""
    free = dicom_pixels._free_bytes()
    assert 2**20 < free < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_a_huge_number_of_frames_is_refused(dicom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_pixels, "_free_bytes", lambda: 0)
    dicom.change_all(NumberOfFrames="999999999")
    refused(dicom.folder, r"E-DCM-09(?s:.*)999999999 frames")


def test_rows_of_zero_are_damage(dicom) -> None:
    dicom.change(dicom.file(0, 0), Rows=0)
    refused(dicom.folder, r"E-DCM-06(?s:.*)0 rows, 6 columns")


@pytest.mark.parametrize(("values", "found"), [
    ({"PixelRepresentation": None}, "Pixel Representation none"), ({"PixelRepresentation": 2}, "Representation 2"),
    ({"BitsAllocated": 12}, "12 bits allocated"), ({"BitsStored": 12, "HighBit": 15}, "12 of 16 bits stored, high bit"),
    ({"BitsStored": 17, "HighBit": 16}, "17 of 16 bits"),
])  # fmt: skip
def test_formats_that_are_not_read_are_refused(dicom, values: dict, found: str) -> None:
    dicom.change_all(**values)
    refused(dicom.folder, rf"E-DCM-19: pixel format is not read(?s:.*){found}")


def test_a_ct_that_is_shown_inverted_has_the_same_numbers(dicom) -> None:
    """MONOCHROME1 is a rule for display (PS3.3 C.7.6.3.1.2); pydicom and dcm2niix leave the numbers alone too."""
    dicom.change_all(PhotometricInterpretation="MONOCHROME1")
    series = read_series(dicom.folder)
    assert np.array_equal(series.array, dicom.scan.ctp)
    assert "E-DCM-67" in {item.code for item in series.findings}
    header = pydicom.dcmread(dicom.file(0, 0))
    rescaled = pydicom.pixels.apply_rescale(header.pixel_array, header)
    assert set(rescaled.ravel()) == set(series.array[0, ..., 0].ravel())


@pytest.mark.parametrize(("modality", "found"), [("CT", "1023 HU at the edge"), ("MR", "dark means more")])
def test_inverted_numbers_are_refused(dicom, modality: str, found: str) -> None:
    """A program that inverts the numbers too leaves air bright: here 2047 - 1024 HU all over."""
    stored = np.full(30, 2047, "<u2")
    ours = {"Modality": modality, "SOPClassUID": f"1.2.840.10008.5.1.4.1.1.{2 if modality == 'CT' else 4}"}
    dicom.change_all(PhotometricInterpretation="MONOCHROME1", PixelData=stored.tobytes(), **ours)
    refused(dicom.folder, rf"E-DCM-19: pixel format is not read(?s:.*)MONOCHROME1(?s:.*){found}")


def test_signed_numbers_of_twelve_bits_are_read(dicom) -> None:
    """-5 in 12 bits with rubbish above it is 0xAFFB."""
    stored = np.full(30, 0xAFFB, "<u2")
    dicom.change_all(BitsStored=12, HighBit=11, PixelRepresentation=1, RescaleIntercept="0", PixelData=stored.tobytes())
    assert np.unique(read_series(dicom.folder).array).tolist() == [-5.0]


@pytest.mark.parametrize("implicit", [False, True])
def test_padding_outside_the_scan_is_air(dicom, implicit: bool) -> None:
    """Padding 0 with intercept -8192 would be -8192 HU; implicit files do not say what kind of number it is."""
    stored = np.arange(30, dtype="<u2")
    stored[1:] += 7168
    for path in dicom.files:
        header = pydicom.dcmread(path)
        header.RescaleIntercept, header.PixelData = "-8192", stored.tobytes()
        header.add_new("PixelPaddingValue", "US", 0)
        if implicit:
            header.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian
        header.save_as(path, implicit_vr=implicit, little_endian=True)
    series = read_series(dicom.folder)
    assert series.array.min() == -1024 and np.count_nonzero(series.array == -1024) == 12


@pytest.mark.parametrize(("value", "vr", "bits"), [
    (63536, "US", 16), (-2000, "SS", 16), (63536, "US", 12), (-2000, "SS", 12),
])  # fmt: skip
def test_a_negative_padding_in_unsigned_pixels_is_air(dicom, value: int, vr: str, bits: int) -> None:
    """-2000 is 63536 in 16 bits; of these a reader of 12 bits would make 2096, bone of 1072 HU."""
    lost = []
    for path in dicom.files:
        header = pydicom.dcmread(path)
        stored = np.frombuffer(header.PixelData, "<u2").copy()
        lost.append(int(stored[0]) - 1024)
        stored[0], header.BitsStored, header.HighBit = 63536, bits, bits - 1
        header.PixelData = stored.tobytes()
        header.add_new("PixelPaddingValue", vr, value)
        header.save_as(path)
    wanted = np.where(np.isin(dicom.scan.ctp, lost), -1024, dicom.scan.ctp)  # all numbers of the scan differ
    assert np.array_equal(read_series(dicom.folder).array, wanted)


def pack(pixels: np.ndarray, path: Path) -> None:
    """Write pixels (rows, columns) as lossless JPEG in a DICOM file, by ITK; its modules warn when they are loaded."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import itk

        codec = itk.GDCMImageIO.New()
        codec.SetCompressionType(0)  # JPEG
        itk.imwrite(itk.image_from_array(pixels[None]), str(path), compression=True, imageio=codec)


@pytest.mark.parametrize("signed", [False, True])
def test_lossless_jpeg_the_packing_of_most_archives_is_read(dicom, tmp_path: Path, signed: bool) -> None:
    for path in dicom.files:
        header = pydicom.dcmread(path)
        pack(header.pixel_array.astype(np.int16) - 1024 if signed else header.pixel_array, tmp_path / "one.dcm")
        packed = pydicom.dcmread(tmp_path / "one.dcm")
        assert packed.file_meta.TransferSyntaxUID == uid.JPEGLosslessSV1
        header.file_meta.TransferSyntaxUID, header.PixelData = uid.JPEGLosslessSV1, packed.PixelData
        header["PixelData"].is_undefined_length = True
        if signed:
            header.PixelRepresentation, header.BitsStored, header.HighBit, header.RescaleIntercept = 1, 16, 15, "0"
        header.save_as(path)
    assert np.array_equal(read_series(dicom.folder).array, dicom.scan.ctp)


@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.RLELossless])
def test_other_transfer_syntaxes_give_the_same_numbers(dicom, syntax: str) -> None:
    for path in dicom.files:
        header = pydicom.dcmread(path)
        if syntax == uid.RLELossless:
            header.compress(syntax, generate_instance_uid=False)
        else:
            if syntax == uid.ExplicitVRBigEndian:
                header.PixelData = np.frombuffer(header.PixelData, "<u2").astype(">u2").tobytes()
            header.file_meta.TransferSyntaxUID = syntax
        explicit = {"implicit_vr": False, "little_endian": False} if syntax == uid.ExplicitVRBigEndian else {}
        pydicom.dcmwrite(path, header, **explicit)
    assert np.array_equal(read_series(dicom.folder).array, dicom.scan.ctp)


def test_a_packed_frame_that_is_damaged_is_refused(dicom) -> None:
    path = dicom.file(0, 0)
    header = pydicom.dcmread(path)
    header.compress(uid.RLELossless, generate_instance_uid=False)
    header.PixelData = header.PixelData[:40] + b"\x7f" * (len(header.PixelData) - 40)
    header.save_as(path)
    refused(dicom.folder, r"E-DCM-08(?s:.*)IM00001(?s:.*)frame 1")


def test_a_packing_without_a_decoder_is_refused(dicom, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in dicom.files:
        header = pydicom.dcmread(path)
        header.compress(uid.RLELossless, generate_instance_uid=False)
        header.save_as(path)
    decoder = type("NoDecoder", (), {"is_available": False})()
    monkeypatch.setattr(pydicom.pixels, "get_decoder", lambda syntax: decoder)
    refused(
        dicom.folder, r"E-DCM-07(?s:.*)RLE Lossless \(1.2.840.10008.1.2.5\), and no decoder(?s:.*)pip install pylib"
    )


def test_an_unknown_packing_is_refused(dicom) -> None:
    for path in dicom.files:
        header = pydicom.dcmread(path)
        header.compress(uid.RLELossless, generate_instance_uid=False)
        header.save_as(path)
        raw = path.read_bytes()
        path.write_bytes(raw.replace(b"1.2.840.10008.1.2.5\0", b"1.2.840.10008.1.2.777"[:20].ljust(20, b"\0"), 1))
    refused(dicom.folder, r"E-DCM-07: transfer syntax cannot be read")


def test_a_deflated_file_is_not_opened(dicom) -> None:
    path = dicom.file(0, 0)
    header = pydicom.dcmread(path)
    header.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    header.save_as(path)
    refused(dicom.folder, r"E-DCM-07(?s:.*)IM00001(?s:.*)\(deflated\)")


def test_float_pixels_are_read(dicom) -> None:
    def as_float(header: pydicom.Dataset) -> None:
        values = np.frombuffer(header.PixelData, "<u2").astype("<f4") / 8
        del header.PixelData
        header.FloatPixelData = values.tobytes()
        header.BitsAllocated, header.SOPClassUID = 32, "1.2.840.10008.5.1.4.1.1.30"
        header.ImageType = ["DERIVED", "PRIMARY", "PERFUSION", "CBF"]
        for key in ("BitsStored", "HighBit", "PixelRepresentation", "RescaleSlope", "RescaleIntercept", "RescaleType"):
            delattr(header, key)

    for path in dicom.still().files:
        dicom.change(path, edit=as_float)
    series = read_series(dicom.folder)
    assert series.kind == "cbf" and np.array_equal(series.array, (dicom.scan.ctp[0] + 1024.0) / 8)


def test_bytes_that_vanish_while_reading_are_noticed(dicom, monkeypatch: pytest.MonkeyPatch) -> None:
    plain: Callable = dicom_pixels._require_bytes
    monkeypatch.setattr(dicom_pixels, "_require_bytes", lambda file: None)
    dicom.file(1, 1).write_bytes(dicom.file(1, 1).read_bytes()[:-20])
    assert plain is not dicom_pixels._require_bytes
    refused(dicom.folder, r"E-DCM-08(?s:.*)20 of 30 pixels of frame 1")
