"""The ISLES 2018 folder layout: ``TRAINING/case_N/SMIR.Brain.XX.O.<KEY>.<id>/SMIR.Brain.XX.O.<KEY>.<id>.nii``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from monai_isles.case import Case
from monai_isles.data.subjects import read_subjects
from monai_isles.errors import IslesError
from monai_isles.modalities import CT_CHANNELS, LABEL

TRAINING, TESTING = "training", "testing"
KEYS = {
    "CT": "ct", "CT_CBF": "cbf", "CT_CBV": "cbv", "CT_MTT": "mtt", "CT_TMAX": "tmax", "CT_4DPWI": "ctp",
    "MR_DWI": "dwi", "OT": LABEL,
}  # fmt: skip
SUBJECTS = "subjects.csv"
_NAME = re.compile(r"\.O\.([A-Za-z0-9_]+)\.[^.]+\.nii(?:\.gz)?$")
_CASE = re.compile(r"case_(\d+)$", re.IGNORECASE)


@dataclass
class Scan:
    """One case folder as found: files by key, and what is wrong with it."""

    section: str
    name: str
    files: dict[str, Path] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)


def scan_folder(folder: str | Path) -> list[Scan]:
    """Return every case folder below ``TRAINING`` and ``TESTING`` (any spelling of case), in numeric order.

    Raises:
        IslesError: ``E-LIST-01`` when there is no case.
    """
    folder = Path(folder)
    sections = {p.name.lower(): p for p in sorted(folder.iterdir()) if p.is_dir()} if folder.is_dir() else {}
    scans = [
        _scan(section, case)
        for section in (TRAINING, TESTING)
        if section in sections
        for case in _cases(sections[section])
    ]
    if not scans:
        found = ", ".join(sorted(sections)[:6]) or ("an empty folder" if folder.is_dir() else "no such folder")
        raise IslesError(
            "E-LIST-01",
            "no case found",
            where=str(folder),
            found=found,
            fix="give the folder that holds TRAINING/case_1 and so on (ISLES 2018 layout)",
        )
    return scans


def find_cases(folder: str | Path, *, subjects: Path | None = None, section: str | None = None) -> list[Case]:
    """Return the cases of a folder in the ISLES 2018 layout, training before testing.

    Args:
        subjects: table with columns ``case,subject`` (and ``section`` where it matters); ``subjects.csv`` of the folder
            unless told; without either every case is its own subject (``data.datalist`` groups by evidence).
        section: ``training`` or ``testing``; both unless told.
    Raises:
        IslesError: ``E-LIST-01`` no case, ``E-LIST-02`` missing files (all of them), ``E-LIST-13`` two files for one
            modality, ``E-LIST-09`` a table that does not fit.
    """
    folder = Path(folder)
    scans = scan_folder(folder)
    require_whole(scans, folder)
    table = subjects or (folder / SUBJECTS if (folder / SUBJECTS).is_file() else None)
    names = {} if table is None else read_subjects(table, [(scan.section, scan.name) for scan in scans])
    return [
        Case(scan.name, names.get((scan.section, scan.name), _alone(scan)), _images(scan), scan.files.get(LABEL))
        for scan in scans
        if section in (None, scan.section)
    ]


def read_case(folder: str | Path) -> Case | None:
    """Return the case of one case folder, None when the folder itself holds no image.

    Raises:
        IslesError: ``E-LIST-02`` when modalities are missing, ``E-LIST-13`` when one is there twice.
    """
    scan = _scan("input", Path(folder).absolute())
    if not scan.files:
        return None
    require_whole([scan], Path(folder))
    return Case(scan.name, scan.name, _images(scan), scan.files.get(LABEL))


def require_whole(scans: list[Scan], folder: Path) -> None:
    """Refuse cases that lack a modality or hold one twice; every one of them is in the error."""
    doubled = [f"{scan.section} {scan.name}: {key}" for scan in scans for key in scan.doubled]
    if doubled:
        raise IslesError(
            "E-LIST-13",
            "a modality is there twice",
            where=str(folder),
            found="; ".join(doubled),
            fix="keep one file of each modality in the case folder",
        )
    missing = [f"{scan.section} {scan.name}: {', '.join(scan.missing)}" for scan in scans if scan.missing]
    if missing:
        raise IslesError(
            "E-LIST-02",
            "files are missing",
            where=str(folder),
            found=f"{len(missing)} cases: {'; '.join(missing)}",
            fix="restore these files, or move the cases out of the folder",
        )


def _scan(section: str, case: Path) -> Scan:
    scan, case = Scan(section, case.name), case.absolute()
    for path in sorted([*case.glob("*.nii*"), *case.glob("*/*.nii*")]):
        match = _NAME.search(path.name)
        key = KEYS.get(match[1].upper()) if match and path.is_file() else None
        if key in scan.files:
            scan.doubled.append(key)
        elif key is not None:
            scan.files[key] = path
    scan.missing = [key for key in CT_CHANNELS if key not in scan.files]
    return scan


def _cases(section: Path) -> list[Path]:
    numbered = [(int(match[1]), p) for p in section.iterdir() if p.is_dir() and (match := _CASE.match(p.name))]
    return [p for _, p in sorted(numbered)]


def _images(scan: Scan) -> dict[str, Path]:
    return {key: scan.files[key].absolute() for key in KEYS.values() if key in scan.files and key != LABEL}


def _alone(scan: Scan) -> str:
    return scan.name if scan.section == TRAINING else f"{scan.section}_{scan.name}"
