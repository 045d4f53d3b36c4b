"""Read the headers of the DICOM images behind a result, and order arrays like their files."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from monai_isles import __version__
from monai_isles.dicom.characters import settle_characters
from monai_isles.dicom.frames import frames_of
from monai_isles.dicom.header import pydicom_module, quietly, read_dicom_file
from monai_isles.dicom.stack import stack_frames
from monai_isles.errors import IslesError, refused
from monai_isles.io.orientation import from_ras
from monai_isles.io.publish import publish

if TYPE_CHECKING:
    from highdicom import Volume
    from pydicom import Dataset

# DICOM type 2: must be there, may be empty; files that were made anonymous often lack them
TYPE_2 = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime", "ReferringPhysicianName",
)  # fmt: skip
_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
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
        step of the slices as their thickness.
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
        axis, thick = self._slab(headers)
        step_mm = round(float(np.linalg.norm(np.asarray(self.affine)[:3, axis])) / thick, 6)
        for image in headers:
            settle_characters(image)
            _settle(image, headers[0])
            shared = image.get("SharedFunctionalGroupsSequence") or [{}]
            for measures in (image, *shared[0].get("PixelMeasuresSequence", ())):
                if "PixelSpacing" in measures and not measures.get("SliceThickness"):
                    measures.SliceThickness = step_mm
        return headers

    @property
    def images(self) -> dict[str, Any]:
        """Return the images that a derived object refers to, as its arguments: of the first series, and of others."""
        first = self.headers[0].SeriesInstanceUID
        own = [image for image in self.headers if image.SeriesInstanceUID == first]
        others = [image for image in self.headers if image.SeriesInstanceUID != first]
        return {"source_images": own, "further_source_images": others}

    def volume(self, array: np.ndarray, affine: np.ndarray, *, channels: int = 0) -> Volume:
        """Return a RAS+ array reordered to the slices, rows and columns of the source, without interpolation.

        Shapes: ``array`` (H, W, D), or (H, W, D, S) with ``channels`` = S segments.
        """
        import highdicom
        from highdicom.spatial import VOLUME_INDEX_CONVENTION, create_rotation_matrix, get_closest_patient_orientation

        numbered: dict[Any, Any] | None = {"SegmentNumber": list(range(1, channels + 1))} if channels else None
        first = self.headers[0]
        volume = highdicom.Volume(
            np.ascontiguousarray(array),
            _TO_LPS @ affine,
            "PATIENT",
            frame_of_reference_uid=str(first.FrameOfReferenceUID),
            channels=numbered,
        )
        like = create_rotation_matrix(_orientation(first), VOLUME_INDEX_CONVENTION, slices_first=True)
        turned = volume.to_patient_orientation(get_closest_patient_orientation(like))
        if turned.spatial_shape[1:] != (int(first.Rows), int(first.Columns)):
            raise off_grid(f"{turned.spatial_shape[1:]} rows and columns, the source has {first.Rows}, {first.Columns}")
        return turned

    def tilted_frames(self, array: np.ndarray, *, channels: int = 0) -> TiltedFrames | None:
        """Return a result on the slices of a tilted gantry as acquired; None if they are upright.

        Masks (``channels``) take the nearest voxel, maps are interpolated linearly.

        Shapes: as for ``volume``.
        """
        with quietly():
            files = [file for path in self.files if (file := read_dicom_file(path)) is not None]
            stack = stack_frames([frame for file in files for frame in frames_of(file)], str(self.files[0].parent))
        if stack.shear is None:
            return None
        native = from_ras(array, stack.affine)  # (column, row, slice), with segments behind
        size, shape = (int(self.headers[0].Rows), int(self.headers[0].Columns)), (native.shape[1], native.shape[0])
        if shape != stack.shear.size or native.shape[2] != len(stack.frames):
            raise off_grid(f"{native.shape[2]} slices of {shape}, the upright grid has {stack.shear.size}")
        pictures = []
        for place in range(native.shape[2]):
            parts = np.atleast_3d(native[:, :, place]).T  # (segment, row, column)
            back = [stack.shear.tilt_back(part, place, size, nearest=channels > 0) for part in parts]
            pictures.append(np.stack(back, axis=-1))
        positions = [tuple(float(x) for x in group[0].position) for group in stack.frames]
        frames = np.stack(pictures) if channels else np.stack(pictures)[..., 0]
        return TiltedFrames(np.ascontiguousarray(frames), positions)

    def place(self, array: np.ndarray, *, channels: int = 0) -> Volume | TiltedFrames:
        """Return a result on the slices of the source: ``tilted_frames`` of a tilted gantry, else ``volume``."""
        # A result on slabs, averages of thin slices, goes onto each slice of its slab.
        (axis, thick), affine = self._slab(self.headers), np.array(self.affine, float)
        if thick > 1:
            array = np.repeat(array, thick, axis)
            affine[:3, 3] -= affine[:3, axis] * (thick - 1) / (2 * thick)
            affine[:3, axis] /= thick
        tilted = self.tilted_frames(array, channels=channels)
        if tilted is not None:
            return tilted
        volume, wanted = self.volume(array, affine, channels=channels), self._positions(self.headers)
        own = np.array([p[0].ImagePositionPatient for p in volume.get_plane_positions()], float)
        gap = np.linalg.norm(own[:, None] - wanted[None], axis=2).min(axis=1)
        left_over = "NumberOfFrames" in self.headers[0] and len(wanted) > len(own)  # thin slices that made no slab
        if (len(own) != len(wanted) and not left_over) or gap.max() > 1e-2:
            raise off_grid(f"{len(own)} slices for {len(wanted)} source images, up to {gap.max():.3g} mm apart")
        return volume

    def publish(
        self, made: Any, placed: Volume | TiltedFrames, path: Path, code: str, read: Callable[[Path], Any],
        **options: Any,
    ) -> None:  # fmt: skip
        """Write an object of highdicom, and refuse with ``code`` if other values at other places are read back."""

        def fault(tmp: Path) -> str:
            again = read(tmp)
            if isinstance(placed, TiltedFrames):
                same = placed.same_as(again, again.pixel_array.astype(placed.array.dtype))
                return "" if same else f"frames of {placed.array.shape} that are not those written"
            again, wanted = again.get_volume(**options), placed.array
            if again.geometry_equal(placed, tol=1e-4) and np.array_equal(again.array.astype(wanted.dtype), wanted):
                return ""
            return f"shape {again.shape}, sum {again.array.sum():g}; wrote {placed.shape}, {wanted.sum():g}"

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

    def _positions(self, headers: Sequence[Dataset]) -> np.ndarray:
        """Return the slice positions of the source, each once: of its files, or of the frames of enhanced files."""
        if "ImagePositionPatient" in headers[0]:
            return np.array([[float(x) for x in header.ImagePositionPatient] for header in headers])
        from pydicom import dcmread

        name = "PerFrameFunctionalGroupsSequence"
        more = [dcmread(path, stop_before_pixels=True, specific_tags=[name]) for path in self.files]
        groups = [group.PlanePositionSequence[0] for header in more for group in header[name].value]
        return np.array(sorted({_rounded(place.ImagePositionPatient) for place in groups}))

    def _slab(self, headers: Sequence[Dataset]) -> tuple[int, int]:
        """Return the axis of the result that counts slices, and the number of slices per step of the result."""
        orientation, places = np.array(_orientation(headers[0])), self._positions(headers)
        normal = _TO_LPS[:3, :3] @ np.cross(orientation[:3], orientation[3:])
        steps = np.abs(np.asarray(self.affine, float)[:3, :3].T @ normal)
        axis = int(steps.argmax())
        gaps = np.diff(np.sort(places @ (_TO_LPS[:3, :3] @ normal)))
        return axis, max(1, round(float(steps[axis] / np.median(gaps)))) if gaps.size else 1


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
class TiltedFrames:
    """Hold a result on the sheared slices of a tilted gantry.

    Shapes: ``array`` (D, rows, columns), with segments (D, rows, columns, S).  Units: ``positions`` mm, LPS.
    """

    array: np.ndarray
    positions: list[tuple[float, ...]]

    def same_as(self, written: Dataset, stored: np.ndarray) -> bool:
        """Return whether a written object contains these frames at the right positions.

        Shapes: ``stored`` (F, rows, columns), in the order of the object's frames.
        """
        slices = {_rounded(position): picture for position, picture in zip(self.positions, self.array, strict=True)}
        for group, picture in zip(written.PerFrameFunctionalGroupsSequence, stored, strict=True):
            wanted = slices.get(_rounded(group.PlanePositionSequence[0].ImagePositionPatient))
            if wanted is not None and wanted.ndim == 3:
                wanted = wanted[..., int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber) - 1]
            if wanted is None or not np.array_equal(picture, wanted):
                return False
        return len(stored) == len(self.positions) * (self.array.shape[3] if self.array.ndim == 4 else 1)


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


def image_options(placed: Volume | TiltedFrames) -> dict[str, Any]:
    """Return the pixels of a new image of highdicom and where they lie, a new UID, and the software."""
    from highdicom import UID, PlanePositionSequence

    places = placed.positions if isinstance(placed, TiltedFrames) else None
    return {
        "pixel_array": placed if places is None else placed.array,
        "plane_positions": places and [PlanePositionSequence("PATIENT", place) for place in places],
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


def _orientation(header: Dataset) -> Sequence[float]:
    if "ImageOrientationPatient" in header:
        return [float(x) for x in header.ImageOrientationPatient]
    groups = (*header.get("SharedFunctionalGroupsSequence", []), header.PerFrameFunctionalGroupsSequence[0])
    plane = next(g.PlaneOrientationSequence[0] for g in groups if "PlaneOrientationSequence" in g)
    return [float(x) for x in plane.ImageOrientationPatient]
