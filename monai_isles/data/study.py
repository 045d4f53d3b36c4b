"""One study as it comes from the scanner: its perfusion series, the plain CT where one fits, the files behind them."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from monai_isles.cohort.task import FAULTS, Record, failed
from monai_isles.data.folder import IMAGE, key_of
from monai_isles.data.scans import SeriesInput, dicom_input, read_perfusion_series
from monai_isles.errors import refused
from monai_isles.io.clock import Asked
from monai_isles.io.findings import collect_remarks
from monai_isles.io.grid import SAME_GRID_VOX, corners_apart_mm, displacement
from monai_isles.io.read import Image, read_header, read_image

AIR_HU = -1024.0
_HEAD_HU, _LEAST_SHARE = -200.0, 0.99


def ct_on_grid(plain: Image, like: Image, *, asked: bool, one_frame: bool) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Return the plain CT (H, W, D) on the grid of the series, None where it is not used, and what must be told.

    On another grid it is resampled (linear, air outside) when the user asked for it or when both have one DICOM frame
    of reference, and only when it covers 99 % of the head in the series; else it is left out, with the distance in mm.

    Args:
        plain: the CT. like: the first frame of the series.
        asked: the user says that they are in register. one_frame: they share a frame of reference.
    Source: ours; ``tests/data/test_plain_ct.py``.
    """
    same_shape = plain.grid_shape == like.grid_shape
    if same_shape and displacement(like.affine, plain.affine, plain.grid_shape).vox < SAME_GRID_VOX:
        return plain.data, ()
    apart = corners_apart_mm(like.affine, like.grid_shape, plain.affine, plain.grid_shape)
    told = f"the plain CT lies on another grid (field-of-view corners {apart:.4g} mm apart)"
    if not (asked or one_frame):
        why = "nobody asked to resample it and no frame of reference says that it is in register"
        return None, (f"{told} and was not used: {why}",)
    moved, inside = _resampled(plain, like)
    head = like.data > _HEAD_HU
    share = float(inside[head].mean() if head.any() else inside.mean())
    if share < _LEAST_SHARE:
        return None, (f"{told} and was not used: it covers {100 * share:.0f} % of the head in the series",)
    reason = "both have one frame of reference" if one_frame else "as asked"
    return moved, (f"{told} and was resampled: {reason}",)


def _resampled(plain: Image, like: Image) -> tuple[np.ndarray, np.ndarray]:
    onto = np.linalg.solve(plain.affine, like.affine)
    moved = ndimage.affine_transform(
        plain.data.astype(np.float32), onto[:3, :3], onto[:3, 3], like.grid_shape, order=1, mode="constant", cval=AIR_HU
    )
    places = np.stack(np.meshgrid(*(np.arange(n) for n in like.grid_shape), indexing="ij"), -1) @ onto[:3, :3].T
    places += onto[:3, 3]
    ends = np.array(plain.grid_shape) - 0.5
    return moved, np.all((places >= -0.5) & (places <= ends), axis=-1)


_REPAIRED = ("E-VAL-13", "E-VAL-16", "E-VAL-18")
_MOST_ABOVE = 4
_NAMED = ("PatientName", "PatientID", "OtherPatientIDs")


@dataclass(frozen=True)
class StudyFiles:
    """What a study consists of, nothing of it read but headers.

    Args:
        name: of its results; says nothing of the patient.
        path: as the user gave it.
        kind: ``nifti`` or ``dicom``.
        series: the 4D file, or the folder.
        files: all files that count, in a fixed order.
        plain: file or DICOM series UID of the plain CT, None without one.
        simulated: the data are the phantom's.
        uid: of the DICOM series that was chosen among several, None where there is one.
    """

    name: str
    path: Path
    kind: str
    series: Path
    files: tuple[Path, ...]
    plain: str | None = None
    simulated: bool = False
    uid: str | None = None

    def sha256(self) -> str:
        """Return one checksum over the content of all files."""
        digest = hashlib.sha256()
        for file in self.files:
            digest.update(hashlib.sha256(file.read_bytes()).digest())
        return digest.hexdigest()

    def absolute(self) -> StudyFiles:
        """Return the same study with absolute paths, for a process that stands in another folder."""
        plain = str(Path(self.plain).absolute()) if self.plain and self.kind == "nifti" else self.plain
        files = tuple(file.absolute() for file in self.files)
        return replace(self, files=files, plain=plain, path=self.path.absolute(), series=self.series.absolute())


@dataclass(frozen=True)
class StudyImages:
    """A study in memory.

    Shapes: ``series.array`` (T, H, W, D), ``plain_ct`` (H, W, D) on its grid.  Units: HU, s.
    Args:
        slices: DICOM files of the first time, one a slice; empty for NIfTI.
        notes: what a reader of the results must know about the plain CT.
    """

    series: SeriesInput
    plain_ct: np.ndarray | None
    slices: tuple[Path, ...]
    notes: tuple[str, ...]


def find_study(path: str | Path, *, series: str | None = None) -> StudyFiles:
    """Return the files of one study: a 4D NIfTI file, a folder with one (and ``ct.nii.gz``), or a DICOM folder.

    Raises:
        IslesError: ``E-SCAN-01`` nothing there, ``E-SCAN-02`` several 4D files, and those of ``find_series``.
    Source: ours; ``tests/data/test_study.py``.
    """
    path = Path(path)
    if not path.exists():
        raise refused("E-SCAN-01", where=str(path), found="no such file or folder")
    if path.is_file():
        return StudyFiles(_plain_name(path), path, "nifti", path, (path,), simulated=_marked(path))
    images = sorted(p for p in path.iterdir() if p.is_file() and IMAGE.search(p.name) and not p.name.startswith("."))
    return _in_folder(path, images) if images else _dicom(path, series)


def find_studies(paths: Sequence[str | Path], *, series: str | None = None) -> dict[str, StudyFiles | Record]:
    """Return every study by the name of its results, in the order given; ``study N``: the record of one not found.

    Raises:
        IslesError: ``E-SCAN-03``.
    Source: ours; ``tests/data/test_study.py``.
    """
    found: list[StudyFiles | Record] = []
    for path in paths:
        try:
            found.append(find_study(path, series=series))
        except FAULTS as error:
            found.append(failed(error))
    names = iter(name_studies([one for one in found if isinstance(one, StudyFiles)]))
    return {
        next(names) if isinstance(one, StudyFiles) else f"study {number}": one
        for number, one in enumerate(found, start=1)
    }


def name_studies(studies: Sequence[StudyFiles]) -> list[str]:
    """Return a name of its own for each study; equal ones take the names of up to four folders above.

    Raises:
        IslesError: ``E-SCAN-03`` when that does not tell them apart.
    """
    names = [study.name for study in studies]
    for above in range(_MOST_ABOVE):
        times = Counter(names)
        names = [n if times[n] == 1 else f"{_above(s, above)}_{n}" for s, n in zip(studies, names, strict=True)]
    twice = [name for name, n in Counter(names).items() if n > 1]
    if twice:
        raise refused(
            "E-SCAN-03",
            where="--from-series",
            found=f"{', '.join(twice[:8])} more than once; results would overwrite each other",
        )
    return names


def read_study(study: StudyFiles, *, dt_s: Asked = None, resample: bool = False) -> StudyImages:
    """Read the series and the plain CT; of one on another grid see ``ct_on_grid``.

    Args:
        dt_s: seconds between frames, or the time of every frame, instead of what the file says.
        resample: the plain CT is in register, by the user's word.
    Raises:
        IslesError: those of ``read_perfusion_series`` and of ``monai_isles.dicom.read.read_series``.
    """
    slices: tuple[Path, ...]
    if study.kind == "nifti":
        series, slices, frame = read_perfusion_series(study.series, dt_s=dt_s), (), ""
    else:
        series, slices, frame = _read_dicom(study.series, dt_s, study.uid)
    if study.plain is None:
        return StudyImages(series, None, slices, ())
    with collect_remarks() as remarks:
        nifti = study.kind == "nifti"
        plain, other = (read_image(study.plain, kind="ct"), "") if nifti else _read_volume(study)
    one_frame = frame != "" and frame == other
    ct, notes = ct_on_grid(plain, series.like, asked=resample, one_frame=one_frame)
    told = [f"plain CT: {one.fault}: {one.found}" for one in remarks if one.code in _REPAIRED]
    return StudyImages(series, ct, slices, (*notes, *told))


def _above(study: StudyFiles, level: int) -> str:
    """Return the name of a folder above a study, a checksum instead where it is called after the patient."""
    folders = list(Path(os.path.abspath(study.path)).parents)
    name = _safe(folders[min(level, len(folders) - 1)].name)
    if study.kind == "dicom" and study.files and _names_patient(name, study.files[0]):
        return "study_" + hashlib.sha256(study.files[0].read_bytes()).hexdigest()[:10]
    return name


def _in_folder(path: Path, images: list[Path]) -> StudyFiles:
    series = [image for image in images if read_header(image).frames is not None]
    if len(series) != 1:
        raise refused("E-SCAN-02", where=str(path), found=f"{len(series)} NIfTI files with time among {len(images)}")
    plain = next((one for one in images if one != series[0] and (key_of(one.name) or ("", ""))[1] == "ct"), None)
    files = (series[0],) if plain is None else (series[0], plain)
    named = None if plain is None else str(plain)
    return StudyFiles(_plain_name(path), path, "nifti", series[0], files, named, _marked(series[0]))


def _dicom(path: Path, series: str | None) -> StudyFiles:
    from monai_isles.dicom.read import find_series

    found = [one for one in find_series(path) if one.usable]
    dynamic = [one for one in found if one.kind == "ctp" and series in (None, one.uid, one.number)]
    still = [one for one in found if one.kind == "ct" and dynamic and one.study_uid == dynamic[0].study_uid]
    plain = still[0] if len(still) == 1 else None
    files = [file for one in (*dynamic, *([plain] if plain else [])) for file in one.files]
    name = _plain_name(path)
    if files and _names_patient(name, files[0]):
        name = "study_" + hashlib.sha256(dynamic[0].uid.encode()).hexdigest()[:10]
    simulated = bool(dynamic) and dynamic[0].description.startswith("SIMULATED")
    uid = plain.uid if plain else None
    return StudyFiles(name, path, "dicom", path, tuple(sorted(files)), uid, simulated, series)


def _read_dicom(path: Path, asked: Asked, uid: str | None) -> tuple[SeriesInput, tuple[Path, ...], str]:
    from monai_isles.dicom.read import read_series

    found = read_series(path, kind="ctp", asked=asked, series_uid=uid)
    slices = tuple(dict.fromkeys(file for file, _ in found.source.slices))
    return dicom_input(found, path), slices, found.source.frame_of_reference_uid


def _read_volume(study: StudyFiles) -> tuple[Image, str]:
    from monai_isles.dicom.read import read_series

    found = read_series(study.series, series_uid=study.plain)
    image = Image(found.array, found.affine, found.spacing_mm, study.path, "", found.affine, found.array.shape)
    return image, found.source.frame_of_reference_uid


def _names_patient(name: str, file: Path) -> bool:
    """Tell whether a folder is called after the patient in its own images."""
    from monai_isles.dicom.header import pydicom_module

    pydicom = pydicom_module()
    with pydicom.config.disable_value_validation():
        header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(_NAMED))
    words = {w for key in _NAMED for w in re.split(r"[^0-9a-z]+", str(header.get(key, "")).lower()) if len(w) >= 3}
    return any(word in name.lower() for word in words)


def _marked(path: Path) -> bool:
    return any((folder / "SIMULATED.txt").is_file() for folder in list(path.resolve().parents)[:4])


def _plain_name(path: Path) -> str:
    """Return a name for results: that of a link, not of what it leads to (git-annex stores files under checksums)."""
    return _safe(IMAGE.sub("", os.path.basename(os.path.abspath(path))))


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name).strip("._")[:80] or "study"
