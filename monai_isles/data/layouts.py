"""Find the layout of a folder from its case files or the marks in its file names, and its cases."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import yaml

from monai_isles.case import Case
from monai_isles.data import folder as plain
from monai_isles.data import releases
from monai_isles.data.bids import PIPELINE, is_bids, parse_name, scan_bids
from monai_isles.data.scans import (
    FOREIGN,
    TRAINING,
    Scan,
    as_cases,
    faults_of,
    no_case,
    only_read,
    require_whole,
    section_in,
    section_of,
)
from monai_isles.data.schema import are_labels
from monai_isles.errors import IslesError, refused
from monai_isles.io.findings import WARNING, Finding, finding, tell
from monai_isles.modalities import CT_CHANNELS, ISLES2017_CHANNELS, LABEL, MODALITIES, SISS_CHANNELS, SPES_CHANNELS

CASE_FILE_NAMES = ("case.yml", "case.yaml")
MAX_BYTES, MAX_BRACKETS = 16384, 100
_WORDS = {"images", "label", "label_values", "subject", "name", "resample"}
_EXAMPLE = "images: {ct: a.nii.gz, cbf: b.nii.gz}, and if wanted label, label_values, subject, name, resample"


def scan_case_files(folder: str | Path) -> list[Scan]:
    """Return one case for every ``case.yml`` in a folder and below it, and those of the layout elsewhere in the folder.

    Training first, then by name. A case that ``read_case_file`` refuses has the reason as its ``fault``.
    """
    root = Path(folder).absolute()
    scans, homes = [], set[Path]()
    for path in plain.walk(root):
        if path.name.lower() in CASE_FILE_NAMES:
            section = section_in(root, path)
            homes.add(path.parent)
            try:
                scans.append(read_case_file(path, section))
            except IslesError as error:
                scans.append(Scan(section, path.parent.name, fault=error))
    others = [] if root in homes else _scan_beside(root, homes)
    return sorted([*scans, *others], key=lambda scan: (scan.section != TRAINING, plain.natural(scan.name)))


def _scan_beside(root: Path, homes: set[Path]) -> list[Scan]:
    """Return the cases of a folder that lie outside the folders of case files; one file seldom describes a data set."""
    try:
        layout, scans = scan_layout(root, case_files=False)
    except IslesError as error:
        if error.code != "E-LIST-01":
            raise
        return []
    outside = [s for s in scans if not any(homes.intersection(path.parents) for path in s.files.values())]
    return [scan for scan in outside if scan.files and layout is not DICOM]


def read_case_file(path: str | Path, section: str = TRAINING) -> Scan:
    """Read the case that one ``case.yml`` describes; without a name it has that of its folder."""
    path = Path(path).absolute()
    content = _content(path)
    strange = sorted(map(str, set(content) - _WORDS))
    images = content.get("images")
    if not isinstance(images, Mapping) or not images:
        raise _wrong(path, "images", f"{type(images).__name__}, a list of modality and file wanted")
    strange += [f"images: {key}" for key in images if key not in MODALITIES]
    if strange:
        result = ", ".join(strange[:8])
        raise refused("E-LIST-64", where=str(path), found=result, example=_EXAMPLE, modalities=", ".join(MODALITIES))
    scan = Scan(section, _word(path, content, "name") or path.parent.name)
    scan.subject = _word(path, content, "subject")
    if (values := content.get("label_values")) is not None and not are_labels(values):
        raise _wrong(path, "label_values", f"{str(values)[:40]!r}, a list of whole numbers above 0 wanted")
    scan.label_values = values and tuple(values)
    scan.resample = content.get("resample", False)
    if not isinstance(scan.resample, bool):
        raise _wrong(path, "resample", f"{scan.resample!r}, true or false wanted")
    for key, name in {**images, **({LABEL: content[LABEL]} if content.get(LABEL) is not None else {})}.items():
        scan.add(str(key), _inside(path, str(key), name))
    return scan


def _content(path: Path) -> Mapping:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise _wrong(path, "the file", f"{size} bytes, at most {MAX_BYTES}")
        text = path.read_text(encoding="utf-8")
        if sum(map(text.count, "[{")) > MAX_BRACKETS:
            raise _wrong(path, "the file", f"more than {MAX_BRACKETS} brackets")
        content = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError, ValueError) as error:
        raise _wrong(path, "the file", f"not YAML: {' '.join(str(error).split())[:160]}") from error
    if not isinstance(content, Mapping):
        raise _wrong(path, "the file", f"{type(content).__name__}, words with values wanted")
    return content


def _word(path: Path, content: Mapping, key: str) -> str | None:
    value = content.get(key)
    if value is None:
        return None
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not text or any(mark in text for mark in "/\\\n") or text.startswith("."):
        raise _wrong(path, key, f"{str(value)[:40]!r}, a plain name wanted")
    return text


def _inside(path: Path, key: str, name: object) -> Path:
    if not isinstance(name, str) or not name:
        raise _wrong(path, key, f"{str(name)[:40]!r}, a file name wanted")
    folder = path.parent.resolve()
    full = folder / name
    if Path(name).is_absolute() or not full.resolve().is_relative_to(folder):
        raise refused("E-LIST-65", where=f"{path}: {key}", found=name[:120])
    if not full.is_file():
        raise refused("E-LIST-66", where=f"{path}: {key}", found=f"no file {name}")
    return path.parent / name


def _wrong(path: Path, what: str, found: str) -> IslesError:
    return refused("E-LIST-63", where=f"{path}: {what}", found=found, example=_EXAMPLE)


@dataclass(frozen=True)
class Layout:
    """Describe one layout of a data set.

    Args:
        name: of a data list made from it; ``simulated`` where the phantom wrote it.
        channels: modalities that every case must hold; none for plain folders.
        targets: labels that can be segmented and their mask values, the default first; empty for masks of 0 and 1.
        folds: number of folds in its paper.
    """

    name: str
    simulated: str
    title: str
    channels: tuple[str, ...]
    scan: Callable[[Path], list[Scan]]
    targets: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    folds: int = 5


_release = partial(releases.scan_release, renumber=True)
CT = Layout("isles2018", "phantom_ct", "CT perfusion", CT_CHANNELS, partial(releases.scan_release, renumber=False))
SISS = Layout("isles2015_siss", "phantom_siss", "sub-acute stroke MRI (SISS)", SISS_CHANNELS, _release, folds=4)
SPES = Layout("isles2015_spes", "phantom_spes", "acute stroke MRI (SPES)", SPES_CHANNELS,
              partial(_release, parts=True), releases.SPES_TARGETS, folds=4)  # fmt: skip
MR_PERFUSION = Layout(
    "isles2017", "isles2017", "MR perfusion and diffusion (2016 and 2017)", ISLES2017_CHANNELS, _release
)
PLAIN = Layout("folder", "folder", "images in a plain folder", (), plain.scan_folder)
BIDS = Layout("bids", "bids", "images in a BIDS tree", (), scan_bids)
DICOM = Layout("dicom", "dicom", "DICOM studies, one folder each", ("ctp",),
               lambda folder: [Scan(section_in(folder, place / "image"), place.name, {"ctp": place})
                               for place in plain.dicom_folders(folder.absolute())])  # fmt: skip
CASE_FILES = Layout("case_files", "case_files", "images named in case files", (), scan_case_files)
_ONLY_SISS, _ONLY_SPES = {"MR_T1", "MR_FLAIR"}, {"MR_T1C", "MR_CBF", "MR_CBV", "MR_TTP", "MR_TMAX"}
_ONLY_2017 = {"MR_RCBF", "MR_RCBV", "MR_4DPWI"}


def find_layout(folder: str | Path, *, case_files: bool = True) -> Layout:
    """Find the layout of a data folder or of one case folder from its file names.

    ISLES 2018 names CT maps (``.O.CT_CBF.``), SISS ``MR_T1`` or ``MR_Flair``, ISLES 2016 and 2017 ``MR_rCBF``,
    ``MR_rCBV`` or ``MR_4DPWI``, SPES ``MR_T1c``, ``MR_CBF``, ``MR_CBV``, ``MR_TTP`` or ``MR_Tmax``;
    plain folders end file names in the modality; BIDS trees hold raw data and derivatives, images in a common space,
    reconstructions (``rec-ADC``), or other entities by which a plain reading would split a scan (``acq-tse_T2w``);
    DICOM files without any of these, as in UniToBrain, are studies. With a ``case.yml`` anywhere the
    layout is that of case files, unless ``case_files`` is False.

    Raises: ``E-LIST-01`` no case of any layout, ``E-LIST-30`` the marks of several, or of none alone.
    """
    folder = Path(folder)
    marks: dict[str, list[str]] = {}
    files = list(plain.walk(folder))
    if case_files and any(path.name.lower() in CASE_FILE_NAMES for path in files):
        return CASE_FILES
    for path in files:
        if mark := _mark(path):
            marks.setdefault(mark, []).append(path.name)
    plainly = marks.pop("folder", None)
    either = marks.pop("isles2015", None)
    if MR_PERFUSION.name in marks:
        marks.pop(SPES.name, None)  # these names are those of 2016 and 2017 too
    chosen = [layout for layout in (CT, SISS, SPES, MR_PERFUSION) if layout.name in marks]
    if len(chosen) == 1:
        return chosen[0]
    if len(chosen) > 1 or (either and not plainly):
        known = (marks or {"isles2015": either or []}).items()
        result = "; ".join(f"{name}: {len(names)} files such as {names[0]}" for name, names in known)
        raise refused("E-LIST-30", where=str(folder), found=result)
    if any(is_bids(folder, path) for path in files) or (plainly and _split_by_entities(folder, files)):
        return BIDS
    if plainly:
        return PLAIN
    if any(section_of(p.name) and any(p.glob("case_*")) for p in (folder.iterdir() if folder.is_dir() else ())):
        return CT
    if plain.owners_of(folder):
        return DICOM
    raise no_case(folder)


def scan_layout(folder: str | Path, target: str | None = None, *, case_files: bool = True) -> tuple[Layout, list[Scan]]:
    """Return the layout of a data folder and its cases as found."""
    layout = find_layout(folder, case_files=case_files)
    chosen = chosen_target(layout, target)
    scans = layout.scan(Path(folder))
    if not scans:
        raise no_case(Path(folder).absolute())
    if chosen is not None:
        for scan in scans:
            releases.choose_mask(scan, chosen)
    return layout, scans


def unused_images(folder: str | Path, scans: Sequence[Scan]) -> list[Finding]:
    """Return a remark on the images below a folder that no case holds, by the last word of their names or the format.

    Our own results are not counted.
    """
    used = {path.absolute() for scan in scans for path in scan.files.values()}
    words: dict[str, list[str]] = {}
    for path in plain.walk(Path(folder).absolute()):
        if foreign := FOREIGN.search(path.name):
            words.setdefault(foreign[0].lower(), []).append(path.name)
        elif plain.IMAGE.search(path.name) and path not in used and f"desc-{PIPELINE}" not in path.name:
            stem = plain.IMAGE.sub("", path.name)
            words.setdefault(releases.word_of(path.name) or re.split(r"[_.\-]", stem)[-1], []).append(path.name)
    if not words:
        return []
    listed = "; ".join(f"{word}: {len(names)} files such as {names[0]}" for word, names in sorted(words.items()))
    return [finding("E-LIST-15", WARNING, where=str(folder), found=listed)]


def chosen_target(layout: Layout, target: str | None) -> str | None:
    """Return the target to segment, by default the layout's first; None if there is no choice."""
    if target is None:
        return next(iter(layout.targets), None)
    if target not in layout.targets:
        result = f"{layout.title}: {', '.join(layout.targets) or 'one lesion mask, nothing to choose'}"
        raise refused("E-LIST-33", where=f"target {target}", found=result)
    return target


def find_cases(
    folder: str | Path,
    *,
    subjects: Path | None = None,
    section: str | None = None,
    target: str | None = None,
    keys: Sequence[str] | None = None,
    reads: Sequence[str] | None = None,
    left_out: list[Finding] | None = None,
) -> list[Case]:
    """Find the cases of a data folder in any layout, training before testing.

    The folder may be the data set, one of its sections, or one case.

    Args:
        subjects: table with columns ``case,subject`` (and ``section`` where needed); by default ``subjects.csv`` of the
            folder; without either every case is its own subject, or the ``sub-`` of its name.
        section: ``training`` or ``testing``; by default both.
        target: the label to segment, if the layout has a choice (SPES).
        keys: modalities that every case must hold; by default those of the layout.
        reads: modalities and ``label`` that are read; by default all. Others may be twice, masks without an image.
        left_out: receives one finding for each case left out; without it the first fault is raised.
    Raises: ``E-LIST-01`` no case, ``E-LIST-02`` missing files, ``E-LIST-09`` a table that does not fit, and others.

    >>> [case.name for case in find_cases(folder)]
    ['case_1', 'case_2', 'case_3']
    """
    folder = Path(folder)
    layout, scans = scan_layout(folder, target)
    scans = scans if reads is None else only_read(scans, reads)
    if layout is DICOM:
        named = ", ".join(scan.name for scan in scans[:6])
        result, fix = f"{len(scans)} DICOM studies: {named}", "give DICOM to monai-isles predict-series or perfusion"
        raise refused("E-LIST-01", where=str(folder), found=result, fix=fix)
    wanted = layout.channels if keys is None else keys
    if left_out is None:
        require_whole(scans, folder, wanted)
    for remark in unused_images(folder, scans):
        tell(remark)
    cases = as_cases(scans, folder, subjects)
    faults = faults_of(scans, wanted)
    chosen = [(scan, case) for scan, case in zip(scans, cases, strict=True) if section in (None, scan.section)]
    if left_out is not None:
        left_out += [faults[scan] for scan, _ in chosen if scan in faults]
    return [case for scan, case in chosen if scan not in faults]


def _split_by_entities(folder: Path, files: Sequence[Path]) -> bool:
    """Return whether BIDS entities (``acq-``, ``run-``, ``ses-``) would split the scans of a plain folder."""
    names = [name for path in files if (name := parse_name(path, folder))]
    if all({*name.entities} == {"sub"} for name in names):
        return False
    apart, joined = plain.scan_folder(folder), scan_bids(folder)
    images = [sum(key != LABEL for scan in scans for key in (*scan.files, *scan.doubled)) for scans in (apart, joined)]
    # Runs that are scans of their own stay apart: as one scan most would hold each modality twice.
    most = 2 * sum(bool(scan.doubled) for scan in joined) >= len(joined)
    return images[0] == images[1] and len(joined) < len(apart) and not most


def _mark(path: Path) -> str | None:
    """Return the layout that a file name indicates; ``isles2015`` for names that SISS and SPES share."""
    word = releases.word_of(path.name)
    if word is None:
        return "folder" if (plain.key_at(path) or ("", LABEL))[1] != LABEL else None
    if word.startswith("CT"):
        return CT.name
    own = {SISS.name: _ONLY_SISS, SPES.name: _ONLY_SPES, MR_PERFUSION.name: _ONLY_2017}
    shared = "isles2015" if word in releases.KEYS else None
    return next((layout for layout, words in own.items() if word in words), shared)
