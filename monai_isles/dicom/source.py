"""Read the headers of the DICOM images behind a result, and order arrays like their files."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from monai_isles import __version__
from monai_isles.dicom.characters import settle_characters
from monai_isles.dicom.frames import frames_of
from monai_isles.dicom.header import pydicom_module, quietly, read_dicom_file
from monai_isles.dicom.stack import SAME_PLACE_MM, SAME_PLACE_SHARE, Stack, stack_frames
from monai_isles.errors import IslesError, refused
from monai_isles.io.grid import corners_apart_mm
from monai_isles.io.orientation import from_ras, to_ras
from monai_isles.io.publish import publish

if TYPE_CHECKING:
    from pydicom import Dataset

# DICOM type 2: must be there, may be empty; files that were made anonymous often lack them
TYPE_2 = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime", "ReferringPhysicianName",
)  # fmt: skip
CODES: dict[str, Any] = tomllib.loads(Path(__file__).with_name("codes.toml").read_text(encoding="utf-8"))
MANUFACTURER, MODEL = "monai_isles", "monai_isles, research only"


@dataclass(frozen=True)
class DicomSource:
    """Name the images behind a result.

    Shapes: ``affine`` (4, 4) of the RAS+ array (H, W, D). Units: mm.
    Args:
        files: one file a slice of one time point, or enhanced files that together hold every slice; more are skipped.
    """

    files: Sequence[Path]
    affine: np.ndarray

    @cached_property
    def headers(self) -> list[Dataset]:
        """Return one header a slice position (pixels are not read), of enhanced files that of the first.

        What a derived object needs and the source lacks is set: empty values of type 2, a frame of reference, and the
        step of the slices as their spacing and thickness.
        """
        from pydicom import dcmread

        result: dict[tuple[float, ...], Dataset] = {}
        for path in self.files:
            # Every time point repeats the positions: the first header of each stands for all.
            header = dcmread(path, stop_before_pixels=True, force=True)
            if "PerFrameFunctionalGroupsSequence" in header:
                result = {(): header}
                break
            result.setdefault(_rounded(header.ImagePositionPatient), header)
        studies = {str(header.StudyInstanceUID) for header in result.values()}
        if len(studies) != 1:
            text = f"{len(result)} images of {len(studies)} studies"
            raise refused("E-DCM-40", where=str(self.files[0].parent) if self.files else "DICOM source", found=text)
        headers: list[Dataset] = list(result.values())
        step_mm = round(float(np.linalg.norm(self._stack.affine[:3, 2])), 6)
        for image in headers:
            settle_characters(image)
            _settle(image, headers[0])
            shared = image.get("SharedFunctionalGroupsSequence") or [{}]
            for measures in (image, *shared[0].get("PixelMeasuresSequence", ())):
                for name in ("SliceThickness", "SpacingBetweenSlices"):
                    if "PixelSpacing" in measures and not measures.get(name):
                        setattr(measures, name, step_mm)
        return headers

    @cached_property
    def _stack(self) -> Stack:
        with quietly():
            files = [file for path in self.files if (file := read_dicom_file(path)) is not None]
            return stack_frames([frame for file in files for frame in frames_of(file)], str(self.files[0].parent))

    @property
    def images(self) -> dict[str, Any]:
        """Return the images that a derived object refers to, as its arguments: of the first series, and of others."""
        first = self.headers[0].SeriesInstanceUID
        own = [image for image in self.headers if image.SeriesInstanceUID == first]
        others = [image for image in self.headers if image.SeriesInstanceUID != first]
        return {"source_images": own, "further_source_images": others}

    def place(self, array: np.ndarray, *, channels: int = 0) -> PlacedFrames:
        """Return a result on the slices of the source, at their positions, without interpolation.

        A result on the upright grid of a tilted gantry goes back to the slices as acquired: masks (``channels``) take
        the nearest voxel, maps are interpolated linearly. One on slabs, averages of thin slices, goes onto each slice
        of its slab.

        Shapes: ``array`` (H, W, D), or (H, W, D, S) with ``channels`` = S segments.
        Raises: ``E-DCM-41`` it has another size, or lies more than a tenth of the slice step from the source.
        """
        stack, affine = self._stack, np.array(self.affine, float)
        along = np.abs(stack.affine[:3, 2] @ affine[:3, :3])  # of each axis of the result, times the step of the source
        axis, step_mm = int(along.argmax()), float(np.linalg.norm(stack.affine[:3, 2]))
        if (thick := round(along[axis] / step_mm**2)) > 1:
            array = np.repeat(array, thick, axis)
            affine[:3, 3] -= affine[:3, axis] * (thick - 1) / (2 * thick)
            affine[:3, axis] /= thick
        native = from_ras(array, stack.affine)  # (column, row, slice), with segments behind
        shape, count = native.shape[:3], len(stack.frames)
        size = (int(self.headers[0].Rows), int(self.headers[0].Columns))
        whole = size if stack.shear is None else stack.shear.size
        if (shape[1], shape[0]) != whole:
            raise off_grid(f"{(shape[1], shape[0])} rows and columns, the source has {whole}")
        # Positions of the source repeat to a tenth of a step (``stack_frames``): the result lies on their median.
        apart = corners_apart_mm(to_ras(native, stack.affine)[1], array.shape, affine, array.shape)
        near = max(5 * SAME_PLACE_MM, SAME_PLACE_SHARE * step_mm)
        left_over = "NumberOfFrames" in self.headers[0] and count > shape[2]  # thin slices that made no slab
        if (shape[2] != count and not left_over) or apart > near:
            raise off_grid(f"{shape[2]} slices for {count} source images, up to {apart:.3g} mm apart")
        pictures = [np.atleast_3d(native[:, :, place]).T for place in range(shape[2])]  # (segment, row, column)
        if stack.shear is not None:
            back = partial(stack.shear.tilt_back, size=size, nearest=channels > 0)
            pictures = [np.stack([back(part, n) for part in parts]) for n, parts in enumerate(pictures)]
        frames = np.moveaxis(np.stack(pictures), 1, -1) if channels else np.concatenate(pictures)
        return PlacedFrames(np.ascontiguousarray(frames), [group[0].position for group in stack.frames[: shape[2]]])

    def publish(self, made: Dataset, placed: PlacedFrames, path: Path, code: str) -> None:
        """Write an object of highdicom, and refuse with ``code`` if other values at other places are read back."""
        from pydicom import dcmread

        def fault(tmp: Path) -> str:
            return "" if placed.same_as(dcmread(tmp)) else f"frames of {placed.array.shape} that are not those written"

        self.write(made, path, code, fault)

    def write(self, made: Dataset, path: Path, code: str, fault: Callable[[Path], str]) -> None:
        """Write an object in the source's characters, and refuse with ``code`` a fault that its file shows."""
        # highdicom 0.28 refuses valid terms: it takes Korean for Japanese, and knows no lone code extensions
        if "SpecificCharacterSet" in self.headers[0]:
            made.SpecificCharacterSet = self.headers[0].SpecificCharacterSet

        def write(tmp: Path) -> None:
            made.save_as(tmp, enforce_file_format=True)
            if found := fault(tmp):
                raise refused(code, where=str(path), found=found)

        publish(path, write, inputs=self.files)

    def series_number(self, after: int) -> int:
        """Return the number of a new series, made of that of its source and ``after``."""
        return int(self.headers[0].get("SeriesNumber") or 0) % 10_000 + after


@dataclass(frozen=True)
class Algorithm:
    """Identify what made the masks.

    Args:
        name, version: of the bundle, or of the rule.
        parameters: settings, and the checksum of the weights, as text.
    """

    name: str
    version: str = __version__
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PlacedFrames:
    """Hold a result on the slices of its source.

    Shapes: ``array`` (D, rows, columns), with segments (D, rows, columns, S).  Units: ``positions`` mm, LPS.
    """

    array: np.ndarray
    positions: list[tuple[float, ...]]

    def same_as(self, written: Dataset) -> bool:
        """Return whether a written object contains these frames at the right positions."""
        slices = {_rounded(position): picture for position, picture in zip(self.positions, self.array, strict=True)}
        stored = written.pixel_array.reshape(-1, *self.array.shape[1:3])
        for group, picture in zip(written.PerFrameFunctionalGroupsSequence, stored, strict=True):
            facts = {**_items(written.SharedFunctionalGroupsSequence[0]), **_items(group)}
            wanted = slices.get(_rounded(facts["PlanePositionSequence"].ImagePositionPatient))
            if wanted is not None and wanted.ndim == 3:
                wanted = wanted[..., int(facts["SegmentIdentificationSequence"].ReferencedSegmentNumber) - 1]
            if wanted is None or not np.array_equal(picture, wanted):
                return False
        return len(stored) == len(self.positions) * (self.array.shape[3] if self.array.ndim == 4 else 1)


def _items(group: Dataset) -> dict[str, Dataset]:
    return {element.keyword: element.value[0] for element in group if element.VR == "SQ" and element.value}


def require_dicom() -> None:
    """Refuse to write DICOM where pydicom or highdicom is not installed."""
    pydicom_module()
    try:
        import highdicom  # noqa: F401
    except ImportError as error:
        raise refused("E-DCM-46", where="highdicom", found=f"not installed ({error.name or error})") from error


@contextmanager
def quiet(where: str | Path) -> Iterator[None]:
    """Keep values of the source, such as a name, out of the warnings and errors of pydicom and highdicom."""
    require_dicom()
    with quietly():
        try:
            yield
        except (ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
            result = f"a {type(error).__name__} of the DICOM library, its words left out: they may quote the patient"
            raise refused("E-DCM-47", where=str(where), found=result) from None


def _settle(header: Dataset, first: Dataset) -> None:
    """Set absent or unreadable type 2 attributes to empty values; name an absent frame of reference by the series."""
    from pydicom.valuerep import DA, TM

    if not header.get("FrameOfReferenceUID"):
        header.FrameOfReferenceUID = stable_uid("frame of reference", first.SeriesInstanceUID)

    for name in TYPE_2:
        if name not in header:
            setattr(header, name, "")
    for name, kind in (("PatientBirthDate", DA), ("StudyDate", DA), ("StudyTime", TM)):
        try:
            kind(str(header[name].value or ""))
        except ValueError:
            setattr(header, name, "")
    if header.PatientSex not in ("M", "F", "O"):
        header.PatientSex = ""
    for name in ("PlaneOrientationSequence", "PixelMeasuresSequence"):
        _share(header, name)


def _share(header: Dataset, name: str) -> None:
    """Move what every frame of an enhanced file repeats to the shared groups, where highdicom looks for it."""
    groups, shared = header.get("PerFrameFunctionalGroupsSequence") or [], header.get("SharedFunctionalGroupsSequence")
    text = [group[name].value for group in groups if name in group]
    if shared and name not in shared[0] and len(text) == len(groups) and all(item == text[0] for item in text):
        setattr(shared[0], name, text[0])
        for group in groups:
            del group[name]


def off_grid(found: str) -> IslesError:
    """Return the error of a result that is not on the source's slices."""
    return refused("E-DCM-41", where="DICOM export", found=found)


def stable_uid(*parts: object) -> str:
    """Return the same DICOM UID for the same words."""
    from pydicom.uid import generate_uid

    return str(generate_uid(entropy_srcs=[hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()]))


def image_options(placed: PlacedFrames) -> dict[str, Any]:
    """Return the pixels of a new image of highdicom and where they lie, a new UID, and the software."""
    from highdicom import UID, PlanePositionSequence

    return {
        "pixel_array": placed.array,
        "plane_positions": [PlanePositionSequence("PATIENT", place) for place in placed.positions],
        "sop_instance_uid": UID(),
        "specific_character_set": None,  # set by ``DicomSource.write``
        "instance_number": 1,
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": MODEL,
        "software_versions": __version__,
        "device_serial_number": "none",
        "content_description": "Research only, not a medical device",
    }


def _rounded(position: Sequence[Any]) -> tuple[float, ...]:
    return tuple(round(float(x), 3) for x in position)
