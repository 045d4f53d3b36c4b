"""Read the header of one DICOM file without the patient, and locate its pixels."""

from __future__ import annotations

import logging
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, BinaryIO

from monai_isles.dicom.characters import character_terms, codecs_of, decode_by, text_of
from monai_isles.errors import IslesError, refused

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


UNDEFINED = 0xFFFFFFFF
PIXEL_TAGS = {0x7FE00010: "integers", 0x7FE00008: "float32", 0x7FE00009: "float64"}
DEFLATED = b"1.2.840.10008.1.2.1.99"
_IMPLICIT, _BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
# of a file that does not state it: whether value representations are implied, and whether the low byte comes first
_BY_ENCODING: dict[tuple[bool | None, bool | None], str] = {
    (True, True): _IMPLICIT,
    (False, True): "1.2.840.10008.1.2.1",
    (False, False): _BIG_ENDIAN,
}
_CLASSES = b"1.2.840.10008.5.1.4.1.1."
_IMAGES = tuple(f"1.2.840.10008.5.1.4.1.1.{root}" for root in ("2", "4", "30"))  # CT, MR, parametric map
_LONG = (b"OB", b"OW", b"OF", b"OD", b"UN", b"OL", b"OV", b"SQ", b"SV", b"UT", b"UC", b"UR", b"UV")
_ITEM, _SEQUENCE_END, _SIGNATURES = 0xFFFEE000, 0xFFFEE0DD, 0xFFFAFFFA
_PREAMBLE, _META = 132, 4096
# nearly every error there is: the DICOM library promises none, and damaged bytes may reach any line of its parser and
# conversions; caught only around calls of that library, never around code of ours
PARSER_ERRORS = (
    ValueError, TypeError, KeyError, AttributeError, IndexError, EOFError, OSError, NotImplementedError, OverflowError,
    RuntimeError, MemoryError, struct.error,
)  # fmt: skip
# the only attributes that are ever read: nobody's name, birth date or number is among them
WANTED = """
SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID FrameOfReferenceUID SeriesNumber SeriesDescription
Modality ImageType Rows Columns NumberOfFrames SamplesPerPixel PhotometricInterpretation BitsAllocated BitsStored
HighBit PixelRepresentation PixelPaddingValue ImagePositionPatient ImageOrientationPatient PixelSpacing SliceThickness
SpacingBetweenSlices GantryDetectorTilt RescaleSlope RescaleIntercept RescaleType AcquisitionDate AcquisitionTime
AcquisitionDateTime ContentDate ContentTime TriggerTime TemporalPositionIndex TemporalPositionIdentifier
TemporalResolution TemporalPositionTimeOffset FrameReferenceTime AcquisitionNumber InstanceNumber KVP ConvolutionKernel
SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence RealWorldValueMappingSequence
""".split()
# GE's Mid Scan Time (0019,xx24), and the owners of the private blocks that it may lie in
_PRIVATE = [tag for block in range(0x10, 0x20) for tag in (0x190000 | block, 0x190024 | block << 8)]


@dataclass(frozen=True, eq=False)
class DicomFile:
    """Hold one image file as it was read.

    ``offset`` and ``length`` are those of the pixel bytes, ``length`` is ``UNDEFINED`` where they are compressed.
    """

    path: Path
    header: Dataset
    transfer_syntax: str
    numbers: str
    offset: int
    length: int
    size: int
    known: dict[str, object] = field(default_factory=dict, repr=False)

    def text(self, keyword: str) -> str:
        """Return an attribute as text, empty if it is absent or unreadable."""
        if keyword not in self.known:
            try:
                self.known[keyword] = text_of(self.header, keyword)
            except PARSER_ERRORS:
                self.known[keyword] = ""
        return str(self.known[keyword])


def pydicom_module() -> ModuleType:
    """Return pydicom, refused below version 3: its errors would read as those of damaged files."""
    try:
        import pydicom
    except ImportError as error:
        raise refused("E-DCM-01", where="pydicom", found=f"not installed ({error.name or error})") from error
    if int(pydicom.__version__.split(".")[0]) < 3:
        raise refused("E-DCM-01", where="pydicom", found=f"version {pydicom.__version__}, older than 3")
    return pydicom


@contextmanager
def quietly() -> Iterator[None]:
    """Silence warnings and logs of the DICOM libraries, which may repeat a patient's name."""
    pydicom, names = pydicom_module(), ["pydicom", *logging.root.manager.loggerDict]
    logs = [logging.getLogger(name) for name in names if name.split(".")[0] in ("pydicom", "highdicom")]
    loud = [log for log in logs if not log.disabled]
    wrong_lengths = pydicom.config.convert_wrong_length_to_UN
    pydicom.config.convert_wrong_length_to_UN = True  # else its own error, which is no ValueError
    try:
        for log in loud:
            log.disabled = True
        with warnings.catch_warnings(), pydicom.config.disable_value_validation():
            warnings.simplefilter("ignore")
            yield
    finally:
        pydicom.config.convert_wrong_length_to_UN = wrong_lengths
        for log in loud:
            log.disabled = False


def is_dicom(path: Path) -> bool:
    """Return whether a file begins as in DICOM part 10 (any 128 bytes, then DICM), or with a data set of an image."""
    # Older archives store the data set alone; its first elements, of group 2 or 8, hold the class of the image.
    try:
        with path.open("rb") as file:
            start = file.read(_META)
    except OSError:
        return False
    return start[_PREAMBLE - 4 : _PREAMBLE] == b"DICM" or _begins_data_set(start, 2, 8)


def _begins_data_set(start: bytes, *groups: int) -> bool:
    """Return whether bytes begin with an element of a group (8: no meta header), and name the class of an image."""
    return int.from_bytes(start[:2], "little") in (groups or (8,)) and _CLASSES in start


def read_dicom_file(path: Path) -> DicomFile | None:
    """Return the header of one DICOM file, None where the file holds no pixels; the pixels are not read."""
    pydicom_module()
    try:
        with path.open("rb") as file:
            start = file.read(_META)
            file.seek(0)
            if DEFLATED in start:  # refused by its first bytes: opening it would unpack it all
                if not any(root.encode() in start for root in _IMAGES):
                    return None  # a report: the class stands before the deflated part
                raise refused("E-DCM-07", where=str(path), found=f"{DEFLATED.decode()} (deflated)")
            header = _read_header(file, [*WANTED, *_PRIVATE])
            syntax = str(header.file_meta.get("TransferSyntaxUID") or _BY_ENCODING[header.original_encoding])
            behind = start[_PREAMBLE:] if start[_PREAMBLE - 4 : _PREAMBLE] == b"DICM" else start
            if "TransferSyntaxUID" not in header.file_meta and not _begins_data_set(behind):
                raise damage_error(path, "header cannot be read (no transfer syntax)")
            place = file.tell()
            tag, length, head = _element(file, place, syntax)
            size = file.seek(0, 2)
            classes = (header.file_meta.get("MediaStorageSOPClassUID"), header.get("SOPClassUID"))
            image = any(f"{uid}.".startswith(f"{root}.") for uid in classes for root in _IMAGES)
            if tag not in PIXEL_TAGS and image:  # it was cut, or its last elements are damaged
                raise damage_error(path, f"no pixels in an image of {size} bytes")
    except PARSER_ERRORS as error:
        raise damage_error(path, f"header cannot be read ({type(error).__name__})") from error
    if tag not in PIXEL_TAGS:
        return None
    return DicomFile(path, header, syntax, PIXEL_TAGS[tag], place + head, length, size)


def read_words(path: Path, keywords: Sequence[str]) -> list[str] | None:
    """Return attributes of a file as text, empty where they are absent; None if they cannot be read."""
    with quietly():
        try:
            header = _read_header(path, keywords)
            return [text_of(header, keyword) for keyword in keywords]
        except PARSER_ERRORS:
            return None


def _read_header(file: Path | BinaryIO, tags: Sequence[str | int]) -> Dataset:
    names = ["SpecificCharacterSet", *tags]
    header = pydicom_module().dcmread(file, stop_before_pixels=True, specific_tags=names, force=True)
    decode_by(header, codecs_of(character_terms(header)))
    return header


def damage_error(path: Path, found: str) -> IslesError:
    """Return the error for a DICOM file that is not whole."""
    return refused("E-DCM-06", where=str(path), found=found)


def require_whole_end(file: DicomFile) -> None:
    """Refuse a file that does not end with whole elements: bytes were added or lost, the pixels may have moved.

    Packed pixels must be a chain of whole fragments up to the sequence delimiter. After the pixels, only elements of
    higher tags may come (Data Set Trailing Padding, Digital Signatures), the last ending where the file does.

    Source: DICOM PS3.5, 7.1 and A.4; ``tests/dicom/test_tail.py``.
    """
    with file.path.open("rb") as stream:
        at = _after_fragments(file, stream) if file.length == UNDEFINED else file.offset + file.length
        if at > file.size:
            return  # too few bytes: that is ``E-DCM-08``
        start, before = at, max(PIXEL_TAGS)
        while at < file.size:
            tag, length, head = _element(stream, at, file.transfer_syntax)
            if tag == _SIGNATURES and length == UNDEFINED:
                return
            if tag <= before or at + head + length > file.size:
                raise damage_error(file.path, f"{file.size - start} bytes after the pixels that are no DICOM elements")
            at, before = at + head + length, tag


def _after_fragments(file: DicomFile, stream: BinaryIO) -> int:
    """Return where the delimiter of packed pixels ends."""
    at, fragments = file.offset, 0
    while True:
        tag, length, head = _element(stream, at, _IMPLICIT)
        if tag == _SEQUENCE_END and length == 0 and fragments > 1:
            return at + head
        if tag != _ITEM or at + head + length > file.size:
            raise damage_error(file.path, f"packed pixels break off after {fragments} fragments")
        at, fragments = at + head + length, fragments + 1


def _element(stream: BinaryIO, at: int, syntax: str) -> tuple[int, int, int]:
    """Return tag, length and header size of the element at a place; tag 0 where there is none."""
    order = ">" if syntax == _BIG_ENDIAN else "<"
    stream.seek(at)
    head = stream.read(12)
    if len(head) < 8:
        return 0, 0, len(head)
    group, element = struct.unpack(order + "HH", head[:4])
    tag = group << 16 | element
    if syntax == _IMPLICIT or group == 0xFFFE:
        return tag, struct.unpack(order + "L", head[4:8])[0], 8
    if head[4:6] not in _LONG:
        return tag, struct.unpack(order + "H", head[6:8])[0], 8
    return (tag, struct.unpack(order + "L", head[8:])[0], 12) if len(head) == 12 else (0, 0, 8)
