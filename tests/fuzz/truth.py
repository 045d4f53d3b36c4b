"""Sound images to damage, and what an independent reader makes of a damaged one that was accepted."""

from __future__ import annotations

import gzip
import warnings
import zlib
from collections import Counter
from pathlib import Path

import nibabel
import numpy as np

BASE_KEYS = ("ct", "cbf", "cbv", "mtt", "tmax")
SAME, AS_SAID, ALTERED = (
    "accepted: the same image",
    "accepted: as the header says",
    "accepted: changed voxels, no checksum",
)
_AIR_HU = -1024.0  # padding below it is read as air
_PERFUSION = ("cbf", "cbv", "mtt", "tmax")


def base_images(folder: Path) -> Path:
    """Write one sound case of tiny images, two of them 16-bit with a scale; return the folder."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    affine = np.array([[-1.5, 0, 0, 9], [0, 1.2, 0.01, -7], [0, -0.01, 6.0, 30], [0, 0, 0, 1]])
    affine[:3, 1:3] = _at_right_angles(affine[:3, 1], affine[:3, 2])
    tops = {"ct": 60.0, "cbf": 80.0, "cbv": 6.0, "mtt": 9.0, "tmax": 12.0}
    for key, top in tops.items():
        data = rng.uniform(1, top, (12, 10, 3)).astype(np.float32)
        stored = np.rint(data * 100).astype(np.int16) if key in ("ct", "mtt") else data
        image = nibabel.Nifti1Image(stored, affine)
        image.set_sform(affine, 1)
        image.set_qform(affine, 1)
        image.header.set_xyzt_units("mm", "sec")
        raw = bytearray(image.to_bytes())
        if stored.dtype == np.int16:
            raw[112:116] = np.float32(0.01).tobytes()
        (folder / f"{key}.nii").write_bytes(bytes(raw))
    return folder


def _at_right_angles(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    second = second - first * (first @ second) / (first @ first)
    return np.stack([first, second], axis=1)


def base_study(folder: Path) -> dict[str, Path]:
    """Write a tiny CT perfusion series in four forms: classic, implicit, packed (RLE), enhanced; folders by form."""
    import pydicom

    from monai_isles.phantom.ct.scan import CaseArrays
    from monai_isles.phantom.dicom_writer import write_dicom

    rng = np.random.default_rng(0)
    series = rng.integers(-1000, 200, (5, 12, 10, 2)).astype(np.int16)
    zeros = np.zeros((12, 10, 2), np.float32)
    images = {"ct": series[0]}
    scan = CaseArrays(images, series, zeros > 0, (0.9, 0.8, 5.0), 1.5, {"level_mm": 12.34})
    forms = {}
    for form in ("classic", "enhanced"):
        write_dicom(scan, folder / form, form=form)
        forms[form] = folder / form / "ctp"
    for form in ("implicit", "packed"):
        forms[form] = folder / form
        forms[form].mkdir()
        for path in sorted(forms["classic"].iterdir()):
            image = pydicom.dcmread(path)
            if form == "packed":
                image.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
                image.save_as(forms[form] / path.name, enforce_file_format=True)
            else:
                image.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
                image.save_as(forms[form] / path.name, implicit_vr=True, little_endian=True, enforce_file_format=True)
    return forms


def nifti_verdict(key: str, case: Path, base: Path) -> str:
    """Say what an accepted file is: the same image, what its bytes say, or wrong.

    A compressed file whose bytes were changed after compression must come back as it was: its checksum says so. A file
    that is changed before compression, or never compressed, has no checksum: it must come back as nibabel reads it.
    """
    from monai_isles.io import read_image

    _, kind, suffix, _ = key.split("|")
    path = case / f"{kind}{suffix}"
    ours, sound = read_image(path, kind=kind), read_image(base / f"{kind}.nii", kind=kind)
    if ours.data.shape == sound.data.shape and np.array_equal(ours.data, sound.data):
        if np.abs(ours.affine - sound.affine).max() <= 1e-3:
            return SAME
    if suffix == ".nii.gz" and checksum_knew(path):
        return "WRONG ACCEPT: another image under a compressed file's checksum"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = nibabel.as_closest_canonical(nibabel.load(path))
            theirs = np.asarray(image.get_fdata(dtype=np.float64))
    except Exception as error:
        return f"WRONG ACCEPT: the other reader refuses ({type(error).__name__}: {str(error)[:80]})"
    flat = ours.data.min() == ours.data.max()  # a flat image is remarked and kept as it is
    theirs = np.maximum(theirs, 0 if kind in _PERFUSION else _AIR_HU) if not flat else theirs
    theirs = theirs.reshape(ours.data.shape) if theirs.size == ours.data.size else theirs
    if theirs.shape != ours.data.shape or not np.allclose(theirs, ours.data, rtol=1e-4, atol=1e-4):
        return "WRONG ACCEPT: the other reader sees other voxels"
    if np.abs(image.affine - ours.affine).max() > 1e-2:
        return "WRONG ACCEPT: the other reader sees another place"
    raw = gzip.decompress(path.read_bytes()) if suffix == ".nii.gz" else path.read_bytes()
    return ALTERED if raw[352:] != (base / f"{kind}.nii").read_bytes()[352:] else AS_SAID


def checksum_knew(path: Path) -> bool:
    """Tell whether the stream is not what its own checksum says, by zlib alone."""
    stored, out = path.read_bytes(), b""
    while stored:
        unpack = zlib.decompressobj(31)
        try:
            out += unpack.decompress(stored)
        except zlib.error:
            return True
        if not unpack.eof:
            return True
        stored = unpack.unused_data.lstrip(b"\0")
    return gzip.decompress(path.read_bytes()) != out


def study_verdict(key: str, case: Path, studies: dict[str, Path]) -> str:
    """Say what an accepted study is: the same series, what its bytes say, or wrong; DICOM holds no checksum."""
    from monai_isles.dicom.read import read_series

    form = key.split("|")[1]
    ours, sound = read_series(case, kind="ctp"), read_series(studies[form], kind="ctp")
    same_place = np.allclose(ours.affine, sound.affine, atol=1e-3)
    if ours.array.shape == sound.array.shape and np.array_equal(ours.array, sound.array) and same_place:
        return SAME if np.allclose(ours.times_s, sound.times_s) else AS_SAID
    told = {one.code for one in ours.findings}
    ends = (sound.array[:-1], sound.array[1:])
    if "E-DCM-61" in told and any(np.array_equal(ours.array, rest) for rest in ends) and same_place:
        return AS_SAID  # a file of the first or last pass is no slice of it any more: it is left out, and that is told
    theirs = _pictures(case)
    mine = Counter(np.sort(picture, axis=None).astype(np.float32).tobytes() for picture in _slices(ours.array))
    if ours.array.size != sound.array.size:
        return f"WRONG ACCEPT: {ours.array.shape} of {sound.array.shape}"
    if mine != theirs:
        return "WRONG ACCEPT: the other reader sees other pixels"
    return ALTERED if same_place else AS_SAID


def _slices(array: np.ndarray) -> list[np.ndarray]:
    return [array[t, :, :, d] for t in range(array.shape[0]) for d in range(array.shape[3])]


def _pictures(case: Path) -> Counter:
    import pydicom

    found: Counter = Counter()
    for path in sorted(case.iterdir()):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                image = pydicom.dcmread(path)
                pixels = np.atleast_3d(image.pixel_array) if image.get("NumberOfFrames") is None else image.pixel_array
        except Exception:
            continue
        pixels = np.moveaxis(pixels, -1, 0) if image.get("NumberOfFrames") is None else pixels
        scale = image
        if "SharedFunctionalGroupsSequence" in image:
            scale = image.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence[0]
        values = pixels.astype(np.float64) * float(scale.RescaleSlope) + float(scale.RescaleIntercept)
        found.update(np.sort(picture, axis=None).astype(np.float32).tobytes() for picture in values)
    return found
