"""The ISLES 2015 folder layouts, SISS and SPES: ``TRAINING/<n>/VSD.Brain.XX.O.MR_<KEY>.<id>/...nii``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from monai_isles.data.scans import TESTING, TRAINING, Scan, image_files, no_case, section_of
from monai_isles.errors import refused
from monai_isles.modalities import LABEL

KEYS = {
    "T1": "t1", "T2": "t2", "FLAIR": "flair", "DWI": "dwi", "T1C": "t1c", "CBF": "cbf", "CBV": "cbv", "TTP": "ttp",
    "TMAX": "tmax", "MTT": "mtt", "ADC": "adc",
}  # fmt: skip
SPES_TARGETS: dict[str, tuple[int, ...]] = {"penumbra": (1,), "core": (2,), "area": (1, 2)}
_NAME = re.compile(r"\.O\.(MR_[A-Za-z0-9]+|OT)(?:_[A-Za-z0-9]+)?\.(?:[^.]+\.)?nii(?:\.gz)?$", re.IGNORECASE)
_PART = re.compile(r"(?<![a-z])(penumbra|core)(?![a-z])", re.IGNORECASE)
_CASE = re.compile(r"(?:(?:case|nr|patient)[_\- ]?)?0*(\d+)$", re.IGNORECASE)


def key_of(name: str) -> str | None:
    """Return the modality key of a file name, ``label`` for a lesion mask, None for every other file."""
    match = _NAME.search(name)
    if match is None:
        return None
    return LABEL if match[1].upper() == "OT" else KEYS.get(match[1].upper().removeprefix("MR_"))


def number_of(name: str) -> int | None:
    """Return the number of a case folder's name, None where it has none."""
    match = _CASE.match(name)
    return int(match[1]) if match else None


def numbered(folder: Path) -> list[tuple[int, Path]]:
    """Return the folders named by a number (``1``, ``case_1``, ``Nr01``) with it, in its order."""
    found = [(number_of(p.name), p) for p in folder.iterdir() if p.is_dir()]
    return sorted((number, p) for number, p in found if number is not None)


def scan_siss(folder: Path, target: str | None = None) -> list[Scan]:
    """Return the cases of a SISS folder; the mask is one file of 0 and 1, there is no target to choose.

    Raises:
        IslesError: ``E-LIST-01`` when there is no case.
    """
    return [scan_case(case, f"case_{number}", section) for section, number, case in _folders(folder)]


def scan_spes(folder: Path, target: str | None = "penumbra") -> list[Scan]:
    """Return the cases of a SPES folder, the mask chosen by ``target``.

    One mask file holds 0 background, 1 penumbra, 2 core: ``penumbra`` is 1 alone (the paper: the mismatch between the
    whole extent and the core), ``core`` is 2, ``area`` (the whole hypoperfused area) is both. Two mask files with
    ``penumbra`` and ``core`` in their names are taken as 0 and 1 each. These values and the names of two files are the
    package's reading of the published description: no copy of the release was at hand to verify them.

    Raises:
        IslesError: ``E-LIST-01`` no case, ``E-LIST-31`` ``area`` where the mask is in two files.
    Source: Clerigues 2020 (doi:10.1016/j.cmpb.2020.105521), section 2.2; ``tests/data/test_isles2015.py``.
    """
    scans = [scan_case(case, f"case_{number}", section) for section, number, case in _folders(folder)]
    for scan in scans:
        choose_mask(scan, target or "penumbra")
    return scans


def scan_case(case: Path, name: str, section: str = "input") -> Scan:
    """Return one case folder as found; masks of SPES in two files are kept under ``penumbra`` and ``core``."""
    scan = Scan(section, name)
    for path in image_files(case.absolute()):
        part, key = _PART.search(path.name), key_of(path.name)
        if part is not None and key in (None, LABEL):
            scan.add(part[1].lower(), path)
        elif key is not None:
            scan.add(key, path)
    return scan


def choose_mask(scan: Scan, target: str, targets: Mapping[str, tuple[int, ...]] = SPES_TARGETS) -> None:
    """Put the mask of ``target`` under ``label``, with the values that mean lesion in it.

    Raises:
        IslesError: ``E-LIST-31``.
    """
    parts = {key: scan.files.pop(key) for key in ("penumbra", "core") if key in scan.files}
    if not parts:
        scan.label_values = targets[target]
        return
    if LABEL in scan.files:
        scan.doubled.append(LABEL)
    elif target not in ("penumbra", "core"):
        raise refused(
            "E-LIST-31",
            where=f"{scan.section} {scan.name}: {target}",
            found=f"masks in files of their own: {', '.join(path.name for path in parts.values())}",
        )
    elif target in parts:
        scan.files[LABEL] = parts[target]


def _folders(folder: Path) -> list[tuple[str, int, Path]]:
    """Return (section, number, folder) of every case, training first; a folder may also hold the cases directly."""
    inside = sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    sections = [(section, p) for section in (TRAINING, TESTING) for p in inside if section_of(p.name) == section]
    if not sections:
        sections = [(section_of(folder.absolute().name) or TRAINING, folder)] if inside else []
    found = [(section, number, case) for section, place in sections for number, case in numbered(place)]
    if not found:
        raise no_case(folder)
    return found
