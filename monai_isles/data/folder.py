"""Find cases in plain folders: NIfTI files whose names end in their modality, such as ``sub-01_ses-01_dwi.nii.gz``.

The part of the name before the modality is the case; without a letter in it, the folder's name is. Names that begin
with ``sub-`` (BIDS) group files of any sub-folder, others group the files of one folder. A last part ``msk``, ``mask``,
``lesion``, ``lesionmask``, ``label``, ``seg`` or ``OT`` is the lesion mask, except ``brain_mask`` and the like; in a
folder ``masks`` or ``labels`` a mask has the name of its case. Of nnU-Net, ``dataset.json`` names the modalities. Upper
and lower case do not matter.
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator
from functools import lru_cache
from pathlib import Path

from monai_isles.data.scans import TESTING, TRAINING, Scan, section_in, section_of
from monai_isles.dicom.header import is_dicom, read_words
from monai_isles.errors import refused
from monai_isles.io.findings import WARNING, finding, tell
from monai_isles.modalities import LABEL, MEASURED_MAPS, MODALITIES

DEPTH = 8
_RESULTS = ("lesion", "probability", "uncertainty", "entropy", "core", "hypoperfused", "penumbra", "pseudo_dwi")
RESULTS = {f"{name}.nii.gz" for name in _RESULTS}
_OTHER_NAMES = {"t1w": "t1", "t2w": "t2", "t1ce": "t1c", "t1gd": "t1c", "rcbf": "cbf", "rcbv": "cbv"} | dict.fromkeys(
    ("ncct", "nect", "nct", "noncontrast", "unenhanced", "native", "plainct", "ctnative"), "ct"
)
TOKENS = {key: key for key in MODALITIES} | _OTHER_NAMES
_SEQUENCES = {"t2flair": "flair", "mprage": "t1"} | dict.fromkeys(
    ("tracew", "b800", "b900", "b1000", "b1200", "b1500"), "dwi"
)
IMAGE = re.compile(r"\.nii(?:\.gz)?$", re.IGNORECASE)
_MASK = re.compile(
    r"^(.*?)(?:^|[_.\- ])(?:lesions?[_.\- ]?(?:msk|mask|seg|segmentation)|msk|mask|lesion|label|ot|seg|segmentation)$",
    re.IGNORECASE,
)
_NO_LESION = re.compile(r"(?:^|[_.\- ])(?:brain|bet|head|skull|tissue|vessels?)[_.\- ]?$", re.IGNORECASE)
_PARTS = re.compile(r"^(.*?)(?:^|[_.\- ])([A-Za-z0-9]+)$")
_SUBJECT = re.compile(r"^sub-([A-Za-z0-9]+)")
_VIEW = r"(?:[23]d|ax|axial|tra|transversal|sag|sagittal|cor|coronal)"
# read as CBF, CBV, FLAIR, T1, DWI and mask, or in this view, if there are no others
_SECOND_CHOICE = re.compile(
    rf"(?:rcb[fv]|seg|segmentation|trace|{'|'.join(_SEQUENCES)})\.nii(?:\.gz)?$|(?:^|[_.\- ]){_VIEW}[_.\- ]",
    re.IGNORECASE,
)
_MASK_FOLDER = re.compile(r"^(?:lesion[_\- ]?)?(?:masks?|labels?|segmentations?)$|^labelsT[rs]$", re.IGNORECASE)
_PART_FOLDER = re.compile(rf"{_MASK_FOLDER.pattern}|^(?:images?|lesions?)$", re.IGNORECASE)
_CHANNEL = re.compile(r"^(.+)_(\d{4})$")
# A weighting before the name of its own sequence belongs to the image, not to the case. A T1 FLAIR is no FLAIR.
_OF_WEIGHTING = {"t2": ("flair",), "t1": ("t1",), "dwi": ("dwi", "adc")}
_WEIGHTING = re.compile(r"(.*?)(?:^|[_.\- ]+)(t1|t2|dwi|flair|adc)w?$", re.IGNORECASE)
_ON_IMAGE = re.compile(r"^(.*?)(?:^|[_.\- ])(lesion[_.\- ]?)?(?:lesion|msk|mask)[_.\- ]*$", re.IGNORECASE)


# names of several words that stand for one modality
_PHRASES = {
    "ct": r"(?:non[_\- ]?contrast|plain|native|unenhanced)[_\- ]?ct|ct[_\- ](?:plain|native)",
    "dwi": r"dwi[_\- ]?trace",
    "t1c": r"t1w?[_\- ]?(?:post|gd|ce|km|contrast)", "t1": r"t1w?[_\- ]?(?:pre|t?se|fse)", "t2": r"t2w?[_\- ]?[tf]se",
}  # fmt: skip
_NATIVE = re.compile(  # ``T1_native`` and ``DWI_native`` are no CT
    rf"((?:^|[_.\- ])(?:{'|'.join(sorted(TOKENS | _SEQUENCES))}))[_.\- ]"
    rf"(?:native|unenhanced|non[_\- ]?contrast|{_VIEW})$",
    re.IGNORECASE,
)
# ``AX_T2_FLAIR``, ``3D_FLAIR``
_VIEWED = re.compile(
    rf"(^|[_.\- ]){_VIEW}[_.\- ]+(?=(?:t[12]w?[_.\- ])?(?:{'|'.join(sorted(TOKENS | _SEQUENCES))})$)", re.IGNORECASE
)
# One person's scans of several days. A date may be the name of a person's folder too, below one that has no number.
_SESSION = re.compile(
    r"^(.+?)[_.\- ]+(?:(?:ses|session|visit|tp|timepoint|day|week|month)[_.\- ]?[a-z0-9]+|baseline|follow[_\- ]?up\d*"
    r"|pre|post|(?:sub)?acute|chronic|admission|discharge)$"
    r"|^(?!(?:19|20)\d\d[_.\- ])(.*?\d.*?)[_.\- ]+20\d\d[-_.]?[01]\d[-_.]?[0-3]\d$",
    re.IGNORECASE,
)
_SERIES = re.compile(r"^(\d+)(?:[_.\- ]|$)")
_OF_PERFUSION = {*MEASURED_MAPS, "ctp"}
_B_ZERO = re.compile(r"(?:^|[_.\- ])b0+$", re.IGNORECASE)


def key_of(name: str) -> tuple[str, str] | None:
    """Return the name before the modality and the key (``label`` for a mask), None for other files."""
    if not IMAGE.search(name) or name.startswith("."):
        return None
    stem = _NATIVE.sub(r"\1", unicodedata.normalize("NFC", IMAGE.sub("", name)))
    for phrase_key, phrase in _PHRASES.items():
        stem = re.sub(rf"(?:^|(?<=[_.\- ]))(?:{phrase})$", phrase_key, stem, flags=re.IGNORECASE)
    stem = _VIEWED.sub(r"\1", stem)
    if mask := _MASK.match(stem):
        return None if _NO_LESION.search(mask[1]) else (mask[1], LABEL)
    if (parts := _PARTS.match(stem)) and (key := (TOKENS | _SEQUENCES).get(parts[2].lower())):
        if drawn := _ON_IMAGE.match(parts[1]):  # ``P1_lesion_dwi`` is a mask drawn on the DWI, ``P1_mask_dwi`` any mask
            return (drawn[1], LABEL) if "lesion" in parts[1][len(drawn[1]) :].lower() else None
        # ``P1_b0_dwi`` and ``sub-1_acq-b0_dwi`` are not diffusion-weighted
        return None if key == "dwi" and _B_ZERO.search(parts[1]) else (parts[1], key)
    return None


def key_at(path: Path) -> tuple[str, str] | None:
    """Return ``key_of`` a file's name, of an image of nnU-Net (``imagesTr/P1_0000.nii.gz``) the key of its channel.

    A file in a folder of masks without a modality in its name is the mask of the case of its name.
    """
    if (result := key_of(path.name)) or not IMAGE.search(path.name):
        return result
    stem, home = unicodedata.normalize("NFC", IMAGE.sub("", path.name)), path.parent
    if (channel := _CHANNEL.match(stem)) and home.name in ("imagesTr", "imagesTs"):
        about = home.parent / "dataset.json"
        key = _channels(about.read_bytes() if about.is_file() else b"").get(int(channel[2]))
        return (channel[1], key) if key else None
    return (stem, LABEL) if _MASK_FOLDER.match(home.name) and not _MASK.match(stem) else None


@lru_cache(maxsize=4)
def _channels(about: bytes) -> dict[int, str]:
    """Return the modality of each channel whose name is known in the content of nnU-Net's ``dataset.json``."""
    try:
        content = json.loads(about)
        names = content.get("channel_names") or content.get("modality") or {}
        known = {int(number): TOKENS.get(re.sub(r"[\W_]", "", str(name)).lower()) for number, name in names.items()}
    except (ValueError, AttributeError):
        return {}
    return {number: key for number, key in known.items() if key}


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
        result = key_at(path)
        if result is None:
            continue
        before, key = result
        section = TESTING if path.parent.name in ("imagesTs", "labelsTs") else section_in(root, path)
        person, own = _SUBJECT.match(before), path.parent
        if not before and own != root and _PART_FOLDER.match(own.name):  # ``P1/images/dwi``, ``P1/labels/lesion``
            own = own.parent
        home = "" if person else str(own)
        name = unicodedata.normalize("NFC", before.rstrip("_.- ") or own.name)
        scan = scans.setdefault((section, home, name), Scan(section, name))
        scan.subject = person and person[0]
        if not (key in scan.files and _SECOND_CHOICE.search(path.name)):
            scan.add(key, path)
    _join_modality_folders(scans, root)
    _join_sequences(scans)
    _join_maps(scans)
    _join_masks(scans)
    _join_series(scans)
    times = Counter((scan.section, scan.name) for scan in scans.values())
    for (_, home, name), scan in scans.items():  # ``P1/maps`` and ``P2/maps`` are ``P1_maps`` and ``P2_maps``
        if times[scan.section, name] > 1 and name == unicodedata.normalize("NFC", Path(home).name):
            scan.name = f"{unicodedata.normalize('NFC', Path(home).parent.name)}_{name}"
        _name_subject(scan, Path(home), root)
    for scan in scans.values():
        if set(scan.files) == {LABEL}:
            alone = "no image with the same name before the last part"
            scan.fault = refused("E-LIST-32", where=str(scan.files[LABEL]), found=alone)
    return sorted(scans.values(), key=lambda scan: (scan.section != TRAINING, natural(scan.name)))


def _join_modality_folders(scans: dict[tuple[str, str, str], Scan], root: Path) -> None:
    """Move the one image of each case in a folder named by its modality (``DWI/P1_dwi``) to the folder above."""
    for (section, home, name), scan in list(scans.items()):
        place = Path(home)
        above = place.parent
        (key, *others) = scan.files or ("",)
        if not home or place == root or others or key_of(f"{place.name}.nii") not in (("", key), ("T2", "flair")):
            continue
        del scans[section, home, name]
        new = unicodedata.normalize("NFC", above.name) if name == unicodedata.normalize("NFC", place.name) else name
        owner = scans.setdefault((section, str(above), new), Scan(section, new))
        for path in (*scan.files.values(), *scan.doubled.values()):
            owner.add(key, path)


def _name_subject(scan: Scan, home: Path, root: Path) -> None:
    """Name a scan of one of several days by its person, and the subject for a training: ``P1/baseline``, ``P1_pre``.

    Without it the scans of a person would be in several folds.
    """
    text = scan.name
    if text == unicodedata.normalize("NFC", home.name) and home.parent != root:
        text = f"{unicodedata.normalize('NFC', home.parent.name)}_{text}"
    match = _SESSION.match(text)
    if match and scan.subject is None and not section_of(person := match[1] or match[2]):
        scan.name, scan.subject = text, person if scan.section == TRAINING else None


def _join_sequences(scans: dict[tuple[str, str, str], Scan]) -> None:
    """Add the files of a case ``P1_T2`` (``P1_T2_FLAIR``) to case ``P1``, if that has other files and none of them.

    So are masks named after their image (``P1_DWI_lesion``); ``P1_DWI_mask`` may be one of the brain. Two such
    cases, ``P1_DWI`` (``P1_DWI_ADC``) and ``P1_T2``, are case ``P1``.
    """
    stems = {place: _WEIGHTING.match(place[2]) for place in scans}
    owners = {place: (*place[:2], match[1] or Path(place[1]).name) for place, match in stems.items() if match}
    for owner_place, several in Counter(owners.values()).items():
        if several > 1:
            scans.setdefault(owner_place, Scan(owner_place[0], owner_place[2]))
    for (section, home, name), scan in list(scans.items()):
        match = stems.get((section, home, name))
        owner = match and scans.get(owners[section, home, name])
        if not match or not owner or owner is scan or scan.doubled or owner.files.keys() & scan.files:
            continue
        fitting = {*_OF_WEIGHTING.get(match[2].lower(), ())}
        if LABEL in scan.files and "lesion" in scan.files[LABEL].name.lower():
            fitting.add(LABEL)
        if scan.files.keys() <= fitting:
            owner.files |= scan.files
            del scans[section, home, name]
    for place in [place for place, scan in scans.items() if not scan.files]:
        del scans[place]


def _join_maps(scans: dict[tuple[str, str, str], Scan]) -> None:
    """Add maps that are named by a program (``P1/rapid_cbf``) to the case that their folder names, if that has none."""
    for section, home in {place[:2] for place in scans if place[1]}:
        inside = {place: scan for place, scan in scans.items() if place[:2] == (section, home)}
        owner = inside.pop((section, home, unicodedata.normalize("NFC", Path(home).name)), None)
        if owner is None or len(inside) != 1:
            continue
        ((place, scan),) = inside.items()
        if scan.files.keys() <= _OF_PERFUSION and not owner.files.keys() & _OF_PERFUSION and not scan.doubled:
            owner.files |= scan.files
            del scans[place]


def _join_series(scans: dict[tuple[str, str, str], Scan]) -> None:
    """Make one case of a folder whose images are named by series, no two of one modality, as dcm2niix names them.

    ``P1/4_ep2d_diff_TRACEW``, ``P1/5_ep2d_diff_ADC`` and ``P1/8_FLAIR`` are case ``P1``.
    """
    for section, home in {place[:2] for place in scans if place[1]}:
        inside = [place for place in scans if place[:2] == (section, home)]
        keys = [key for place in inside for key in (*scans[place].files, *scans[place].doubled)]
        numbers = [match[1] for place in inside if (match := _SERIES.match(place[2]))]
        named = not all(map(str.isdecimal, (place[2] for place in inside)))  # else ``1_dwi`` and ``2_adc`` are persons
        if named and len(inside) == len(keys) == len({*keys}) == len({*numbers}) > 1:
            name = unicodedata.normalize("NFC", Path(home).name)
            files = {key: path for place in inside for key, path in scans.pop(place).files.items()}
            scans[section, home, name] = Scan(section, name, files)


def _join_masks(scans: dict[tuple[str, str, str], Scan]) -> None:
    """Add a mask in another folder (``masks/P1_mask``) to the one case of its name, if that lacks one.

    Of other masks those that only ``seg`` or their folder calls so may be of anything and are left out.
    """
    for place, scan in [(place, scan) for place, scan in scans.items() if set(scan.files) == {LABEL}]:
        alike = [other for key, other in scans.items() if key[::2] == place[::2] and other is not scan]
        if len(alike) == 1 and LABEL not in alike[0].files and not scan.doubled:
            alike[0].files |= scan.files
            del scans[place]
        elif not _MASK.match(IMAGE.sub("", (name := scan.files[LABEL].name))) or _SECOND_CHOICE.search(name):
            del scans[place]


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
    whose = {place: owners for place in inside if (owners := owners_of(place))}
    if owners_of(root, deep=False) or not whose:
        return [root]
    names = {place.name for place in whose}
    copies = [place.name for place in whose if (match := _COPY.match(place.name)) and match[1] in names]
    if copies:
        remarks = f"{len(copies)} folders of copies and maps, such as {copies[0]}"
        tell(finding("E-LIST-15", WARNING, where=str(root), found=remarks))
    own = [place for place in whose if place.name not in copies]
    # The series of a study lie in a folder each, or the files of an export in folders of so many each.
    if not copies and sum(map(len, whose.values())) > len(set.union(*whose.values())):
        return [root]
    if len(own) == 1:
        below = dicom_folders(own[0])
        return below if copies or len(below) > 1 else [root]
    return [folder for place in own for folder in dicom_folders(place)]


def owners_of(folder: Path, *, deep: bool = True) -> set[tuple[str, ...]]:
    """Return study and patient of the first, a middle and the last DICOM file in a folder, and below where ``deep``.

    Without UIDs, as anonymisers leave files, the folder stands for the study.
    """
    files = [path for path in walk(folder, DEPTH if deep else 0) if path.name.upper() != "DICOMDIR"]
    found = list[Path]()
    for part in (files, files[len(files) // 2 :], files[::-1]):
        found += [path for path in [next(filter(is_dicom, part), None)] if path is not None]
        if not found:
            return set()
    words = [read_words(path, ("StudyInstanceUID", "PatientID")) or () for path in found]
    return {tuple(own) if own and own[0] else (str(folder),) for own in words}
