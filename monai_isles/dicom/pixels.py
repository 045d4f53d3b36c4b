"""Read the pixels of one frame: check sizes against the file first, then rescale to HU or map units."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from monai_isles.dicom.frames import Frame, frame_count, frames_of
from monai_isles.dicom.header import (
    PARSER_ERRORS,
    UNDEFINED,
    WANTED,
    DicomFile,
    damage_error,
    pydicom_module,
    require_whole_end,
)
from monai_isles.errors import IslesError, refused
from monai_isles.io.findings import WARNING, Finding, finding

MAX_BYTES = 4 * 2**30
AIR_HU, _EDGE_HU = -1024.0, -300.0
_NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
# JPEG, lossless JPEG, JPEG-LS and JPEG 2000: ITK unpacks them where pydicom finds no decoder
_BY_ITK = tuple(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70, 80, 81, 90, 91))


def require_readable(files: Sequence[DicomFile], where: str, slab_mm: float | None = None) -> None:
    """Refuse files whose pixels are missing, too large, in colour, or in an unsupported encoding.

    Args:
        slab_mm: slices will be averaged to this thickness, and need as much less memory.
    """
    total = 0.0
    for file in files:
        require_grey(file, where)
        total += _require_format(file) * frame_count(file) * 4 / _slices_a_slab(file, slab_mm)
    # The maps need the series about four times over.
    if total > (most := max(MAX_BYTES, _free_bytes() // 4)):
        widest = max(files, key=lambda file: _require_format(file) * frame_count(file))
        size = f"{widest.text('Rows')} x {widest.text('Columns')} x {frame_count(widest)} frames"
        text = f"{len(files)} files of up to {size}: {_gib(total)} GiB in memory, at most {_gib(most)} GiB"
        raise refused("E-DCM-09", where=f"{where}: {widest.path}", found=text, needed=_gib(4 * total))
    for file in files:
        if file.transfer_syntax in _NATIVE:
            _require_bytes(file)
        else:
            _require_decoder(file)
        require_whole_end(file)


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f}"


def slices_a_slab(step_mm: float, slab_mm: float | None) -> int:
    """Return the number of slices ``step_mm`` apart that make a slab, rounded, at least 1."""
    return max(1, round(slab_mm / step_mm)) if slab_mm and step_mm > 0 else 1


def _slices_a_slab(file: DicomFile, slab_mm: float | None) -> int:
    """Return how many slices make a slab by the thickness in the header, 1 where there is none."""
    try:
        return slices_a_slab(float(file.text("SliceThickness")), slab_mm)
    except ValueError:
        return 1


def _free_bytes() -> int:
    """Return the free memory including reclaimable caches, 0 if unknown."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):  # not Linux
        return 0


def require_grey(file: DicomFile, where: str) -> None:
    """Refuse colour, and grey other than CT that is shown inverted.

    MONOCHROME1 is a rule for display; the numbers of a CT are HU by their rescale all the same.

    Source: DICOM PS3.3 C.7.6.3.1.2 and C.8.2.1.1.2; ``tests/dicom/test_pixels.py``.
    """
    kind, hounsfield = file.text("PhotometricInterpretation"), file.text("Modality") == "CT"
    if (kind == "MONOCHROME2" or (kind == "MONOCHROME1" and hounsfield)) and file.text("SamplesPerPixel") in ("", "1"):
        return
    if kind == "MONOCHROME1":
        raise _format(file, "MONOCHROME1: dark means more")
    result = f"Photometric Interpretation {kind or 'none'}, {file.text('SamplesPerPixel') or 'no'} samples a pixel"
    raise refused("E-DCM-15", where=f"{where}: {file.path}", found=result)


def require_scale(frames: Sequence[Frame], where: str, *, hounsfield: bool) -> str:
    """Return the units of a series, which every frame must share."""
    units = {_unit(frame.units, hounsfield=hounsfield) for frame in frames}
    lacking = [frame for frame in frames if frame.intercept is None or frame.slope == 0]
    bare = [*lacking, *(frame for frame in frames if frame.slope is None and not hounsfield)]
    magnetic = frames[0].file.text("Modality") == "MR" or frames[0].file.numbers != "integers"
    result = None
    turned = [frame for frame in frames if frame.slope is not None and frame.slope < 0]
    if turned:
        result = f"{len(turned)} frames with a rescale slope of {turned[0].slope:g}, such as {turned[0].file.path.name}"
    elif len(units) > 1:
        result = f"rescale types {', '.join(sorted(unit or 'none' for unit in units))}"
    elif bare and (not magnetic or any(frame.slope == 0 for frame in bare)):
        result = f"{len(bare)} frames without rescale slope and intercept, such as {bare[0].file.path.name}"
    elif hounsfield and not units <= {"HU"}:
        result = f"rescale type {units.pop()}, not HU"
    if result:
        raise refused("E-DCM-16", where=where, found=result)
    return units.pop()


def rescale_remarks(frames: Sequence[Frame], where: str) -> list[Finding]:
    """Return the remark that a CT states no unit ("US") or no slope, and is read as HU, with a slope of 1."""
    unstated = {frame.units for frame in frames if frame.units.strip().upper() == "US"}
    strange = [f"rescale type {units} (unspecified)" for units in sorted(unstated)]
    if any(frame.slope is None for frame in frames):
        strange.append("no rescale slope beside the intercept: 1")
    return [finding("E-DCM-62", WARNING, where=where, found="; ".join(strange))] if strange else []


def shown_inverted(files: Sequence[DicomFile], array: np.ndarray, where: str) -> list[Finding]:
    """Return the remark that a CT is shown inverted (MONOCHROME1); refuse one whose numbers may be inverted too.

    Shapes: ``array`` (..., H, W, D).  Units: HU.
    Raises: ``E-DCM-19`` no air at the edge of the pictures: other programs invert the numbers for display.
    """
    shown = [file for file in files if file.text("PhotometricInterpretation") == "MONOCHROME1"]
    if not shown:
        return []
    first = array.reshape(-1, *array.shape[-3:])[0]
    edge = float(np.median(np.concatenate([first[[0, -1]].ravel(), first[:, [0, -1]].ravel()])))
    if edge > _EDGE_HU:
        raise _format(shown[0], f"MONOCHROME1, and {edge:g} HU at the edge of the pictures, where air should be")
    return [finding("E-DCM-67", WARNING, where=where, found=f"{len(shown)} of {len(files)} files")]


def _unit(text: str, *, hounsfield: bool) -> str:
    """Return the unit of a rescale type; for CT, no type, US and every spelling of Hounsfield unit mean HU."""
    # DICOM PS3.3 C.8.2.1: HU where Rescale Type is absent. ``settle_values`` judges the numbers.
    words = re.sub(r"[^A-Z]", "", text.upper())
    return "HU" if hounsfield and (words in ("", "US", "HU") or re.match(r"HOUN?D?SFIELD", words)) else text


def read_pixels(frame: Frame, *, hounsfield: bool) -> np.ndarray:
    """Return one frame after its slope and intercept.

    Shapes: (rows, columns) float32.
    Units: HU; padding that lies below air is read as air.
    """
    raw = _native(frame) if frame.file.transfer_syntax in _NATIVE else _decode(frame)
    stored = _used_bits(raw, frame.file)
    slope, intercept = (1.0 if frame.slope is None else frame.slope), (frame.intercept or 0.0)
    if float(slope).is_integer() and float(intercept).is_integer() and stored.dtype.itemsize <= 2:
        values = stored.astype(np.float32)
        if slope != 1 or intercept != 0:
            values *= np.float32(slope)
            values += np.float32(intercept)
    else:
        values = (stored.astype(np.float64) * slope + intercept).astype(np.float32)
    padding = _padding(frame.file) if hounsfield and raw.dtype.kind in "iu" else None
    if padding is not None and padding * slope + intercept < AIR_HU:
        bits = 8 * raw.dtype.itemsize
        values[raw.view(f"{raw.dtype.byteorder}u{raw.dtype.itemsize}") == padding % 2**bits] = AIR_HU
    return values


# new names of a file that an archive or an anonymiser may give
_NAMES = ("SOPInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SeriesNumber", "SeriesDescription")


def same_picture(first: DicomFile, other: DicomFile) -> bool:
    """Return whether two files hold equal pixels, packed or not, and equal headers but for their names."""
    if any(first.text(key) != other.text(key) for key in WANTED if key not in _NAMES):
        return False
    if first.transfer_syntax != other.transfer_syntax:
        try:
            pairs = zip(frames_of(first), frames_of(other), strict=True)
            return all(np.array_equal(_stored(a), _stored(b)) for a, b in pairs)
        except IslesError:  # a damaged file is no copy, and is refused later
            return False
    pixels = []
    for file in (first, other):
        with file.path.open("rb") as stream:
            stream.seek(file.offset)
            pixels.append(stream.read(-1 if file.length == UNDEFINED else file.length))
    return pixels[0] == pixels[1]


def _stored(frame: Frame) -> np.ndarray:
    return read_pixels(frame, hounsfield=False)


def _padding(file: DicomFile) -> int | None:
    """Return Pixel Padding Value as a signed number: scanners write -2000 as 63536 too, in more bits than stored."""
    # A value that is meant unsigned and turns negative here lies above every HU.
    try:
        value = file.header.get("PixelPaddingValue")
        number = int.from_bytes(value[:2], "little") if isinstance(value, bytes) else int(value)
        return number - 2**16 if 2**15 <= number < 2**16 else number
    except PARSER_ERRORS:
        return None


def _shape(file: DicomFile) -> tuple[int, int]:
    rows, columns = (file.text(key) for key in ("Rows", "Columns"))
    if not (rows.isdigit() and columns.isdigit() and int(rows) and int(columns)):
        raise damage_error(file.path, f"{rows or 'no'} rows, {columns or 'no'} columns")
    return int(rows), int(columns)


def _dtype(file: DicomFile) -> np.dtype:
    order: Literal[">", "<"] = ">" if file.transfer_syntax == _BIG_ENDIAN else "<"
    if file.numbers != "integers":
        return np.dtype(file.numbers).newbyteorder(order)
    sign = "i" if file.text("PixelRepresentation") == "1" else "u"
    return np.dtype(f"{order}{sign}{int(file.text('BitsAllocated')) // 8}")


def _require_format(file: DicomFile) -> int:
    """Return the pixels of a frame; refuse a number format that is not supported."""
    rows, columns = _shape(file)
    if file.numbers == "integers":
        bits = [file.text(key) for key in ("BitsAllocated", "BitsStored", "HighBit")]
        if not all(bit.isdigit() for bit in bits) or bits[0] not in ("8", "16", "32"):
            raise _format(file, f"{bits[0] or 'no'} bits allocated")
        allocated, stored, high = map(int, bits)
        if not 1 <= stored <= allocated or high != stored - 1:
            raise _format(file, f"{stored} of {allocated} bits stored, high bit {high}")
        sign = file.text("PixelRepresentation")
        if sign not in ("0", "1"):
            raise _format(file, f"Pixel Representation {sign[:20] or 'none'}: with or without a sign")
    return rows * columns


def _require_bytes(file: DicomFile) -> None:
    rows, columns = _shape(file)
    wanted = rows * columns * frame_count(file) * _dtype(file).itemsize
    available = min(file.length, file.size - file.offset)
    if file.length in (wanted, wanted + 1) and available >= wanted:
        return
    claimed = "an undefined number of" if file.length == UNDEFINED else str(file.length)
    text = f"{wanted} bytes of pixels wanted for {rows} x {columns} x {frame_count(file)}"
    raise _bytes(file, f"{text}, {claimed} claimed, {available} there")


def _has_decoder(file: DicomFile) -> bool:
    try:
        return bool(pydicom_module().pixels.get_decoder(file.transfer_syntax).is_available)
    except NotImplementedError:
        return False


def _require_decoder(file: DicomFile) -> None:
    if not _has_decoder(file) and file.transfer_syntax not in _BY_ITK:
        name = pydicom_module().uid.UID(file.transfer_syntax).name
        text = f"{name} ({file.transfer_syntax}), and no decoder for it is installed"
        fix = "export the series uncompressed, or pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg"
        raise refused("E-DCM-07", where=str(file.path), found=text, fix=fix)


def _native(frame: Frame) -> np.ndarray:
    file, (rows, columns) = frame.file, _shape(frame.file)
    dtype = _dtype(file)
    offset = file.offset + frame.index * rows * columns * dtype.itemsize
    stored = np.fromfile(file.path, dtype, rows * columns, offset=offset)
    if stored.size != rows * columns:
        raise _bytes(file, f"{stored.size} of {rows * columns} pixels of frame {frame.index + 1}")
    return stored.reshape(rows, columns)


def _decode(frame: Frame) -> np.ndarray:
    file = frame.file
    try:
        if _has_decoder(file):
            stored = pydicom_module().pixels.pixel_array(file.path, index=frame.index, raw=True)
        else:
            stored = _unpack_by_itk(str(file.path))[frame.index].astype(_dtype(file))
    except PARSER_ERRORS as error:
        raise _bytes(file, f"frame {frame.index + 1} cannot be decompressed ({type(error).__name__})") from error
    if stored.shape != _shape(file):
        raise _bytes(file, f"frame {frame.index + 1} decompresses to {stored.shape}, the header says {_shape(file)}")
    return stored


@lru_cache(maxsize=1)
def _unpack_by_itk(path: str) -> np.ndarray:
    """Return the stored numbers (frames, rows, columns) of a compressed file; undo the rescaling of ITK."""
    import itk

    codec = itk.GDCMImageIO.New()
    values = itk.array_from_image(itk.imread(path, itk.F, imageio=codec))
    values = values.reshape(-1, *values.shape[-2:])
    return np.rint((values.astype(np.float64) - codec.GetRescaleIntercept()) / codec.GetRescaleSlope())


def _used_bits(stored: np.ndarray, file: DicomFile) -> np.ndarray:
    """Return the pixels without the unused high bits of older files, with the right sign."""
    if file.numbers != "integers" or file.text("BitsStored") == file.text("BitsAllocated"):
        return stored
    spare = stored.dtype.itemsize * 8 - int(file.text("BitsStored"))
    return np.right_shift(np.left_shift(stored, spare), spare)


def _bytes(file: DicomFile, found: str) -> IslesError:
    return refused("E-DCM-08", where=str(file.path), found=found)


def _format(file: DicomFile, found: str) -> IslesError:
    return refused("E-DCM-19", where=str(file.path), found=found)
