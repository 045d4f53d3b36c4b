"""Write a simulated scan as DICOM: classic or enhanced, with a still or a shuttled table; the patient is simulated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from monai_isles import __version__
from monai_isles.dicom.header import pydicom_module
from monai_isles.errors import refused
from monai_isles.phantom.atlas import TABLES
from monai_isles.phantom.ct.scan import CaseArrays

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

FORMS = ("classic", "shuttle", "enhanced")
AIR_HU = -1024
_START_S = 10 * 3600
_DAY = "20000101"
_UNITS = {"cbf": "ml/100g/min", "cbv": "ml/100g", "mtt": "s", "tmax": "s", "ttp": "s"}


@dataclass(frozen=True)
class Picture:
    """Hold one slice at one time: stored pixels (rows, columns), slice number, microseconds since the start."""

    pixels: np.ndarray
    place: int
    time_us: int


def write_dicom(case: CaseArrays, folder: str | Path, *, form: str = "classic") -> Path:
    """Write the plain CT, the contrast series and the maps of a case, one folder each; return the folder.

    HU are stored with intercept -1024, maps as 16-bit numbers with their own slope, so their error is at most half a
    slope; padding becomes air and 0. The patient is simulated, without real names; equal cases give equal files.

    Args:
        form: of the contrast series. ``classic``: one file per slice and frame. ``enhanced``: one file. ``shuttle``:
            the table alternates between the lower half (even frames) and the upper half (odd frames).
    Raises: ``E-DCM-01`` no pydicom, ``E-PHAN-20`` no such form, ``E-PHAN-21`` a folder that is not empty.
    """
    folder = Path(folder)
    require_form(form)
    if folder.exists() and any(folder.iterdir()):
        raise refused("E-PHAN-21", where=str(folder), found="it is not empty")
    scan = _Scan(case, form)
    scan.write_series(folder / "ctp", 3, "CT perfusion", scan.frames(), enhanced=form == "enhanced")
    scan.write_series(folder / "ct", 2, "plain CT", scan.still(np.maximum(case.images["ct"], AIR_HU) - AIR_HU))
    for number, key in enumerate((key for key in _UNITS if key in case.images), start=10):
        image = np.maximum(np.nan_to_num(case.images[key]), 0)
        slope = max(float(image.max()), 1e-3) / 60000.0
        stored = np.rint(image / slope)
        scale = {"RescaleSlope": f"{slope:.10g}", "RescaleIntercept": "0", "RescaleType": _UNITS[key]}
        scan.write_series(folder / key, number, f"{key.upper()} map", scan.still(stored), scale=scale, map_of=key)
    return folder


def require_form(form: str, kind: str = "ct") -> None:
    """Refuse data that cannot be written as DICOM, before the simulation."""
    pydicom_module()
    if form not in FORMS:
        raise refused("E-PHAN-20", where="form", found=repr(form), forms=", ".join(FORMS))
    if kind != "ct":
        raise refused("E-PHAN-22", where="dicom", found=f"kind {kind}")


class _Scan:
    """Hold one scan's identity and geometry, and its pictures."""

    def __init__(self, case: CaseArrays, form: str) -> None:
        self.case = case
        self.seed = f"{form} {case.truth.get('level_mm')} {case.spacing_mm} {case.ctp.shape} {int(case.ctp.sum())}"
        half = (np.array(case.label.shape) - 1) / 2 * np.array(case.spacing_mm)
        level = float(cast(float, case.truth.get("level_mm", 0.0)))
        self.origin_mm = np.round([-half[0] - case.centre_mm[0], -half[1] - case.centre_mm[1], level - half[2]], 3)
        self.shuttle = form == "shuttle"

    def uid(self, *what: object) -> str:
        return pydicom_module().uid.generate_uid(entropy_srcs=[self.seed, *map(str, what)])

    def still(self, image: np.ndarray) -> list[Picture]:
        """Return a volume (H, W, D) of stored numbers as pictures of one time."""
        return [Picture(_rows(image[:, :, k]), k, 0) for k in range(image.shape[2])]

    def frames(self) -> Iterator[Picture]:
        """Yield the contrast series in order of time; for a shuttled table the half in the beam, in complete rounds."""
        depth, count = self.case.label.shape[2], len(self.case.ctp)
        for t, volume in enumerate(self.case.ctp[: count - count % 2 if self.shuttle else count]):
            halves = (range(depth // 2), range(depth // 2, depth))
            for k in halves[t % 2] if self.shuttle else range(depth):
                yield Picture(_rows(volume[:, :, k].astype(np.int32) - AIR_HU), k, round(t * self.case.dt_s * 1e6))

    def write_series(
        self, folder: Path, number: int, title: str, pictures: Sequence[Picture] | Iterator[Picture], *,
        enhanced: bool = False, scale: Mapping[str, str] | None = None, map_of: str = "",
    ) -> None:  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        scale = scale or {"RescaleSlope": "1", "RescaleIntercept": str(AIR_HU), "RescaleType": "HU"}
        common = self._common(number, title, map_of)
        if enhanced:
            image = self._enhanced_image(common, list(pictures), scale)
            _save(image, folder / "IM0001", self.uid(number, 0), "EnhancedCTImageStorage")
            return
        for key, value in scale.items():
            setattr(common, key, value)
        for n, picture in enumerate(pictures):
            common.InstanceNumber = n + 1
            common.ImagePositionPatient = self._position(picture)
            common.SliceLocation = common.ImagePositionPatient[2]
            common.AcquisitionNumber = round(picture.time_us / (self.case.dt_s * 1e6)) + 1
            common.AcquisitionTime = common.ContentTime = _clock(picture.time_us)
            common.PixelData = picture.pixels.tobytes()
            _save(common, folder / f"IM{n + 1:05d}", self.uid(number, n), "CTImageStorage")

    def _position(self, picture: Picture) -> list[str]:
        place = self.origin_mm + [0.0, 0.0, picture.place * self.case.spacing_mm[2]]
        return [f"{item:.10g}" for item in place]

    def _common(self, number: int, title: str, map_of: str) -> Dataset:
        x_mm, y_mm, z_mm = self.case.spacing_mm
        return _item(
            **TABLES["dicom"]["common"], StudyDate=_DAY, AcquisitionDate=_DAY, ContentDate=_DAY, StudyTime=_clock(0),
            StudyInstanceUID=self.uid("study"), SeriesInstanceUID=self.uid("series", number), SeriesNumber=number,
            FrameOfReferenceUID=self.uid("frame"), SeriesDescription=f"SIMULATED {title}",
            ImageType=["DERIVED", "SECONDARY", "AXIAL", map_of.upper()] if map_of else ["ORIGINAL", "PRIMARY", "AXIAL"],
            Rows=self.case.label.shape[1], Columns=self.case.label.shape[0],
            PixelSpacing=[f"{y_mm:.10g}", f"{x_mm:.10g}"], SliceThickness=f"{z_mm:.10g}",
        )  # fmt: skip

    def _enhanced_image(self, header: Dataset, pictures: Sequence[Picture], scale: Mapping[str, str]) -> Dataset:
        """Return the series as one Enhanced CT Image: every attribute and macro of PS3.3 A.38.1 that is required."""
        shared = _item(
            PixelMeasuresSequence=[_item(PixelSpacing=header.PixelSpacing, SliceThickness=header.SliceThickness)],
            PixelValueTransformationSequence=[_item(**scale)],
            IrradiationEventIdentificationSequence=[_item(IrradiationEventUID=self.uid("exposure"))],
            **TABLES["dicom"]["scanner"],
        )
        shape, (x_mm, y_mm, z_mm) = self.case.label.shape, map(float, self.case.spacing_mm)
        details, made = shared.CTAcquisitionDetailsSequence[0], shared.CTReconstructionSequence[0]
        details.SingleCollimationWidth, details.TotalCollimationWidth = z_mm, z_mm * shape[2]
        made.ReconstructionDiameter, made.ReconstructionPixelSpacing = x_mm * shape[0], [y_mm, x_mm]
        header.SharedFunctionalGroupsSequence = [shared]
        times = sorted({picture.time_us for picture in pictures})
        header.PerFrameFunctionalGroupsSequence = [self._group(item, times.index(item.time_us)) for item in pictures]
        for key in _IN_GROUPS:
            delattr(header, key)
        for key, value in (TABLES["dicom"]["enhanced"] | self._dimensions()).items():
            setattr(header, key, value)
        header.SoftwareVersions = __version__
        header.NumberOfFrames, header.InstanceNumber = len(pictures), 1
        header.AcquisitionDateTime, header.ContentTime = _DAY + _clock(0), _clock(0)
        header.AcquisitionDuration = (times[-1] - times[0]) / 1e6 + _REVOLUTION_S
        header.RepetitionTime = f"{self.case.dt_s * 1e3:.10g}"  # from here alone dcm2niix takes the time of a frame
        header.PixelData = b"".join(picture.pixels.tobytes() for picture in pictures)
        return header

    def _dimensions(self) -> dict[str, object]:
        """Return the dimensions of ``DimensionIndexValues``: time, then place in the stack."""
        uid = self.uid("dimensions")
        group: dict[str, object] = {"DimensionOrganizationUID": uid, "FunctionalGroupPointer": "FrameContentSequence"}
        pointers = (("InStackPositionNumber", "Slice"), ("TemporalPositionIndex", "Time"))
        index = [_item(DimensionIndexPointer=key, DimensionDescriptionLabel=label, **group) for key, label in pointers]
        return {
            "DimensionOrganizationSequence": [_item(DimensionOrganizationUID=uid)],
            "DimensionOrganizationType": "3D_TEMPORAL",
            "DimensionIndexSequence": index,
        }

    def _group(self, picture: Picture, t: int) -> Dataset:
        """Return the groups of one frame; with the orientation among them, Debian's dcm2niix keeps their order."""
        at = _DAY + _clock(picture.time_us)
        content = _item(
            FrameAcquisitionDateTime=at, FrameReferenceDateTime=at, FrameAcquisitionDuration=_REVOLUTION_S * 1e3,
            FrameAcquisitionNumber=t + 1, StackID="1", InStackPositionNumber=picture.place + 1,
            TemporalPositionIndex=t + 1, DimensionIndexValues=[picture.place + 1, t + 1],
        )  # fmt: skip
        place = _item(ImagePositionPatient=self._position(picture))
        middle = [0.0, 0.0, float(self._position(picture)[2])]
        table = _item(
            TablePosition=middle[2], DataCollectionCenterPatient=middle, ReconstructionTargetCenterPatient=middle
        )
        plane = _item(ImageOrientationPatient=TABLES["dicom"]["common"]["ImageOrientationPatient"])
        return _item(
            FrameContentSequence=[content], PlanePositionSequence=[place], PlaneOrientationSequence=[plane],
            CTPositionSequence=[table],
        )  # fmt: skip


_REVOLUTION_S = 1.0
_IN_GROUPS = (
    "PixelSpacing", "SliceThickness", "ImageOrientationPatient", "GantryDetectorTilt", "KVP", "AcquisitionDate",
)  # fmt: skip


def _item(**values: Any) -> Dataset:
    """Return a data set; a list of tables becomes a sequence of data sets."""
    made = pydicom_module().Dataset()
    for key, value in values.items():
        tables = isinstance(value, list) and any(isinstance(part, dict) for part in value)
        setattr(made, key, [_item(**table) for table in value] if tables else value)
    return made


def _rows(plane: np.ndarray) -> np.ndarray:
    """Return a RAS+ plane (H, W) in DICOM order: rows to the back, columns to the patient's left."""
    return np.ascontiguousarray(plane[::-1, ::-1].T).astype("<u2")


def _clock(time_us: int) -> str:
    seconds, remainder = divmod(_START_S * 1_000_000 + time_us, 1_000_000)
    return f"{seconds // 3600:02d}{seconds // 60 % 60:02d}{seconds % 60:02d}.{remainder:06d}"


def _save(header: Dataset, path: Path, uid: str, sop_class: str) -> None:
    known, meta = pydicom_module().uid, pydicom_module().dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = header.SOPClassUID = getattr(known, sop_class)
    meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID = uid
    meta.TransferSyntaxUID = known.ExplicitVRLittleEndian
    header.file_meta = meta
    header.save_as(path, enforce_file_format=True)
