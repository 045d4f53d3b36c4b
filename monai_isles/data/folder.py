"""Find cases in plain folders: NIfTI files whose names end in their modality, such as ``sub-01_ses-01_dwi.nii.gz``.

The part of the name before the modality is the case; without a letter in it, the folder's name is. Names that begin
with ``sub-`` (BIDS) group files of any sub-folder, others group the files of one folder. A last part ``msk``, ``mask``,
``lesion``, ``lesionmask``, ``label`` or ``OT`` is the lesion mask, except ``brain_mask`` and the like. Upper and lower
case do not matter.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from monai_isles.data.scans import TRAINING, Scan, section_in
from monai_isles.dicom.header import is_dicom, read_words
from monai_isles.errors import refused
from monai_isles.io.findings import WARNING, finding, tell
from monai_isles.modalities import LABEL, MODALITIES

DEPTH = 8
_RESULTS = ("lesion", "probability", "uncertainty", "entropy", "core", "hypoperfused", "penumbra", "pseudo_dwi")
RESULTS = {f"{name}.nii.gz" for name in _RESULTS}
_OTHER_NAMES = {"t1w": "t1", "t2w": "t2", "t1ce": "t1c", "t1gd": "t1c", "rcbf": "cbf", "rcbv": "cbv"} | dict.fromkeys(
    ("ncct", "nect", "nct", "noncontrast", "unenhanced", "native", "plainct", "ctnative"), "ct"
)
TOKENS = {key: key for key in MODALITIES} | _OTHER_NAMES
_SEQUENCES = {"t2flair": "flair", "mprage": "t1", "tracew": "dwi", "b1000": "dwi"}
IMAGE = re.compile(r"\.nii(?:\.gz)?$", re.IGNORECASE)
_MASK = re.compile(r"^(.*?)(?:^|[_.\- ])(?:lesion[_.\- ]?(?:msk|mask)|msk|mask|lesion|label|ot)$", re.IGNORECASE)
_NO_LESION = re.compile(r"(?:^|[_.\- ])(?:brain|bet|head|skull|tissue|vessels?)[_.\- ]?$", re.IGNORECASE)
_PARTS = re.compile(r"^(.*?)(?:^|[_.\- ])([A-Za-z0-9]+)$")
_SUBJECT = re.compile(r"^sub-([A-Za-z0-9]+)")
# read as CBF, CBV, FLAIR, T1 and DWI if there are no others
_SECOND_CHOICE = re.compile(rf"(?:rcb[fv]|{'|'.join(_SEQUENCES)})\.nii(?:\.gz)?$", re.IGNORECASE)
# A weighting before the name of its own sequence belongs to the image, not to the case. A T1 FLAIR is no FLAIR.
_OF_WEIGHTING = {"t2": ("flair",), "t1": ("t1",), "dwi": ("dwi", "adc")}
_WEIGHTING = re.compile(r"(.*?)(?:^|[_.\- ]+)(t1|t2|dwi|flair|adc)w?$", re.IGNORECASE)
_ON_IMAGE = re.compile(r"^(.*?)(?:^|[_.\- ])(lesion[_.\- ]?)?(?:lesion|msk|mask)[_.\- ]*$", re.IGNORECASE)


_PLAIN_CT = re.compile(
    r"(?:^|(?<=[_.\- ]))(?:non[_\- ]?contrast|plain|native|unenhanced)[_\- ]?ct$|ct[_\- ](?:plain|native)$",
    re.IGNORECASE,
)


def key_of(name: str) -> tuple[str, str] | None:
    """Return the name before the modality and the key (``label`` for a mask), None for other files."""
    if not IMAGE.search(name) or name.startswith("."):
        return None
    stem = _PLAIN_CT.sub("ct", unicodedata.normalize("NFC", IMAGE.sub("", name)))
    if mask := _MASK.match(stem):
        return None if _NO_LESION.search(mask[1]) else (mask[1], LABEL)
    if (parts := _PARTS.match(stem)) and (key := (TOKENS | _SEQUENCES).get(parts[2].lower())):
        if drawn := _ON_IMAGE.match(parts[1]):  # ``P1_lesion_dwi`` is a mask drawn on the DWI, ``P1_mask_dwi`` any mask
            return (drawn[1], LABEL) if "lesion" in parts[1][len(drawn[1]) :].lower() else None
        return parts[1], key
    return None


def walk(folder: Path, depth: int = DEPTH) -> Iterator[Path]:
    """Yield the files below a folder, sorted, at most ``depth`` deep; links are followed.

    Hidden files are left out, and the images that ``predict`` wrote beside its ``result.json``.
    """
    for place, folders, files in os.walk(folder, followlinks=True):
        level = len(Path(place).relative_to(folder).parts)
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if level < depth else []
        folders[:] = [name for name in folders if not _leads_back(Path(place, name), Path(folder))]
        own: Collection[str] = RESULTS if "result.json" in files else ()
        yield from (Path(place) / name for name in sorted(files) if not name.startswith(".") and name not in own)


def _leads_back(link: Path, root: Path) -> bool:
    """Return whether a folder is a link to a folder that contains it."""
    if not link.is_symlink():
        return False
    above = [place.resolve() for place in (link.parent, *link.parent.parents) if place.is_relative_to(root)]
    return link.resolve() in above


def scan_folder(folder: str | Path) -> list[Scan]:
    """Return the cases of a plain folder, training first, then by name.

    A first folder named training or testing (any spelling) is the section; training where there is none.

    Cases named by folders of one name are named by the folder above too. A mask that belongs to no image is a case with
    that ``fault`` (``E-LIST-32``).
    """
    root = Path(folder).absolute()
    scans: dict[tuple[str, str, str], Scan] = {}
    for path in sorted(walk(root), key=lambda path: bool(_SECOND_CHOICE.search(path.name))):
        result = key_of(path.name)
        if result is None:
            continue
        before, key = result
        section = section_in(root, path)
        person = _SUBJECT.match(before)
        home = "" if person else str(path.parent)
        name = unicodedata.normalize("NFC", before.rstrip("_.- ") or path.parent.name)
        scan = scans.setdefault((section, home, name), Scan(section, name))
        scan.subject = person and person[0]
        if not (key in scan.files and _SECOND_CHOICE.search(path.name)):
            scan.add(key, path)
    _join_sequences(scans)
    times = Counter((scan.section, scan.name) for scan in scans.values())
    for (_, home, name), scan in scans.items():  # ``P1/maps`` and ``P2/maps`` are ``P1_maps`` and ``P2_maps``
        if times[scan.section, name] > 1 and name == unicodedata.normalize("NFC", Path(home).name):
            scan.name = f"{unicodedata.normalize('NFC', Path(home).parent.name)}_{name}"
    for scan in scans.values():
        if set(scan.files) == {LABEL}:
            alone = "no image with the same name before the last part"
            scan.fault = refused("E-LIST-32", where=str(scan.files[LABEL]), found=alone)
    return sorted(scans.values(), key=lambda scan: (scan.section != TRAINING, natural(scan.name)))


def _join_sequences(scans: dict[tuple[str, str, str], Scan]) -> None:
    """Add the files of a case ``P1_T2`` (``P1_T2_FLAIR``) to case ``P1``, if that has other files and none of them.

    So are masks named after their image (``P1_DWI_lesion``); ``P1_DWI_mask`` may be one of the brain.
    """
    for (section, home, name), scan in list(scans.items()):
        match = _WEIGHTING.match(name)
        owner = match and scans.get((section, home, match[1] or Path(home).name))
        if not match or not owner or owner is scan or scan.doubled or owner.files.keys() & scan.files:
            continue
        fitting = {*_OF_WEIGHTING.get(match[2].lower(), ())}
        if LABEL in scan.files and "lesion" in scan.files[LABEL].name.lower():
            fitting.add(LABEL)
        if scan.files.keys() <= fitting:
            owner.files |= scan.files
            del scans[section, home, name]


def natural(name: str) -> list[tuple[int, str]]:
    """Return a sort key that orders names by their numbers: ``case_2`` before ``case_10``."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


# what UniToBrain puts beside the scan of a patient: registered and filtered copies, and maps of them
_COPY = re.compile(r"^(.+?)_Registered(?:_.*)?$")


def dicom_folders(root: Path) -> list[Path]:
    """Return the folders that hold one study each; the root itself if all its files are of one, or lie there by series.

    UniToBrain's copies of a patient's scan are skipped and named in a remark.

    Source: the names of UniToBrain (doi:10.5281/zenodo.5109415); ``tests/data/test_study.py``.
    """
    inside = [place for place in sorted(root.iterdir()) if place.is_dir() and not place.name.startswith(".")]
    first = {place: owner for place in inside if (owner := _owner(place)) is not None}
    whose = {place: owner[:2] for place, owner in first.items()}
    if _owner(root, deep=False) is not None or not whose:
        return [root]
    names = {place.name for place in whose}
    copies = [place.name for place in whose if (match := _COPY.match(place.name)) and match[1] in names]
    if copies:
        remarks = f"{len(copies)} folders of copies and maps, such as {copies[0]}"
        tell(finding("E-LIST-15", WARNING, where=str(root), found=remarks))
    own = [place for place in whose if place.name not in copies]
    if not copies and len(set(first.values())) > len(set(whose.values())):
        return [root]  # series of a study in a folder each, perhaps beside those of other studies
    if len(own) == 1 or (not copies and len(set(whose.values())) == 1):
        below = dicom_folders(own[0]) if len(own) == 1 else [root]
        return below if copies or len(below) > 1 else [root]
    return [folder for place in own for folder in dicom_folders(place)]


def holds_dicom_alone(folder: str | Path) -> bool:
    """Return whether there is a DICOM file in a folder or below it, and no NIfTI image."""
    return not any(IMAGE.search(path.name) for path in walk(Path(folder))) and _owner(Path(folder)) is not None


def _owner(folder: Path, *, deep: bool = True) -> tuple[str, ...] | None:
    """Return study, patient and series of the first DICOM file in a folder, and below where ``deep``; None without."""
    files = walk(folder, DEPTH if deep else 0)
    first = next((path for path in files if path.name.upper() != "DICOMDIR" and is_dicom(path)), None)
    if first is None:
        return None
    return tuple(read_words(first, ("StudyInstanceUID", "PatientID", "SeriesInstanceUID")) or ())
