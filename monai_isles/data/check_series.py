"""Everything that is wrong or odd with a folder of DICOM series: the list ``monai-isles check`` prints for it."""

from __future__ import annotations

import os
from pathlib import Path

from monai_isles.dicom.read import read_series
from monai_isles.dicom.find import scan_dicom
from monai_isles.dicom.header import is_dicom
from monai_isles.data.series import NIFTI_ENDS
from monai_isles.errors import IslesError
from monai_isles.io.findings import ERROR, Finding


def holds_dicom_alone(folder: str | Path) -> bool:
    """Tell whether there is a DICOM file below a folder, and no NIfTI image."""
    paths = [Path(place) / name for place, _, names in os.walk(folder) for name in sorted(names)]
    return not any(path.name.endswith(NIFTI_ENDS) for path in paths) and any(map(is_dicom, paths))


def check_series(folder: str | Path) -> list[Finding]:
    """Return every finding about the DICOM series of a folder; each series that can be read is read whole.

    Raises:
        IslesError: ``E-DCM-01`` no pydicom, ``E-DCM-02`` nothing there.
    Source: ours; ``tests/data/test_check_series.py``.
    """
    seen = scan_dicom(folder)
    found = list(seen.findings)
    if seen.damaged:
        return found
    usable = [one for one in seen.series if one.usable]
    if not usable:
        listed, fix = "; ".join(map(str, seen.series[:8])), "export the original CT or MR series"
        found.append(Finding("E-DCM-03", ERROR, str(folder), listed, fix, "no series that can be read"))
    for one in usable:
        try:
            series = read_series(folder, series_uid=one.uid)
            found += [finding for finding in series.findings if finding not in found]
        except IslesError as error:
            found.append(Finding(error.code, ERROR, error.where, error.found, error.fix, error.fault))
    return found
