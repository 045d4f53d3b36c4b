"""Case folders as found on disk, before anybody judges them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from monai_isles.case import Case
from monai_isles.data.subjects import read_subjects
from monai_isles.errors import IslesError
from monai_isles.modalities import LABEL, MODALITIES

TRAINING, TESTING = "training", "testing"
SUBJECTS = "subjects.csv"
_SECTION = re.compile(r"(?:^|[_\- ])(train|test)(?:ing)?$", re.IGNORECASE)


@dataclass
class Scan:
    """One case as found: files by key, the keys that are there twice, and which mask values mean lesion.

    ``subject`` is the person the layout itself names, None where it names nobody; ``resample``, that somebody asked
    for images on other grids to be resampled.
    """

    section: str
    name: str
    files: dict[str, Path] = field(default_factory=dict)
    doubled: list[str] = field(default_factory=list)
    label_values: tuple[int, ...] | None = None
    subject: str | None = None
    resample: bool = False

    def add(self, key: str, path: Path) -> None:
        """Note a file under its key; a second one for the key is noted as doubled."""
        if key in self.files:
            self.doubled.append(key)
        else:
            self.files[key] = path

    def lacking(self, keys: Sequence[str]) -> list[str]:
        """Return the keys without a file."""
        return [key for key in keys if key not in self.files]


def section_of(name: str) -> str | None:
    """Return ``training`` or ``testing`` for a folder named so, in any spelling (``SISS2015_Training``), or None."""
    match = _SECTION.search(name)
    return match and {"train": TRAINING, "test": TESTING}[match[1].lower()]


def image_files(folder: Path) -> Iterator[Path]:
    """Yield the NIfTI files of a case folder and of the folders in it, in the order of their paths."""
    yield from (path for path in sorted([*folder.glob("*.nii*"), *folder.glob("*/*.nii*")]) if path.is_file())


def no_case(folder: Path) -> IslesError:
    """Return the error for a folder in which no layout finds a case."""
    inside = sorted(folder.iterdir()) if folder.is_dir() else []
    names, files = [p.name.lower() for p in inside if p.is_dir()], sum(p.is_file() for p in inside)
    if files:
        names.append(f"{files} files, none of them an image or DICOM with a name that is known")
    return IslesError(
        "E-LIST-01",
        "no case found",
        where=str(folder),
        found=", ".join([*names[:6], *names[6:][-1:]]) or ("an empty folder" if folder.is_dir() else "no such folder"),
        fix="give the folder that holds TRAINING/case_1 and so on (ISLES 2018), TRAINING/1 and so on (ISLES 2015), "
        "or files named <case>_dwi.nii.gz, <case>_flair.nii.gz and so on",
    )


def require_whole(scans: Sequence[Scan], folder: Path, keys: Sequence[str]) -> None:
    """Refuse cases that lack one of ``keys``, or hold one twice, or have one name; all of them are in the error.

    Raises:
        IslesError: ``E-LIST-02``, ``E-LIST-11``, ``E-LIST-13``.
    """
    names = [(scan.section, scan.name) for scan in scans]
    twice = sorted({f"{section} {name}" for section, name in names if names.count((section, name)) > 1})
    if twice:
        raise IslesError(
            "E-LIST-11",
            "case is there twice",
            where=str(folder),
            found="; ".join(twice),
            fix="give every case a name of its own: the number of its folder, or the start of its file names",
        )
    doubled = [f"{scan.section} {scan.name}: {key}" for scan in scans for key in scan.doubled]
    if doubled:
        raise IslesError(
            "E-LIST-13",
            "a modality is there twice",
            where=str(folder),
            found="; ".join(doubled),
            fix="keep one file of each modality in the case folder",
        )
    missing = [f"{scan.section} {scan.name}: {', '.join(lack)}" for scan in scans if (lack := scan.lacking(keys))]
    if missing:
        raise IslesError(
            "E-LIST-02",
            "files are missing",
            where=str(folder),
            found=f"{len(missing)} cases: {'; '.join(missing)}",
            fix="restore these files, or move the cases out of the folder",
        )


def as_cases(scans: Sequence[Scan], folder: Path, subjects: Path | None) -> list[Case]:
    """Return the scans as cases; the table says who is who, else the layout, else every case is its own subject.

    Raises:
        IslesError: ``E-LIST-09`` a table that does not fit.
    """
    table = subjects or (folder / SUBJECTS if (folder / SUBJECTS).is_file() else None)
    named = {} if table is None else read_subjects(table, [(scan.section, scan.name) for scan in scans])
    return [as_case(scan, named.get((scan.section, scan.name))) for scan in scans]


def as_case(scan: Scan, subject: str | None = None) -> Case:
    """Return one scan as a case."""
    alone = f"{scan.section}_{scan.name}" if scan.section == TESTING else scan.name
    images = {key: scan.files[key].absolute() for key in MODALITIES if key in scan.files}
    label = scan.files.get(LABEL)
    values = scan.label_values if label is not None else None
    return Case(
        scan.name, subject or scan.subject or alone, images, label and label.absolute(), None, values, scan.resample
    )
