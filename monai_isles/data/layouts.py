"""Which layout a folder is in, told by the marks in its file names, and its cases."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from monai_isles.case import Case
from monai_isles.data import folder as plain
from monai_isles.data import isles2015, isles2018
from monai_isles.data.bids import is_bids, scan_bids
from monai_isles.data.case_file import NAMES, scan_case_files
from monai_isles.data.scans import Scan, as_case, as_cases, image_files, no_case, require_whole, section_of
from monai_isles.errors import IslesError, refused
from monai_isles.modalities import CT_CHANNELS, SISS_CHANNELS, SPES_CHANNELS


@dataclass(frozen=True)
class Layout:
    """One way of laying out a data set.

    Args:
        name: of a data list made from it; ``simulated`` where the phantom wrote it.
        title: what it is, in words.
        channels: modalities that every case must hold; none for plain folders.
        scan: the cases of a folder, for one target.
        targets: what may be segmented and the mask values that mean it, the default first; one mask of 0 and 1 if none.
        folds: how many folds its paper used.
    """

    name: str
    simulated: str
    title: str
    channels: tuple[str, ...]
    scan: Callable[[Path, str | None], list[Scan]]
    targets: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    folds: int = 5


CT = Layout("isles2018", "phantom_ct", "CT perfusion", CT_CHANNELS, lambda folder, _: isles2018.scan_folder(folder))
SISS = Layout("isles2015_siss", "phantom_siss", "sub-acute stroke MRI (SISS)", SISS_CHANNELS, isles2015.scan_siss,
              folds=4)  # fmt: skip
SPES = Layout("isles2015_spes", "phantom_spes", "acute stroke MRI (SPES)", SPES_CHANNELS, isles2015.scan_spes,
              isles2015.SPES_TARGETS, folds=4)  # fmt: skip
PLAIN = Layout("folder", "folder", "images in a plain folder", (), plain.scan_folder)
BIDS = Layout("bids", "bids", "images in a BIDS tree", (), scan_bids)
CASE_FILES = Layout("case_files", "case_files", "images named in case files", (), scan_case_files)
_SMIR = re.compile(r"\.O\.CT(?:_[A-Za-z0-9]+)?\.[^.]+\.nii(?:\.gz)?$", re.IGNORECASE)
_ONLY_SISS, _ONLY_SPES = {"t1", "flair"}, {"t1c", "cbf", "cbv", "ttp", "tmax"}


def find_layout(folder: str | Path) -> Layout:
    """Return the layout of a data folder or of one case folder, by what its file names say.

    ISLES 2018 names CT maps (``.O.CT_CBF.``), SISS ``MR_T1`` or ``MR_Flair``, SPES ``MR_T1c``, ``MR_CBF``, ``MR_CBV``,
    ``MR_TTP`` or ``MR_Tmax``; plain folders end file names in the modality; BIDS trees hold raw data and derivatives,
    or images in a common space. A ``case.yml`` anywhere goes before all of these: somebody has said what is what.

    Raises:
        IslesError: ``E-LIST-01`` no case of any layout, ``E-LIST-30`` the marks of several, or of none alone.
    Source: ours; ``tests/data/test_layouts.py``.
    """
    folder = Path(folder)
    marks: dict[str, list[str]] = {}
    files = list(plain.walk(folder))
    if any(path.name.lower() in NAMES for path in files):
        return CASE_FILES
    for path in files:
        for mark in _marks(path.name):
            marks.setdefault(mark, []).append(path.name)
    plainly = marks.pop("folder", None)
    either = marks.pop("isles2015", None)
    chosen = [layout for layout in (CT, SISS, SPES) if layout.name in marks]
    if len(chosen) == 1:
        return chosen[0]
    if len(chosen) > 1 or (either and not plainly):
        raise _unclear(folder, marks or {"isles2015": either})
    if any(is_bids(folder, path) for path in files):
        return BIDS
    if plainly:
        return PLAIN
    if any(section_of(p.name) and any(p.glob("case_*")) for p in (folder.iterdir() if folder.is_dir() else ())):
        return CT
    raise no_case(folder)


def scan_layout(folder: str | Path, target: str | None = None) -> tuple[Layout, list[Scan]]:
    """Return the layout of a data folder and its cases as found.

    Raises:
        IslesError: ``E-LIST-33`` a target that the layout does not have, and those of ``find_layout`` and its scan.
    """
    layout = find_layout(folder)
    return layout, layout.scan(Path(folder), chosen_target(layout, target))


def chosen_target(layout: Layout, target: str | None) -> str | None:
    """Return the target to segment, the layout's first unless told; None where there is nothing to choose.

    Raises:
        IslesError: ``E-LIST-33``.
    """
    if target is None:
        return next(iter(layout.targets), None)
    if target not in layout.targets:
        raise refused(
            "E-LIST-33",
            where=f"target {target}",
            found=f"{layout.title}: {', '.join(layout.targets) or 'one lesion mask, nothing to choose'}",
        )
    return target


def find_cases(
    folder: str | Path,
    *,
    subjects: Path | None = None,
    section: str | None = None,
    target: str | None = None,
    keys: Sequence[str] | None = None,
) -> list[Case]:
    """Return the cases of a data folder in any layout, training before testing.

    Args:
        subjects: table with columns ``case,subject`` (and ``section`` where it matters); ``subjects.csv`` of the folder
            unless told; without either every case is its own subject, or the ``sub-`` of its name.
        section: ``training`` or ``testing``; both unless told.
        target: what the masks are to mean, where the layout has a choice (SPES).
        keys: modalities that every case must hold; those of the layout unless told.
    Raises:
        IslesError: ``E-LIST-01`` no case, ``E-LIST-02`` missing files (all of them), ``E-LIST-09`` a table that does
            not fit, ``E-LIST-11`` two cases of one name, ``E-LIST-13`` two files for one modality, and ``scan_layout``.
    """
    folder = Path(folder)
    layout, scans = scan_layout(folder, target)
    require_whole(scans, folder, layout.channels if keys is None else keys)
    cases = as_cases(scans, folder, subjects)
    return [case for scan, case in zip(scans, cases, strict=True) if section in (None, scan.section)]


def read_case(folder: str | Path, *, target: str | None = None, keys: Sequence[str] | None = None) -> Case | None:
    """Return the case of one case folder of ISLES 2018 or 2015, None when the folder is not one.

    Raises:
        IslesError: ``E-LIST-02`` when modalities are missing, ``E-LIST-13`` when one is there twice, ``find_layout``.
    """
    folder = Path(folder)
    if not _is_case(folder):
        return None
    layout = find_layout(folder)
    if layout in (BIDS, CASE_FILES):
        return None
    name = folder.absolute().name
    if layout is CT:
        scan = isles2018.scan_case(folder)
    else:
        number = isles2015.number_of(name)
        scan = isles2015.scan_case(folder, name if number is None else f"case_{number}")
        if layout is SPES:
            isles2015.choose_mask(scan, chosen_target(layout, target))
    require_whole([scan], folder, layout.channels if keys is None else keys)
    return as_case(scan)


def _is_case(folder: Path) -> bool:
    """Tell whether release files lie in the folder, or one folder deeper that is neither a case nor a section."""
    return any(
        not {"folder"}.issuperset(_marks(path.name))
        and (
            path.parent == folder
            or (isles2015.number_of(path.parent.name) is None and section_of(path.parent.name) is None)
        )
        for path in image_files(folder)
    )


def _marks(name: str) -> list[str]:
    """Return the layouts whose mark a file name is; ``isles2015`` for names that SISS and SPES share."""
    if _SMIR.search(name):
        return [CT.name]
    key = isles2015.key_of(name)
    if key is not None:
        return [SISS.name if key in _ONLY_SISS else SPES.name if key in _ONLY_SPES else "isles2015"]
    return ["folder"] if (found := plain.key_of(name)) and found[1] != "label" else []


def _unclear(folder: Path, marks: Mapping[str, Sequence[str]]) -> IslesError:
    return refused(
        "E-LIST-30",
        where=str(folder),
        found="; ".join(f"{name}: {len(names)} files such as {names[0]}" for name, names in marks.items()),
    )
