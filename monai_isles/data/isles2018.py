"""The ISLES 2018 folder layout: ``TRAINING/case_N/SMIR.Brain.XX.O.<KEY>.<id>/SMIR.Brain.XX.O.<KEY>.<id>.nii``."""

from __future__ import annotations

import re
from pathlib import Path

from monai_isles.data.scans import TESTING, TRAINING, Scan, image_files, no_case
from monai_isles.modalities import LABEL

KEYS = {
    "CT": "ct", "CT_CBF": "cbf", "CT_CBV": "cbv", "CT_MTT": "mtt", "CT_TMAX": "tmax", "CT_4DPWI": "ctp",
    "MR_DWI": "dwi", "OT": LABEL,
}  # fmt: skip
_NAME = re.compile(r"\.O\.([A-Za-z0-9_]+)\.[^.]+\.nii(?:\.gz)?$")
_CASE = re.compile(r"case_(\d+)$", re.IGNORECASE)


def scan_folder(folder: str | Path) -> list[Scan]:
    """Return every case folder below ``TRAINING`` and ``TESTING`` (any spelling of case), in numeric order.

    Raises:
        IslesError: ``E-LIST-01`` when there is no case.
    """
    folder = Path(folder)
    sections = {p.name.lower(): p for p in sorted(folder.iterdir()) if p.is_dir()} if folder.is_dir() else {}
    scans = [
        scan_case(case, section)
        for section in (TRAINING, TESTING)
        if section in sections
        for case in _cases(sections[section])
    ]
    if not scans:
        raise no_case(folder)
    return scans


def scan_case(case: Path, section: str = "input") -> Scan:
    """Return one case folder as found."""
    scan = Scan(section, case.name)
    for path in image_files(case.absolute()):
        match = _NAME.search(path.name)
        key = KEYS.get(match[1].upper()) if match else None
        if key is not None:
            scan.add(key, path)
    return scan


def _cases(section: Path) -> list[Path]:
    numbered = [(int(match[1]), p) for p in section.iterdir() if p.is_dir() and (match := _CASE.match(p.name))]
    return [p for _, p in sorted(numbered)]
