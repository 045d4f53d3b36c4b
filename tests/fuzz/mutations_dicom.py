"""Ways to damage a DICOM file, each by name, all from one random generator, for ``tests/fuzz/run.py``."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pydicom

from tests.fuzz.mutations import (
    INTEGERS,
    Mutant,
    append,
    cut,
    delete,
    flip_bits,
    insert,
    noise,
    swap_blocks,
    zero_block,
)


def mutate_dicom(stored: bytes, rng: np.random.Generator) -> Mutant:
    """Return one damaged version of a DICOM file."""
    names = list(_DICOM)
    name = names[int(rng.integers(len(names)))]
    return Mutant(bytes(_DICOM[name](bytearray(stored), rng)), ".dcm", name)


def _dicom_element(data: bytearray, rng: np.random.Generator, change: Callable[[bytearray, int], None]) -> bytearray:
    """Change the element header that begins at a random even place which looks like one (explicit value types)."""
    places = [
        n for n in range(132, len(data) - 8, 2) if data[n + 4 : n + 6].isalpha() and data[n + 4 : n + 6].isupper()
    ]
    change(data, int(rng.choice(places)) if places else 132)
    return data


def _tag(data: bytearray, rng: np.random.Generator) -> bytearray:
    def change(found: bytearray, at: int) -> None:
        found[at : at + 4] = rng.bytes(4) if rng.integers(2) else struct.pack("<HH", 0x28, int(rng.integers(0, 0x200)))

    return _dicom_element(data, rng, change)


def _value_type(data: bytearray, rng: np.random.Generator) -> bytearray:
    def change(found: bytearray, at: int) -> None:
        found[at + 4 : at + 6] = bytes(rng.choice([b"DS", b"IS", b"UI", b"SQ", b"OB", b"UN", b"US", b"XX", b"\0\0"]))

    return _dicom_element(data, rng, change)


def _length(data: bytearray, rng: np.random.Generator) -> bytearray:
    def change(found: bytearray, at: int) -> None:
        found[at + 6 : at + 8] = struct.pack("<H", int(rng.choice([0, 1, 3, 1000, 0xFFFE, 0xFFFF])))

    return _dicom_element(data, rng, change)


def _pixels_length(data: bytearray, rng: np.random.Generator) -> bytearray:
    at = data.rfind(b"\xe0\x7f\x10\x00")
    if at > 0:
        place = at + (8 if data[at + 4 : at + 6].isalpha() else 4)
        data[place : place + 4] = struct.pack("<L", int(rng.choice([0, 2, 1000, 2**31, 2**32 - 2, 2**32 - 1])))
    return data


def _value(data: bytearray, rng: np.random.Generator) -> bytearray:
    """Put another value of the same length into an image attribute, through the DICOM library."""
    names = ["Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel"]
    texts = [
        "RescaleSlope",
        "RescaleIntercept",
        "AcquisitionTime",
        "SliceThickness",
        "NumberOfFrames",
        "InstanceNumber",
    ]
    several = {"PixelSpacing": 2, "ImagePositionPatient": 3, "ImageOrientationPatient": 6}
    words = [
        "PhotometricInterpretation",
        "SOPClassUID",
        "SeriesInstanceUID",
        "FrameOfReferenceUID",
        "Modality",
        "ImageType",
    ]
    with pydicom.config.disable_value_validation(), suppress(ValueError, OverflowError):
        image = pydicom.dcmread(io.BytesIO(bytes(data)))
        kind = int(rng.integers(4))
        if kind == 0:
            setattr(image, str(rng.choice(names)), abs(int(rng.choice(INTEGERS))))
        elif kind == 1:
            setattr(
                image, str(rng.choice(texts)), str(rng.choice(["", "0", "-1", "nan", "1e30", "inf", "x", "3", "\\"]))
            )
        elif kind == 2:
            name = str(rng.choice(list(several)))
            setattr(image, name, [str(rng.choice(["0", "-1", "1", "nan", "1e30", "0.5", "7"]))] * several[name])
        else:
            setattr(image, str(rng.choice(words)), str(rng.choice(["", "1.2.3", "RGB", "MONOCHROME1", "é", "A" * 100])))
        out = io.BytesIO()
        image.save_as(out, enforce_file_format=False)
        return bytearray(out.getvalue())
    return flip_bits(data, rng)  # the library does not write such a value


def _syntax(data: bytearray, rng: np.random.Generator) -> bytearray:
    old, at = b"1.2.840.10008.1.2.1\0", data.find(b"1.2.840.10008.1.2.1\0")
    others = (b"1.2.840.10008.1.2\0\0\0", b"1.2.840.10008.1.2.2\0", b"1.2.840.10008.1.2.5\0", b"1.2.840.10008.1.2.9\0")
    if at > 0:
        data[at : at + len(old)] = others[int(rng.integers(len(others)))]
    return data


def _magic(data: bytearray, rng: np.random.Generator) -> bytearray:
    data[128 + int(rng.integers(4))] ^= 1 << int(rng.integers(8))
    return data


def _header_bits(data: bytearray, rng: np.random.Generator) -> bytearray:
    end = max(140, data.rfind(b"\xe0\x7f\x10\x00"))
    for _ in range(int(rng.integers(1, 6))):
        data[int(rng.integers(132, end))] ^= 1 << int(rng.integers(8))
    return data


_DICOM = {
    "flipped bits": flip_bits,
    "bits of the header": _header_bits,
    "cut": cut,
    "bytes after the end": append,
    "bytes put in": insert,
    "bytes taken out": delete,
    "a block of zeros": zero_block,
    "two blocks exchanged": swap_blocks,
    "noise": noise,
    "tag": _tag,
    "value type": _value_type,
    "length": _length,
    "length of the pixels": _pixels_length,
    "value of an attribute": _value,
    "transfer syntax": _syntax,
    "magic word": _magic,
}
