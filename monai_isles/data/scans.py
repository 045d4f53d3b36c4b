"""Describe case folders on disk before any check, and read one perfusion series."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from monai_isles.case import Case
from monai_isles.data.grouping import read_subjects
from monai_isles.dicom.read import DicomSeries, read_series
from monai_isles.errors import IslesError, refused
from monai_isles.io.clock import UserTimes, nifti_clock, require_user_times
from monai_isles.io.findings import ERROR, Finding, as_finding, finding, refuse
from monai_isles.io.orientation import from_ras
from monai_isles.io.payload import same_but_packed
from monai_isles.io.read import Image, inspect_image, read_header
from monai_isles.modalities import LABEL, MODALITIES

# findings about other files of a DICOM folder; all others are about the series, and a reader of its maps must know them
_OF_THE_FOLDER = ("E-DCM-30", "E-DCM-31", "E-DCM-32")


@dataclass(frozen=True)
class SeriesInput:
    """Hold a series as it was read.

    Shapes: ``array`` (T, H, W, D) RAS+, ``times_s`` (T,).  Units: HU, s.  ``like`` is the grid of the written maps,
    ``times_from`` the source of the frame times, ``remarks`` lists repairs and derived values; of DICOM, ``tube_kv`` is
    the tube voltage if stated, ``slices`` the file of each slice at the first time, ``frame_of_reference_uid`` its
    frame of reference.
    """

    array: np.ndarray
    times_s: np.ndarray
    like: Image
    times_from: str
    remarks: tuple[str, ...] = ()
    tube_kv: float | None = None
    slices: tuple[Path, ...] = ()
    frame_of_reference_uid: str = ""


def read_perfusion_series(
    path: str | Path, *, dt_s: UserTimes = None, series: str | None = None, slab_mm: float | None = None,
    files: Sequence[Path] = (),
) -> SeriesInput:  # fmt: skip
    """Read a CT perfusion series: a 4D NIfTI file, or a folder with one dynamic DICOM series.

    The options are those of ``read_series``; ``slab_mm`` may be 0.1 to 20.
    """
    path = Path(path)
    require_user_times(dt_s)
    if slab_mm is not None and not (path.is_dir() and 0.1 <= slab_mm <= 20):
        raise refused("E-USE-32", where=str(path), found=f"--slab-mm {slab_mm:g}")
    if path.is_dir():
        found = read_series(path, kind="ctp", dt_s=dt_s, series_uid=series, slab_mm=slab_mm, files=files)
        return dicom_input(found, path)
    require_asked(path, series)
    return _nifti(path, dt_s)


def require_asked(path: Path, series: str | None) -> None:
    """Refuse a NIfTI file where a series is chosen by number or UID, which it lacks, or by another file's name."""
    if series not in (None, path.name):
        raise refused("E-USE-33", where=str(path), found=f"--series {series}")


def _nifti(path: Path, request: UserTimes) -> SeriesInput:
    if path.name.lower().endswith((".nii", ".nii.gz")) and path.is_file():
        header = read_header(path)
        if header.frames is None:
            shape = " x ".join(map(str, header.grid_shape))
            raise refused("E-PERF-09", where=str(path), found=f"{shape} voxels, no time")
    image, result = inspect_image(path, kind="ctp", judge_time=request is None)
    refuse(result)
    assert image is not None  # there is one where nothing was refused
    clock = nifti_clock(path, len(image.data), request)
    like = replace(image, data=image.data[0], dt_s=None, unmeasured=None)
    remarks = (*clock.remarks, *(f"{item.fault}: {item.found}" for item in result))
    return SeriesInput(image.data, clock.times_s[0], like, clock.source, remarks)


def dicom_input(series: DicomSeries, path: Path) -> SeriesInput:
    """Return a DICOM series as a perfusion series; results like it are stored in the slices' own voxel order."""
    first, native = series.array[0], series.native_affine
    like = Image(first, series.affine, series.spacing_mm, path, "", native, from_ras(first, native).shape)
    remarks = tuple(f"{item.fault}: {item.found}" for item in series.findings if item.code not in _OF_THE_FOLDER)
    times, slices = np.asarray(series.times_s, float), tuple(dict.fromkeys(file for file, _ in series.slices))
    about = (series.times_from, remarks, series.tube_kv, slices, series.frame_of_reference_uid)
    return SeriesInput(series.array, times, like, *about)


TRAINING, TESTING = "training", "testing"
SUBJECTS = "subjects.csv"
_ONE_FILE = "give the folder that holds the images of the case; give a 4D series to monai-isles predict-series"
_CONVERT = "convert the images to NIfTI (.nii.gz), under names that end in the modality: p1_ct.nii.gz, p1_cbf.nii.gz"
FOREIGN = re.compile(r"\.(?:nrrd|nhdr|mha|mhd|img|mgz)(?:\.gz)?$", re.IGNORECASE)
_SECTION = re.compile(r"(?:^|[_\- ])(train|test)(?:ing)?(?:[_\- ](?:raw|preprocessed|data|set))?$", re.IGNORECASE)


@dataclass(eq=False)
class Scan:
    """Hold one case as found: files by key, second files of a key, and the mask values that mean lesion.

    ``subject`` is the person named by the layout, None without a name; ``resample`` requests that images on other grids
    are resampled; ``fault`` is the reason why the case cannot be used.
    """

    section: str
    name: str
    files: dict[str, Path] = field(default_factory=dict)
    doubled: dict[str, Path] = field(default_factory=dict)
    label_values: tuple[int, ...] | None = None
    subject: str | None = None
    resample: bool = False
    fault: IslesError | None = None

    def add(self, key: str, path: Path) -> None:
        """Add a file under its key; a second one makes it a duplicate, unless it is the same under gzip."""
        if key not in self.files:
            self.files[key] = path
        elif not same_but_packed(self.files[key], path):
            self.doubled[key] = path

    def doubles(self) -> list[str]:
        """Return each key with two files, and their names."""
        return [f"{key} ({self.files[key].name} and {path.name})" for key, path in self.doubled.items()]

    def lacking(self, keys: Sequence[str]) -> list[str]:
        """Return the keys without a file."""
        return [key for key in keys if key not in self.files]


def section_of(name: str) -> str | None:
    """Return ``training`` or ``testing`` for a folder named so, in any spelling (``ATLAS3_Training_Raw``), or None."""
    match = _SECTION.search(name)
    return match and {"train": TRAINING, "test": TESTING}[match[1].lower()]


def section_in(root: Path, path: Path) -> str:
    """Return the section named by the nearest folder above a file, up to ``root``; training if none is."""
    above = (place.name for place in path.parents if place.is_relative_to(root))
    return next((section for name in above if (section := section_of(name))), TRAINING)


def no_case(folder: Path, *, fix: str | None = None) -> IslesError:
    """Return the error for a folder in which no layout finds a case, or one layout whose ``fix`` is given."""
    if folder.is_file():
        return refused("E-LIST-01", where=str(folder), found="a file, not a folder", fix=_ONE_FILE)
    inside = sorted(folder.iterdir()) if folder.is_dir() else []
    names, files = [p.name for p in inside if p.is_dir()], [p.name for p in inside if p.is_file()]
    if files:
        few = ", ".join(files[:3]) + (", ..." if len(files) > 3 else "")
        names.append(f"{len(files)} files, none of them DICOM or an image whose name ends in a modality: {few}")
    fix = _CONVERT if any(map(FOREIGN.search, files)) else fix
    result = ", ".join([*names[:6], *names[6:][-1:]]) or ("an empty folder" if folder.is_dir() else "no such folder")
    return refused("E-LIST-01", where=str(folder), found=result, fix=fix)


def faults_of(scans: Sequence[Scan], keys: Sequence[str]) -> dict[Scan, Finding]:
    """Return one finding for each unusable case: a duplicate name or modality, a missing key."""
    times = Counter((scan.section, scan.name) for scan in scans)
    findings: dict[Scan, Finding] = {}
    for scan in scans:
        where, lack = f"{scan.section} {scan.name}", scan.lacking(keys)
        if scan.fault is not None:
            findings[scan] = as_finding(scan.fault)
        elif times[scan.section, scan.name] > 1:
            text = f"{times[scan.section, scan.name]} cases"
            findings[scan] = finding("E-LIST-11", ERROR, where=where, found=text)
        elif scan.doubled:
            findings[scan] = finding("E-LIST-13", ERROR, where=where, found=", ".join(scan.doubles()))
        elif lack:
            findings[scan] = finding("E-LIST-02", ERROR, where=where, found=f"no {', '.join(lack)}")
    return {scan: replace(item, case=scan.name) for scan, item in findings.items()}


def only_read(scans: list[Scan], reads: Sequence[str]) -> list[Scan]:
    """Return the scans for one who reads these keys: without other images that are there twice, and lone masks.

    If masks alone are read, a mask that belongs to no image is no fault.
    """
    for scan in scans:
        if list(reads) == [LABEL] and scan.fault is not None and scan.fault.code in ("E-LIST-32", "E-LIST-61"):
            scan.fault = None
        for key in set(scan.doubled) - set(reads):
            del scan.doubled[key]
            scan.files.pop(key, None)
    return [scan for scan in scans if LABEL in reads or set(scan.files) != {LABEL}] or scans


def require_whole(scans: Sequence[Scan], folder: Path, keys: Sequence[str]) -> None:
    """Refuse cases with one of ``faults_of``; the error names all that share the first fault."""
    for scan in scans:
        if scan.fault is not None:
            raise scan.fault
    faults = faults_of(scans, keys).values()
    for code in ("E-LIST-11", "E-LIST-13", "E-LIST-02"):
        texts = dict.fromkeys(f"{item.where}: {item.found}" for item in faults if item.code == code)
        if texts:
            raise refused(code, where=str(folder), found="; ".join(texts))


def as_cases(scans: Sequence[Scan], folder: Path, subjects: Path | None) -> list[Case]:
    """Return the scans as cases; subjects come from the table, else from the layout, else every case is its own."""
    named = subjects_of(scans, folder, subjects)
    return [as_case(scan, named.get((scan.section, scan.name))) for scan in scans]


def subjects_of(scans: Sequence[Scan], folder: Path, subjects: Path | None = None) -> dict[tuple[str, str], str]:
    """Return the subject of every scan that the table names, by default the ``subjects.csv`` of the data folder."""
    # If ``folder`` is a section or a case of that data folder, rows for other cases are not remarked.
    table = subjects or own_table(folder)
    if table is None:
        return {}
    part = subjects is None and table.parent != folder.absolute()
    return read_subjects(table, [(scan.section, scan.name) for scan in scans], part=part)


def own_table(folder: Path) -> Path | None:
    """Return the ``subjects.csv`` of a data folder, of which ``folder`` may be a section or a case; None without."""
    folder = folder.absolute()
    places = [folder]
    while len(places) < 3 and (section_of(places[-1].name) or section_of(places[-1].parent.name)):
        places.append(places[-1].parent)
    return next((place / SUBJECTS for place in places if (place / SUBJECTS).is_file()), None)


def as_case(scan: Scan, subject: str | None = None) -> Case:
    """Return one scan as a case."""
    alone = f"{scan.section}_{scan.name}" if scan.section == TESTING else scan.name
    images = {key: scan.files[key].absolute() for key in MODALITIES if key in scan.files}
    label = scan.files.get(LABEL)
    values, person = scan.label_values if label is not None else None, subject or scan.subject or alone
    return Case(scan.name, person, images, label and label.absolute(), None, values, scan.resample)
