"""What follows the pixels of a DICOM file: nothing, or whole elements; anything else means that bytes were moved."""

from __future__ import annotations

import struct
from typing import BinaryIO

from monai_isles.dicom.header import PIXEL_TAGS, UNDEFINED, DicomFile, damaged

_ITEM, _SEQUENCE_END, _SIGNATURES = 0xFFFEE000, 0xFFFEE0DD, 0xFFFAFFFA
_IMPLICIT, _BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
_LONG = (b"OB", b"OW", b"OF", b"OD", b"UN", b"OL", b"OV", b"SQ", b"UT", b"UC", b"UR")


def require_whole_end(file: DicomFile) -> None:
    """Refuse a file whose last bytes are no elements: bytes were put in or lost, and the pixels may have moved.

    Packed pixels must be a chain of whole fragments up to the sequence delimiter. After the pixels, only elements of
    higher tags may come (Data Set Trailing Padding, Digital Signatures), the last ending where the file does.

    Raises:
        IslesError: ``E-DCM-06``.
    Source: DICOM PS3.5, 7.1 and A.4; ``tests/data/test_dicom_tail.py``.
    """
    with file.path.open("rb") as stream:
        at = _after_fragments(file, stream) if file.length == UNDEFINED else file.offset + file.length
        if at > file.size:
            return  # too few bytes: ``E-DCM-08`` says it better
        order = ">" if file.transfer_syntax == _BIG_ENDIAN else "<"
        start, before = at, max(PIXEL_TAGS)
        while at < file.size:
            tag, length, head = _element(stream, at, order, implicit=file.transfer_syntax == _IMPLICIT)
            if tag == _SIGNATURES and length == UNDEFINED:
                return
            if tag <= before or at + head + length > file.size:
                raise damaged(file.path, f"{file.size - start} bytes after the pixels that are no DICOM elements")
            at, before = at + head + length, tag


def _after_fragments(file: DicomFile, stream: BinaryIO) -> int:
    """Return where the delimiter of packed pixels ends."""
    at, fragments = file.offset, 0
    while True:
        tag, length, head = _element(stream, at, "<", implicit=True)
        if tag == _SEQUENCE_END and length == 0 and fragments > 1:
            return at + head
        if tag != _ITEM or at + head + length > file.size:
            raise damaged(file.path, f"packed pixels break off after {fragments} fragments")
        at, fragments = at + head + length, fragments + 1


def _element(stream: BinaryIO, at: int, order: str, *, implicit: bool) -> tuple[int, int, int]:
    """Return tag, length and header size of the element at a place; tag 0 where there is none."""
    stream.seek(at)
    head = stream.read(12)
    if len(head) < 8:
        return 0, 0, len(head)
    group, element = struct.unpack(order + "HH", head[:4])
    tag = group << 16 | element
    if implicit or group == 0xFFFE:
        return tag, struct.unpack(order + "L", head[4:8])[0], 8
    if head[4:6] not in _LONG:
        return tag, struct.unpack(order + "H", head[6:8])[0], 8
    return (tag, struct.unpack(order + "L", head[8:])[0], 12) if len(head) == 12 else (0, 0, 8)
