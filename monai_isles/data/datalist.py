"""Make data lists from a folder, and read them back with a check."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from monai_isles.case import Case
from monai_isles.data.grouping import gather, group_by_evidence
from monai_isles.data.layouts import CT, Layout, chosen_target, find_cases, find_layout
from monai_isles.data.remote import require_here
from monai_isles.data.scans import SUBJECTS, TESTING, TRAINING, own_table
from monai_isles.data.schema import SECTIONS, plainly_written, require_sound
from monai_isles.errors import IslesError, refused
from monai_isles.io.findings import WARNING, Finding, as_finding, finding, refuse, remark_lines, tell
from monai_isles.io.payload import sha256_of
from monai_isles.io.publish import publish_json
from monai_isles.io.read import read_image
from monai_isles.modalities import LABEL, LABEL_VALUES
from monai_isles.progress import progress


def group_folds(
    subjects: Sequence[str], folds: int, seed: int = 0, *, volumes_ml: Sequence[float] | None = None
) -> list[int]:
    """Return the fold of every case; the largest subjects first, each to the fold with the fewest cases.

    Subjects with equal numbers of cases are sorted by lesion volume into strata of ``folds``, within a stratum by a
    hash of seed and name. So the result does not depend on the order of the cases or the place of the files. A tie goes
    to the fold with the smaller volume so far.

    Raises: ``E-LIST-12`` with fewer than two folds or fewer subjects than folds.
    """
    cases: dict[str, list[int]] = {}
    for index, subject in enumerate(subjects):
        cases.setdefault(subject, []).append(index)
    if folds < 2 or len(cases) < folds:
        raise refused("E-LIST-12", where=f"folds {folds}", found=f"{len(cases)} subjects in {len(subjects)} cases")
    volume = list(volumes_ml) if volumes_ml is not None else [0.0] * len(subjects)
    total = {subject: math.fsum(volume[i] for i in mine) for subject, mine in cases.items()}
    counts, loads, chosen = [0] * folds, [0.0] * folds, [0] * len(subjects)
    for subject in _order(cases, total, folds, seed):
        fold = min(range(folds), key=lambda k: (counts[k], loads[k], k))
        counts[fold] += len(cases[subject])
        loads[fold] += total[subject]
        for index in cases[subject]:
            chosen[index] = fold
    return chosen


def _order(cases: dict[str, list[int]], total: dict[str, float], folds: int, seed: int) -> list[str]:
    """Return the subjects by size, then stratum of volume, then hash."""
    ranked = sorted(cases, key=lambda name: (-len(cases[name]), -total[name], _hash(seed, name)))
    order = []
    for _, same in groupby(ranked, key=lambda name: len(cases[name])):
        rank = list(same)
        for start in range(0, len(rank), folds):
            order += sorted(rank[start : start + folds], key=lambda name: _hash(seed, name))
    return order


def _hash(seed: int, name: str) -> str:
    return hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()


log = logging.getLogger(__name__)


def list_digest(content: Mapping[str, object]) -> str:
    """Return ``<cases> cases, SHA-256 <digest>`` of the cases of a data list, their files, folds and labels.

    Titles and the order of keys do not count; the order of the cases does.

    >>> list_digest({"training": [{"case": "case_01", "image": "case_01_flair.nii.gz"}]})[:16]
    '1 cases, SHA-256'
    """
    part: dict[str, Any] = {
        key: content[key] for key in ("training", "test", "label_values", "target") if key in content
    }
    text = json.dumps(part, sort_keys=True, ensure_ascii=False)
    cases = sum(len(part.get(section, ())) for section in ("training", "test"))
    return f"{cases} cases, SHA-256 {hashlib.sha256(text.encode()).hexdigest()}"


def label_values(cases: Sequence[Case]) -> dict[str, list[int]]:
    """Return the ``label_values`` that the masks of all cases share, or an empty dictionary."""
    kinds = {case.label_values for case in cases if case.label is not None}
    values = kinds.pop() if len(kinds) == 1 else None
    return {LABEL_VALUES: list(values)} if values else {}


SIMULATED = "SIMULATED.txt"


def make_datalist(
    folder: str | Path,
    *,
    folds: int | None = None,
    seed: int = 0,
    subjects: str | Path | None = None,
    name: str | None = None,
    target: str | None = None,
    strict: bool = True,
) -> dict:
    """Return the data list of a folder in any layout, with folds that never split a subject.

    The same files give the same list in any place: paths are relative, cases are in the order of their names.

    Args:
        folds, seed: see ``group_folds``; lesion volumes are balanced. By default 5 folds, 4 for ISLES 2015, and never
            more than there are subjects: one for one subject.
        subjects: table ``case,subject,section``; else the folder's ``subjects.csv``; else by evidence,
            provisional (CT), or one subject per case, ``sub-`` names kept together (MRI, plain folders). Without a
            table, cases that share an image are one subject.
        target: the label to segment, where the masks hold several (SPES: penumbra by default, core, area).
        name: of the list; that of the layout when None.
        strict: stop at the first unusable case; else it is left out, with its reason in ``left_out`` of the list.
    Raises: ``E-LIST-71`` for a URL, ``E-LIST-34`` when no mask holds the target, those of ``find_cases``,
    ``group_folds`` and ``read_image``.

    >>> cases = make_datalist(folder, folds=3)["training"]
    >>> sorted(case["fold"] for case in cases)
    [0, 1, 2]
    """
    require_here(folder)
    folder = Path(folder)
    table = Path(subjects) if subjects is not None else None
    layout = find_layout(folder)
    target = chosen_target(layout, target)
    left_out: list[Finding] | None = None if strict else []
    result: dict[str, Any] = {"subjects": table, "target": target, "left_out": left_out}
    testing = find_cases(folder, section=TESTING, **result)
    training, volumes, digests = _readable(find_cases(folder, section=TRAINING, **result), layout, left_out)
    if left_out and not training and not testing:
        refuse(left_out)
    named, grouping = _grouping(folder, table, training, layout)
    people = [named[case.name] for case in training]
    _tell_copies(training, people, digests)
    count = min(layout.folds, max(1, len(set(people)))) if folds is None else folds
    masks = [case for case in training if case.label is not None]
    if target and masks and not any(volumes):
        named_values = " or ".join(map(str, masks[0].label_values or (1,)))
        text = f"{len(masks)} masks without a voxel of value {named_values}"
        raise refused("E-LIST-34", where=f"{folder}: target {target}", found=text)
    if training and not masks and len(set(people)) < max(2, count):
        text = f"no mask file of {', '.join(case.name for case in training)}"
        fix = "add the masks for a training; a prediction needs no data list"
        raise refused("E-LBL-03", where=str(folder), found=text, fault="no case has a lesion mask", fix=fix)
    # of one subject no fold can be left out, but its scans can be prepared and trained on (--fold all)
    one = not training or (folds is None and count == 1)
    chosen = [0] * len(training) if one else group_folds(people, count, seed, volumes_ml=volumes)
    shared = label_values([*training, *testing])
    content = _title(layout, folder, name, target) | {
        "grouping": grouping,
        "folds": {"count": count, "seed": seed, "balanced": ["cases", "lesion volume"]},
        "labels": {"0": "background", "1": target or "lesion"},
        **shared,
        "numTraining": len(training),
        "numTest": len(testing),
        "training": [
            _entry(case, named[case.name], folder, fold, shared) for case, fold in zip(training, chosen, strict=True)
        ],
        "test": [_entry(case, case.subject, folder, None, shared) for case in testing],
    }
    content |= {"left_out": [vars(item) for item in left_out]} if left_out else {}
    require_sound(content, str(folder))
    return content


def read_datalist(path: str | Path, dataset_dir: str | Path | None = None) -> dict:
    """Read a data list; refuse one on which a run would be wrong.

    Absolute paths below ``dataset_dir`` become relative to it.

    Raises: ``E-FILE-01`` missing, ``E-LIST-03`` broken JSON, and those of ``schema.require_sound``.
    """
    path = Path(path)
    try:
        content: Any = json.loads(path.read_bytes())  # UTF-8 or UTF-16, with or without a byte order mark
    except FileNotFoundError as error:
        raise refused("E-FILE-01", where=str(path), found="no such file") from error
    except (OSError, ValueError, RecursionError) as error:
        raise refused("E-LIST-03", where=str(path), found=str(error)) from error
    content = plainly_written(content, None if dataset_dir is None else Path(dataset_dir).absolute())
    _complete(content, str(path))
    require_sound(content, str(path))
    return content


def _complete(content: Any, where: str) -> None:
    """Give each case without a subject its own; remark these cases, and lists of cases that are not read."""
    if not isinstance(content, dict):
        return
    cases = {key: value for key, value in content.items() if isinstance(value, list) and value and key != "left_out"}
    cases = {key: value for key, value in cases.items() if all(isinstance(entry, dict) for entry in value)}
    alone = [
        (key, entry) for key in SECTIONS for entry in cases.get(key, ()) if {"case", "subject"} & {*entry} == {"case"}
    ]
    for key, entry in alone:
        entry["subject"] = f"testing_{entry['case']}" if key == "test" else entry["case"]
    if named := [str(entry["case"]) for _, entry in alone]:
        text = f"{len(named)} cases: {', '.join(named[:8])}"
        fault = "cases without a subject count as different subjects"
        fix = "give the cases of one person the same subject: otherwise the person may be trained on and tested on"
        tell(finding("E-LIST-17", WARNING, where=where, found=text, fault=fault, fix=fix))
    for key in cases.keys() - {*SECTIONS}:
        fault, fix = "a section of the data list is not read", "name its cases in training (with a fold) or in test"
        tell(finding("E-LIST-06", WARNING, where=where, found=f"{key}: {len(cases[key])} cases", fault=fault, fix=fix))


def find_data_list(
    dataset_dir: str | Path,
    data_list: str | Path | None = None,
    *,
    keep: str | Path | None = None,
    folds: int | None = None,
    seed: int = 0,
    target: str | None = None,
    strict: bool = False,
) -> dict:
    """Return the given data list, or make one of the folder; keep a copy beside the results.

    Args:
        folds, seed, target: of a list to be made, as for ``make_datalist``; a given list has its own. Where the masks
            leave no choice, as in a plain folder, they are the target.
        strict: refuse a folder with an unusable case; else the case is left out with a warning.
    Raises: ``E-LIST-36`` a given list with another target, those of ``read_datalist`` and ``make_datalist``.

    >>> len(find_data_list(folder)["training"])
    3
    """
    if data_list is None:
        require_here(dataset_dir)
        target = target if find_layout(Path(dataset_dir)).targets else None
        content = make_datalist(dataset_dir, folds=folds, seed=seed, target=target, strict=strict)
        for item in content.get("left_out", []):
            log.warning("left out of the data list: %s", remark_lines([Finding(**item)])[0])
    else:
        content = read_datalist(data_list, dataset_dir)
        if target is not None and content.get("target", target) != target:
            text = f"target {content['target']}, {target} requested"
            raise refused("E-LIST-36", where=str(data_list), found=text)
    if keep is not None:
        publish_json(keep, content, inputs=[data_list] if data_list else [])
    return content


def _title(layout: Layout, folder: Path, name: str | None, target: str | None) -> dict[str, object]:
    simulated = (folder / SIMULATED).is_file()
    base = layout.simulated if simulated else layout.name
    year = re.match(r"isles(\d{4})", layout.name)
    place = f" in the ISLES {year[1]} layout" if year else ""
    text = f"Simulated {layout.title}, no real patient"
    about = {
        "name": name or (f"{base}_{target}" if target else base),
        "description": text if simulated else layout.title[0].upper() + layout.title[1:] + place,
        "simulated": simulated,
    }
    return about | ({"target": target} if target else {})


def _grouping(
    folder: Path, table: Path | None, training: Sequence[Case], layout: Layout
) -> tuple[dict[str, str], dict[str, object]]:
    named = {case.name: case.subject for case in training}
    source, joined = "file" if table else SUBJECTS, {}
    if table is None and own_table(folder) is None:
        source = "evidence" if layout is CT else "case names"
    if source == "evidence":
        named, joined["joined"] = group_by_evidence(training)
    named = named if table or own_table(folder) else _join_copies(training, named)
    evidence = {"subjects": len(set(named.values())), "cases": len(named), **joined}
    return named, {"source": source, "provisional": source == "evidence", "evidence": evidence}


def _join_copies(cases: Sequence[Case], named: Mapping[str, str]) -> dict[str, str]:
    """Return the subjects; of cases with one and the same first image, a scan that is there twice, they become one.

    Where all would be one, as of images without content, the subjects stay.
    """
    result, first, remarks = dict(named), dict[str, str](), []
    for case in cases:
        other = first.setdefault(sha256_of(next(iter(case.images.values()))), case.name)
        if (kept := result[other]) != (gone := result[case.name]):
            text, fix = f"byte for byte an image of {other}", "no action is needed: they count as one subject"
            remarks.append(finding("E-LIST-14", WARNING, where=case.name, found=text, fix=fix))
            result = {name: kept if subject == gone else subject for name, subject in result.items()}
    if len(set(result.values())) == 1:
        return dict(named)
    for remark in remarks:
        tell(remark)
    return result


def _tell_copies(cases: Sequence[Case], people: Sequence[str], digests: Sequence[str]) -> None:
    """Add a remark for each mask that is the file of another subject's: one person may be in two folds."""
    first: dict[str, int] = {}
    for number, (case, digest) in enumerate(zip(cases, digests, strict=True)):
        other = first.setdefault(digest, number) if digest else number
        if people[other] != people[number]:
            text, fault = f"byte for byte the mask of {cases[other].name}", "two subjects share one lesion mask"
            tell(finding("E-LIST-14", WARNING, where=case.name, found=text, fault=fault))


def _readable(
    cases: Sequence[Case], layout: Layout, left_out: list[Finding] | None
) -> tuple[list[Case], list[float], list[str]]:
    """Return the cases whose mask (for CT also plain CT and series header) can be read.

    Also their lesions in ml, and the checksums of masks that hold a lesion.
    """
    kept, volumes, digests = [], [], []
    for case in progress(cases, "measuring lesions"):
        try:
            volume, digest = _volume_ml(case)
            if layout is CT:
                gather(case)
        except IslesError as error:
            if left_out is None:
                raise
            left_out.append(replace(as_finding(error), case=case.name))
            continue
        kept.append(case)
        volumes.append(volume)
        digests.append(digest if volume else "")
    tell_few_lesions([case.name for case in kept if case.label is not None], volumes)
    return kept, volumes, digests


def _volume_ml(case: Case) -> tuple[float, str]:
    if case.label is None:
        return 0.0, ""
    mask = read_image(case.label, kind=LABEL, where=case.name, label_values=case.label_values)
    x, y, z = mask.spacing_mm
    return float(mask.data.sum()) * x * y * z / 1000.0, mask.sha256


def tell_few_lesions(masked: Sequence[str], volumes_ml: Sequence[float]) -> None:
    """Add a remark when none of the training masks, or at most a tenth of them, holds a lesion."""
    hold = sum(volume > 0 for volume in volumes_ml)
    if masked and hold < max(1, 0.1 * len(masked)):
        result = f"{hold} of {len(masked)} training masks hold a lesion"
        tell(finding("E-LBL-11", WARNING, where="training", found=result))


def _entry(case: Case, subject: str, folder: Path, fold: int | None, shared: Mapping[str, object]) -> dict[str, object]:
    entry: dict[str, object] = {"case": case.name, "subject": subject}
    if fold is not None:
        entry["fold"] = fold
    files = case.images | ({LABEL: case.label} if case.label else {})
    entry |= {"resample": True} if case.resample else {}
    entry |= {LABEL_VALUES: list(case.label_values)} if case.label_values and not shared else {}
    return entry | {key: path.relative_to(folder.absolute()).as_posix() for key, path in files.items()}
