"""Read the folders of the ISLES challenges 2015 to 2018: ``TRAINING/<case>/VSD.Brain.XX.O.<KEY>.<id>/...nii``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from monai_isles.data.folder import IMAGE, natural, walk
from monai_isles.data.scans import TRAINING, Scan, section_in, section_of
from monai_isles.errors import refused
from monai_isles.modalities import LABEL

KEYS = {
    "CT": "ct", "CT_CBF": "cbf", "CT_CBV": "cbv", "CT_MTT": "mtt", "CT_TMAX": "tmax", "CT_TTP": "ttp",
    "CT_4DPWI": "ctp",
    "MR_T1": "t1", "MR_T2": "t2", "MR_FLAIR": "flair", "MR_DWI": "dwi", "MR_T1C": "t1c", "MR_ADC": "adc",
    "MR_CBF": "cbf", "MR_CBV": "cbv", "MR_RCBF": "cbf", "MR_RCBV": "cbv", "MR_MTT": "mtt", "MR_TMAX": "tmax",
    "MR_TTP": "ttp", "OT": LABEL,
}  # fmt: skip
SPES_TARGETS: dict[str, tuple[int, ...]] = {"penumbra": (1,), "core": (2,), "area": (1, 2)}
_NAME = re.compile(
    r"\.(?:O|XX)\.((?:CT|MR)(?:_[a-z0-9]+)?|OT)(?:_[a-z0-9]+)*\.(?:[^.]+\.)?nii(?:\.gz)?$", re.IGNORECASE
)
_PART = re.compile(r"(?<![a-z])(penumbra|core|merged)(?:labels?)?(?![a-z])", re.IGNORECASE)
_CASE = re.compile(r"(?:(?:case|nr|patient|training|testing|test)[_\- ]?)?0*(\d+)$", re.IGNORECASE)


def word_of(name: str) -> str | None:
    """Return the image word in a file name of a release, ``MR_RCBF``; None for other files."""
    match = _NAME.search(name)
    return match[1].upper() if match else None


def number_of(name: str) -> int | None:
    """Return the number in a case folder's name, None without one."""
    match = _CASE.match(name)
    return int(match[1]) if match else None


def home_of(path: Path) -> Path:
    """Return the folder of the case of an image, which may lie in a folder of its own, named like it."""
    home, outer = path.parent, path.parent.parent
    own = re.search(r"\.(?:O|XX)\.", home.name, re.IGNORECASE)
    return outer if own or (number_of(home.name) is None and number_of(outer.name) is not None) else home


def scan_release(folder: str | Path, *, renumber: bool, parts: bool = False) -> list[Scan]:
    """Return the cases of a release below a folder, training first, in numeric order.

    The folder may be the one above ``TRAINING`` and ``TESTING`` (any spelling), one of these, or one case. A case
    folder without images is a case without modalities.

    Args:
        renumber: ``01`` and ``Nr1`` become ``case_1``; else the folder names the case.
        parts: keep masks named penumbra, core and merged under these words.
    """
    root = Path(folder).absolute()
    scans = {home: _scan(root, home, renumber) for home in _empty_cases(root)}
    for path in walk(root):
        if not IMAGE.search(path.name):
            continue
        part, key = _PART.search(path.name) if parts else None, KEYS.get(word_of(path.name) or "")
        name = part[1].lower() if part is not None and key in (None, LABEL) else key
        if name is None:
            continue
        home = home_of(path)
        scans.setdefault(home, _scan(root, home, renumber)).add(name, path)
    return sorted(scans.values(), key=lambda scan: (scan.section != TRAINING, natural(scan.name)))


def choose_mask(scan: Scan, target: str) -> None:
    """Store the mask of a target of SPES under ``label``, with the values that mean lesion.

    One mask file holds 0 background, 1 penumbra, 2 core: ``penumbra`` is 1 alone (the paper: the mismatch between the
    whole extent and the core), ``core`` is 2, ``area`` (the whole hypoperfused area) is both. Files with ``penumbra``
    and ``core`` in their names (``OT_penumbralabel``) are taken as 0 and 1 each, one with ``merged`` beside them as the
    one file for ``area``. The values are read from the published description, the names from the authors' code; no
    copy of the release was available to verify them.

    Source: Clerigues 2020 (doi:10.1016/j.cmpb.2020.105521), section 2.2; ``tests/data/test_isles2015.py``.
    """
    parts = {key: scan.files.pop(key) for key in ("penumbra", "core", "merged") if key in scan.files}
    whole = parts.pop("merged", None)
    if whole is not None and LABEL not in scan.files and (not parts or target == "area"):
        scan.files[LABEL], parts = whole, {}
    if not parts:
        scan.label_values = SPES_TARGETS[target]
        return
    if LABEL in scan.files:
        scan.doubled[LABEL] = next(iter(parts.values()))
    elif target not in ("penumbra", "core"):
        result = f"masks in files of their own: {', '.join(path.name for path in parts.values())}"
        raise refused("E-LIST-31", where=f"{scan.section} {scan.name}: {target}", found=result)
    elif target in parts:
        scan.files[LABEL] = parts[target]


def _scan(root: Path, home: Path, renumber: bool) -> Scan:
    """Return a case; ``training_1``, the nearest folder above, or the folder above a single case names the section."""
    number = number_of(home.name)
    name = f"case_{number}" if renumber and number is not None else home.name
    own = re.match(r"(train|test)(?:ing)?[_\- ]?\d+$", home.name, re.IGNORECASE)
    section = section_in(root.parent if home == root else root, home / "image")
    return Scan(f"{own[1].lower()}ing" if own else section, name)


def _empty_cases(root: Path) -> Iterator[Path]:
    """Yield the numbered folders of a section, or of the root if it is one, that hold no image."""
    inside = sorted(p for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
    places = [place for place in (root, *inside) if section_of(place.name)]
    for place in places:
        numbered = (p for p in sorted(place.iterdir()) if p.is_dir() and re.match(r"case_\d+$", p.name, re.IGNORECASE))
        yield from (case for case in numbered if not any(IMAGE.search(path.name) for path in walk(case)))
