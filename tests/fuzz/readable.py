"""Tell a file that was refused although two other readers agree on what it holds: a wrong refusal."""

from __future__ import annotations

import gzip
import importlib.util
import warnings
from functools import cache
from pathlib import Path

import nibabel
import numpy as np

from tests.fuzz.truth import checksum_knew

WRONG = "WRONG REFUSAL: two other readers agree on a plausible image"
_BELIEVABLE = {
    "ct": (-1100.0, 3100.0),
    "cbf": (0.0, 500.0),
    "cbv": (0.0, 60.0),
    "mtt": (0.0, 60.0),
    "tmax": (0.0, 60.0),
}
_SPACING_MM, _MOST_APART_VOX, _FACTOR = (0.2, 20.0), 0.05, 3.0
_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def wrongly_refused(key: str, case: Path, base: Path) -> bool:
    """Tell whether a refused case should have been read.

    It should where nibabel and ITK see the same voxels in the same place, no checksum and no second orientation in the
    header speak against them, the values could be such an image's, and the bytes beyond the voxels are no bomb. A file
    on another grid than the case's others stops the case rightly; it must still be read alone.
    """
    from monai_isles.errors import IslesError
    from monai_isles.io import read_image

    _, kind, suffix, _ = key.split("|")
    path, sound = case / f"{kind}{suffix}", base / f"{kind}.nii"
    if not readers_agree(path, sound, kind) or _two_places(path) or _bomb(path):
        return False
    if same_grid(_by_nibabel(path), _by_nibabel(sound), 0.5):
        return True
    try:
        read_image(path, kind=kind)
    except IslesError:
        return True
    return False


# what decides the voxels, the place and the time of a DICOM picture
_FACTS = (
    "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Modality", "ImageType",
    "InstanceNumber", "AcquisitionNumber", "AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime", "ContentTime",
    "ContentDate", "TriggerTime", "FrameReferenceTime", "TemporalPositionIdentifier", "TemporalResolution",
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices",
    "GantryDetectorTilt", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue", "RescaleSlope",
    "RescaleIntercept", "RescaleType", "SeriesNumber", "SeriesDescription", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)  # fmt: skip


_END = 64


def study_wrongly_refused(case: Path, sound: Path) -> bool:
    """Tell whether a refused DICOM study should have been read.

    It should where pydicom and ITK read the damaged file, find the voxels of the sound one in the same place, and all
    that decides these, their place and their time says what it said: then nothing that counts is damaged. A file that
    ends otherwise than before is refused rightly: bytes were put in or lost, and without a checksum nobody knows where.

    Args:
        case: the study, one file of it damaged. sound: the same study before.
    """
    files = [path for path in sorted(case.iterdir()) if path.read_bytes() != (sound / path.name).read_bytes()]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return all(_same_picture(path, sound / path.name) for path in files)
    except Exception:  # a reader that cannot read a damaged file says so in many ways
        return False


def _same_picture(path: Path, sound: Path) -> bool:
    import pydicom

    if path.read_bytes()[-_END:] != sound.read_bytes()[-_END:]:
        return False
    with pydicom.config.disable_value_validation():
        ours, before = pydicom.dcmread(path), pydicom.dcmread(sound)
        if any(str(ours.get(name)) != str(before.get(name)) for name in _FACTS):
            return False
        if not np.array_equal(ours.pixel_array, before.pixel_array):
            return False
    theirs, wanted = _itk_parts(path), _itk_parts(sound)
    return all(np.array_equal(one, other) for one, other in zip(theirs, wanted, strict=True))


def readers_agree(path: Path, sound: Path, kind: str) -> bool:
    """Tell whether nibabel and ITK read one image from a file, and whether it could be one of this kind."""
    try:
        ours, wanted = _by_nibabel(path), _by_nibabel(sound)
        if ours is None or not _plausible(*ours, wanted[0], kind):
            return False
        theirs = _by_itk(path)
    except Exception:  # a reader that cannot read a damaged file says so in many ways
        return False
    return same_grid(ours, theirs, _MOST_APART_VOX) and np.allclose(ours[0], theirs[0], rtol=1e-4, atol=1e-4) and not (
        path.name.endswith(".gz") and checksum_knew(path)
    )  # fmt: skip


def _two_places(path: Path) -> bool:
    """Tell whether sform and qform are both stated and half a voxel or more apart, or a code is negative."""
    image = nibabel.load(path)
    stored = nibabel.Nifti1Header(_raw(path)[:348], check=False)  # loading an image sets strange codes to 0
    if min(int(stored["sform_code"]), int(stored["qform_code"])) < 0:
        return True
    try:
        forms = [form for form in (image.get_sform(coded=True)[0], image.get_qform(coded=True)[0]) if form is not None]
    except (ValueError, nibabel.spatialimages.HeaderDataError):  # a quaternion longer than 1 states another place
        return True
    if len(forms) < 2 or not np.isfinite(forms).all():
        return False
    voxels = np.empty(image.shape[:3])
    return not same_grid((voxels, forms[0]), (voxels, forms[1]), 0.5)


def _bomb(path: Path) -> bool:
    """Tell whether a file holds more than 64 MiB besides its voxels: refused for what it costs."""
    image = nibabel.load(path)
    return len(_raw(path)) - int(np.prod(image.shape)) * image.get_data_dtype().itemsize > 2**26


def _raw(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.name.endswith(".gz") else path.read_bytes()


def same_grid(one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray], most_vox: float) -> bool:
    """Tell whether two images have one shape, and corners no farther apart than so many voxels."""
    if one[0].shape != other[0].shape:
        return False
    ends = np.array([[*np.array(corner) * (np.array(one[0].shape) - 1), 1] for corner in np.ndindex(2, 2, 2)])
    apart = np.linalg.norm((ends @ (one[1] - other[1]).T)[:, :3], axis=1).max()
    return bool(apart <= most_vox * np.linalg.norm(one[1][:3, :3], axis=0).min())


def _plausible(data: np.ndarray, affine: np.ndarray, sound: np.ndarray, kind: str) -> bool:
    low, high = _BELIEVABLE[kind]
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    believed = np.isfinite(data).all() and np.isfinite(affine).all() and data.size and low <= data.min() < data.max()
    usual = float(np.median(sound))
    return bool(
        believed and data.max() <= high and usual / _FACTOR <= np.median(data) <= usual * _FACTOR
        and _SPACING_MM[0] <= spacing.min() and spacing.max() <= _SPACING_MM[1]
    )  # fmt: skip


def _by_nibabel(path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Return voxels and affine of a single volume as nibabel reads it, None for a series."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = nibabel.load(path)
        data = np.asarray(image.get_fdata(dtype=np.float64))
    while data.ndim > 3 and data.shape[-1] == 1:
        data = data[..., 0]
    return (data.reshape(*data.shape, *[1] * (3 - data.ndim)), image.affine) if data.ndim <= 3 else None


def _by_itk(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the same by SimpleITK where it is installed, else by ITK; both turned to RAS."""
    data, direction, spacing, origin = _itk_parts(path)
    affine, count = np.eye(4), min(3, len(spacing))
    affine[:count, :count] = np.reshape(direction, (len(spacing),) * 2)[:count, :count] * np.asarray(spacing)[:count]
    affine[:count, 3] = np.asarray(origin)[:count]
    data = np.asarray(data, float).transpose()
    while data.ndim > 3 and data.shape[-1] == 1:
        data = data[..., 0]
    return data.reshape(*data.shape, *[1] * (3 - data.ndim)), _LPS @ affine


def _itk_parts(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    reader = itk_reader()
    if reader.__name__ == "SimpleITK":
        image = reader.ReadImage(str(path))
        if image.GetNumberOfComponentsPerPixel() != 1:
            raise ValueError("several numbers a voxel")
        data = reader.GetArrayFromImage(image)
        return data, np.array(image.GetDirection()), np.array(image.GetSpacing()), np.array(image.GetOrigin())
    image = reader.imread(str(path), reader.F)
    direction = reader.array_from_matrix(image.GetDirection())
    return reader.array_from_image(image), direction, np.array(image.GetSpacing()), np.array(image.GetOrigin())


@cache
def itk_reader():
    """Return SimpleITK, or ITK where that is not installed; their warnings are not shown."""
    if importlib.util.find_spec("SimpleITK"):
        import SimpleITK as reader

        reader.ProcessObject.SetGlobalWarningDisplay(False)
    else:
        import itk as reader
    return reader
