"""Read BIDS trees (ISLES'22, ISLES'24, SOOP, ATLAS: raw data beside derivatives), and name our results in BIDS."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from unicodedata import normalize

from monai_isles import __version__
from monai_isles.case import Case
from monai_isles.data.folder import IMAGE, TOKENS, walk
from monai_isles.data.scans import TRAINING, Scan, no_case, section_in
from monai_isles.errors import refused
from monai_isles.modalities import LABEL, MEASURED_MAPS

PIPELINE = "monaiisles"
_ENTITY = re.compile(r"^([a-z]+)-([A-Za-z0-9]+)$")
_NOT_BIDS = "give a BIDS data set (sub-01/perf/sub-01_cbf.nii.gz); monai-isles predict reads other layouts"
# endings of the results in perf, which have no name in the specification; .bidsignore lists them
_IN_PERF = {key: f"{key}.nii.gz" for key in ("uncertainty", *MEASURED_MAPS)} | {
    "result": "result.json",
    "report": "report.html",
}
# folder, label and ending of a result
_RESULTS = {
    "lesion": ("anat", "label-lesion", "mask.nii.gz"),
    "probability": ("anat", "label-lesion", "probseg.nii.gz"),
} | {key: ("perf", "", ending) for key, ending in _IN_PERF.items()}
BIDS_IGNORE = "# BIDS has no names for these: uncertainty, perfusion maps, numbers and page of each case\n" + "".join(
    f"*_desc-{PIPELINE}_{ending}\n" for ending in _IN_PERF.values()
)
BIDS_DESCRIPTION = {
    "Name": "monai_isles predictions, research only",
    "BIDSVersion": "1.10.0",
    "DatasetType": "derivative",
    "GeneratedBy": [{"Name": "monai_isles", "Version": __version__}],
}
BIDS_README = """Predictions of monai_isles, a BIDS derivative data set. Research only, not a medical device.

`anat/*_label-lesion_desc-monaiisles_mask.nii.gz` is the predicted lesion, `..._probseg.nii.gz` its probability; both
lie on the grid of the input, named in the `SpatialReference` of their sidecars. `perf/` holds what BIDS has no
names for, listed in `.bidsignore`: the uncertainty (standard deviation of the probability), perfusion maps, the numbers
(`result.json`, units in the names) and the page of each case.
"""


@dataclass(frozen=True)
class BidsFile:
    """Hold one image of a BIDS tree: its entities by name (``sub``, ``ses``, ``space`` ...) and its modality key.

    ``rank`` is 0 for an image brought to a common space, 1 for another derivative, 2 for raw data.
    """

    path: Path
    entities: dict[str, str]
    key: str
    rank: int


def parse_name(path: Path, root: Path | None = None) -> BidsFile | None:
    """Parse a BIDS name; return None for other names, other images (CTA, vessel masks) and our own results."""
    name = path.name
    if not IMAGE.search(name) or not name.startswith("sub-"):
        return None
    *parts, suffix = IMAGE.sub("", name).split("_")
    entities = {match[1]: match[2] for part in parts if (match := _ENTITY.match(part))}
    if len(entities) < len(parts) or "sub" not in entities or entities.get("desc", "").startswith(PIPELINE):
        return None
    about = " ".join(entities.get(word, "") for word in ("label", "desc")).lower().strip()
    last = suffix.lower()
    lesion = last in ("mask", "roi", "dseg") and ("lesion" in about or (last == "mask" and not about))
    key = LABEL if lesion or last in ("lesion-msk", "msk", "lesion") else TOKENS.get(last)
    if key == "dwi":
        kind = {entities.get(word, "").lower() for word in ("rec", "desc", "acq")}
        # a b 0 is not diffusion-weighted
        key = "adc" if "adc" in kind else None if kind & {"b0", "b00", "b000"} else key
    if "ce" in entities:  # a CT with contrast is no plain CT
        key = {"t1": "t1c", "ct": None}.get(key or "", key)
    derived = "derivatives" in (path if root is None else path.relative_to(root)).parts
    return None if key is None else BidsFile(path, entities, key, 0 if "space" in entities else 1 if derived else 2)


def is_bids(folder: Path, path: Path) -> bool:
    """Return whether a file marks a BIDS tree: ``space-`` or ``rec-`` in its name, raw data or derivatives above it."""
    parts = path.relative_to(folder).parts[:-1]
    above = {"raw_data", "rawdata", "derivatives"}.intersection(parts)
    result = parse_name(path, folder)
    return result is not None and result.key != LABEL and bool(above or {"space", "rec"} & set(result.entities))


def scan_bids(folder: str | Path) -> list[Scan]:
    """Return the cases of a BIDS tree, training first, then by name.

    A subject's sessions are one case while no modality is in two of them (ISLES'24: CT on admission, lesion at
    follow-up), named by the first; else each session is a case. Of one modality, the image in a common space
    (``space-ncct``) goes before another derivative, and that before raw data; a mask of the whole lesion
    (``desc-lesion``) before those of its parts (``desc-lesionAcute``).

    A subject with several spaces (``E-LIST-60``) or with a lesion mask alone (``E-LIST-61``) has that as its ``fault``.

    Source: the release notes of ISLES'24 (doi:10.5281/zenodo.16748089); ``tests/data/test_bids.py``.
    """
    root = Path(folder).absolute()
    people: dict[tuple[str, str], dict[str, list[BidsFile]]] = {}
    for path in walk(root):
        result = parse_name(path, root)
        if result is None:
            continue
        sessions = people.setdefault((section_in(root, path), f"sub-{result.entities['sub']}"), {})
        sessions.setdefault(result.entities.get("ses", ""), []).append(result)
    scans = [scan for (section, person), sessions in people.items() for scan in _cases(section, person, sessions)]
    if not scans:
        raise no_case(root, fix=_NOT_BIDS)
    return sorted(scans, key=lambda scan: (scan.section != TRAINING, scan.name))


def derivative_name(case: Case, kind: str) -> PurePosixPath:
    """Return the BIDS-derivative name of a result of a case; a later scan skips these names."""
    # A label holds plain letters and digits; a name with others gets a checksum, so that Müller and Möller stay apart.
    if kind not in _RESULTS:
        raise refused("E-LIST-62", where=case.name, found=repr(kind), results=", ".join(_RESULTS))
    parts = {match[1]: match[2] for part in case.name.split("_") if (match := _ENTITY.match(part))}
    apart = "" if case.name.isascii() else hashlib.sha256(normalize("NFC", case.name).encode()).hexdigest()[:8]
    subject = f"sub-{parts.get('sub') or re.sub(r'[^A-Za-z0-9]', '', case.name) + apart}"
    session = f"ses-{parts['ses']}" if "ses" in parts else ""
    spaces = {result.entities.get("space", "") for path in case.images.values() if (result := parse_name(path))} - {""}
    folder, label, suffix = _RESULTS[kind]
    space = f"space-{min(spaces)}" if spaces else ""
    name = "_".join(part for part in (subject, session, space, label, f"desc-{PIPELINE}", suffix) if part)
    return PurePosixPath(*(part for part in (subject, session, folder, name) if part))


def sidecar(case: Case, kind: str) -> dict[str, object] | None:
    """Return the JSON sidecar of ``lesion`` and ``probability``; None for other kinds.

    ``SpatialReference`` is ``orig`` for a result in the space of the input, else the image that defines the space.
    """
    text = {"lesion": "Predicted lesion, 1 inside", "probability": "Predicted probability of lesion, 0 to 1"}
    if kind not in text:
        return None
    in_space = [path.name for path in case.images.values() if (item := parse_name(path)) and "space" in item.entities]
    return {"Type": "Lesion", "Description": text[kind], "SpatialReference": in_space[0] if in_space else "orig"}


def _cases(section: str, person: str, sessions: dict[str, list[BidsFile]]) -> list[Scan]:
    names, groups = sorted(sessions), [files for _, files in sorted(sessions.items())]
    keys = [{file.key for file in files} for files in groups]
    if sum(map(len, keys)) == len(set().union(*keys)):  # no modality twice: the sessions are one case
        names, groups = names[:1], [sum(groups, [])]
    return [
        _case(section, person, f"{person}_ses-{session}" if session else person, files)
        for session, files in zip(names, groups, strict=True)
    ]


def _case(section: str, person: str, name: str, files: list[BidsFile]) -> Scan:
    spaces = sorted({file.entities["space"] for file in files if "space" in file.entities})
    scan = Scan(section, name, subject=person)
    if len(spaces) > 1:
        result = ", ".join(f"space-{space}" for space in spaces)
        scan.fault = refused("E-LIST-60", where=f"{section} {name}", found=result)
    best = {key: min(file.rank for file in files if file.key == key) for key in {file.key for file in files}}
    chosen = [file for file in files if file.rank == best[file.key]]
    whole = [file for file in chosen if file.key == LABEL and file.entities.get("desc", "").lower() == "lesion"]
    for file in chosen:
        if file.key != LABEL or not whole or file in whole:
            scan.add(file.key, file.path)
    if set(scan.files) == {LABEL} and scan.fault is None:
        where = f"{section} {name}: {scan.files[LABEL]}"
        scan.fault = refused("E-LIST-61", where=where, found="no image of this subject and session")
    return scan
