"""Turn a data list into the flat dictionaries that MONAI reads, after checking that every file exists."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from monai_isles.case import CHECKSUMS, Case
from monai_isles.cohort.task import Record, left_out_records, require_own_names
from monai_isles.data.datalist import read_datalist
from monai_isles.data.folder import IMAGE, walk
from monai_isles.data.layouts import find_cases
from monai_isles.data.releases import home_of
from monai_isles.data.remote import can_be_fetched, fetch_entry, local_root, relative_path, require_here, require_kept
from monai_isles.data.scans import section_of
from monai_isles.data.schema import require_sound
from monai_isles.errors import IslesError, refused
from monai_isles.io.findings import ERROR, Finding, as_finding, finding, refuse, remark_lines
from monai_isles.io.read import read_image
from monai_isles.modalities import LABEL, LABEL_VALUES, MODALITIES
from monai_isles.progress import progress

log = logging.getLogger(__name__)
ALL = "all"


class Entries(list[dict[str, object]]):
    """Hold the entries of a section and why cases of it are left out; ``strict``: the first fault stops a training."""

    def __init__(self, entries: Sequence[dict[str, object]], left_out: Sequence[Finding], *, strict: bool) -> None:
        super().__init__(entries)
        self.left_out, self.strict = list(left_out), strict


def load_entries(
    data_list: dict | str | Path,
    dataset_dir: str | Path,
    *,
    section: str = "training",
    folds: Sequence[int] | None = None,
    exclude: Sequence[int | str] | None = None,
    keys: Sequence[str],
    need_label: bool,
    optional: Sequence[str] = (),
    fetch: bool = True,
    left_out: list[Finding] | None = None,
    strict: bool = True,
) -> Entries:
    """Return ``Case.entry()`` of every case: ``case``, ``subject``, ``fold``, and an absolute path for each key.

    Mask values that mean lesion, of the entry or else of the list, go into ``label_values`` of each entry with a mask;
    ``resample`` is kept too.

    Args:
        data_list: a list, or the path of one.
        dataset_dir: the folder its paths are relative to; ``TRAINING`` and ``training`` are the same. A URL that
            fsspec supports is read through a local mirror (``monai_isles.data.remote``).
        section: ``training`` or ``test``.
        folds, exclude: keep these folds only; leave these out. ``"all"`` in ``exclude`` leaves out none: a training
            on every scan.
        keys: modalities wanted; ``ctp`` is looked for by name where the list has no path for it.
        need_label: refuse cases without a mask; else the mask is given where there is one.
        optional: modalities that a case may lack; one that the list names must be there all the same.
        fetch: fetch and check the files of a URL and those with a checksum now; else whoever reads an entry calls
            ``remote.fetch_entry``.
        left_out: takes why cases with missing files are left out, one finding each.
        strict: without ``left_out``, refuse missing files; else their cases are left out with a warning, as in a
            training, and are refused where none is left.
    Raises: ``E-LIST-02`` missing files and keys, ``E-LIST-05`` nothing left, ``E-LIST-06`` no such section, those of
    ``read_datalist``, and others.

    >>> from monai_isles.data import make_datalist
    >>> entries = load_entries(make_datalist(folder, folds=3), folder, keys=["flair"], need_label=True, folds=[0, 1])
    >>> len(entries), sorted(entries[0])
    (2, ['case', 'flair', 'fold', 'label', 'subject'])
    """
    name = "data list" if isinstance(data_list, dict) else str(data_list)
    content = data_list if isinstance(data_list, dict) else read_datalist(data_list, dataset_dir)
    require_sound(content, name)
    chosen = _choose(content, name, section, folds, exclude)
    root, wanted = local_root(dataset_dir), [*keys, *([LABEL] if need_label else [])]
    results = [_listed_case(root, n, entry, wanted, content.get(LABEL_VALUES), optional) for n, entry in chosen]
    gone = [(case, missing) for case, missing in results if missing]
    fix = "restore these files, correct the list, or give the right data folder"
    if gone and left_out is None and (strict or len(gone) == len(results)):
        every = (_listed_case(root, n, entry, wanted, None)[1] for n, entry in enumerate(content[section], start=1))
        missing = [item for missing in every for item in missing]
        where, text = f"{name}: {section}, data folder {root}", f"{len(missing)} missing: {'; '.join(missing)}"
        raise refused("E-LIST-02", where=where, found=text, fix=fix)
    absent = [
        replace(finding("E-LIST-02", ERROR, where=name, found="; ".join(missing), fix=fix), case=case.name)
        for case, missing in gone
    ]
    if left_out is not None:
        left_out += absent
    else:
        tell_left_out(absent)
    entries = [case.entry() for case, missing in results if not missing]
    if fetch and (can_be_fetched(root) or any(CHECKSUMS in entry for entry in entries)):
        entries = [fetch_entry(entry) for entry in progress(entries, "fetching")]
        require_kept(entries)
    return Entries(entries, absent, strict=strict)


def tell_left_out(findings: Sequence[Finding]) -> None:
    """Name each case that a training leaves out in a warning, with the reason."""
    for item in findings:
        log.warning("left out: %s: %s", item.case, remark_lines([item])[0])


def _listed_case(
    root: Path, number: int, entry: dict, wanted: Sequence[str], label_values: Sequence[int] | None,
    optional: Sequence[str] = (),
) -> tuple[Case, list[str]]:  # fmt: skip
    """Return the case of an entry of a data list, and which of its files are missing."""
    result, missing = {}, []
    for key in dict.fromkeys([*wanted, *optional, LABEL]):
        path = _resolve(root, entry, key)
        if path is not None and (path.is_file() or can_be_fetched(path)):
            result[key] = str(path)
        elif key in wanted or (path is not None and key in optional):
            missing.append(f"{entry['case']} (entry {number}) {key}: {path or 'not in the list'}")
    about = {key: value for key, value in entry.items() if key not in MODALITIES and key != LABEL}
    return Case.from_entry({LABEL_VALUES: label_values} | about | result), missing


def _choose(
    content: dict, name: str, section: str, folds: Sequence[int] | None, exclude: Sequence[int | str] | None
) -> list[tuple[int, dict]]:
    if section not in content:
        there = [key for key, value in content.items() if isinstance(value, list)]
        raise refused("E-LIST-06", where=f"{name}: {section}", found=f"sections {', '.join(there)}")
    known = {entry.get("fold") for entry in content[section]}
    left_out = [fold for fold in exclude or [] if fold != ALL]
    strange = [fold for fold in [*(folds or []), *left_out] if fold not in known]
    if strange and content[section]:
        text = f"requested {strange[0]}, there are {sorted(f for f in known if f is not None)}"
        fault, fix = "data list has no such fold", "name one of these"
        raise refused("E-LIST-12", where=f"{name}: {section}", found=text, fault=fault, fix=fix)
    chosen = [
        (number, entry)
        for number, entry in enumerate(content[section], start=1)
        if (folds is None or entry.get("fold") in folds) and entry.get("fold") not in (exclude or [])
    ]
    if not chosen and left_out and content[section]:
        fix = "make a list with more folds, or train on all scans: --fold all"
        raise refused("E-LIST-05", where=f"{name}: {section}", found=f"every case is in folds {left_out}", fix=fix)
    if not chosen:
        asked = f" with folds {folds}" if folds else ""
        raise refused("E-LIST-05", where=f"{name}: {section}", found=f"no case{asked}")
    return chosen


def _resolve(root: Path, entry: dict, key: str) -> Path | None:
    if key in entry:
        return _respell(root, relative_path(root, entry[key]))
    if key != "ctp" or "ct" not in entry:
        return None
    case = home_of(_respell(root, relative_path(root, entry["ct"])))
    return next((path for path in walk(case, depth=1) if "4DPWI" in path.name and IMAGE.search(path.name)), None)


def _respell(root: Path, relative: str) -> Path:
    path = root / relative
    if path.exists():
        return path
    first, _, tail = relative.partition("/")
    return next(
        (p for other in (first.upper(), first.lower(), first.capitalize()) if (p := root / other / tail).exists()), path
    )


def find_inputs(
    paths: Sequence[str | Path],
    *,
    section: str | None = None,
    keys: Sequence[str] | None = None,
    reads: Sequence[str] | None = None,
    left_out: list[Finding] | None = None,
) -> list[Case]:
    """Return the cases of case folders and data folders of any layout, in the given order.

    Args:
        section: ``training`` or ``testing`` of data folders; default both.
        keys: modalities that every case must hold, the bundle's; default those of each folder's layout.
        reads: modalities that are read, as for ``find_cases``.
        left_out: takes why cases are left out, one finding each; without it the first fault is raised.
    Raises: ``E-LIST-20`` when two of them have the same name, ``E-LIST-71`` for a URL, and those of ``find_cases``.

    >>> [case.name for case in find_inputs([folder])]
    ['case_1', 'case_2', 'case_3']
    """
    cases: list[Case] = []
    for path in paths:
        require_here(path)
        cases += find_cases(path, section=section, keys=keys, reads=reads, left_out=left_out)
    require_own_names([case.name for case in cases], "E-LIST-20", where=", ".join(map(str, paths)))
    return cases


def find_entries(
    dataset_dir: str | Path,
    *,
    data_list: str | Path | None = None,
    section: str | None = None,
    folds: Sequence[int] | None = None,
    keys: Sequence[str],
    optional: Sequence[str] = (),
    fetch: bool = True,
    left_out: list[Finding] | None = None,
) -> list[dict[str, object]]:
    """Return the entries that MONAI transforms read, for the cases of a data list or of a folder.

    Args:
        section: of a list ``training`` (default) or ``test``, of a folder ``training`` or ``testing`` (default both).
    Raises: ``E-EVAL-11`` folds without a list, those of ``find_inputs`` and ``load_entries``.

    >>> [entry["case"] for entry in find_entries(folder, keys=["flair"])]
    ['case_1', 'case_2', 'case_3']
    """
    if data_list is None:
        if folds is not None:
            raise refused("E-EVAL-11", where="--folds", found=f"folds {', '.join(map(str, folds))}")
        asked: dict[str, Any] = {"keys": keys, "reads": (*keys, *optional), "left_out": left_out}
        cases = find_inputs([dataset_dir], section=section and (section_of(section) or section), **asked)
        if section and not cases and not left_out:
            text = {"found": f"no case of {section}", "fault": "data folder has no such section"}
            raise refused("E-LIST-06", where=str(dataset_dir), **text, fix="name training or test, or none for both")
        return [case.entry() for case in cases]
    options: dict[str, Any] = {"folds": folds, "keys": keys, "optional": optional, "fetch": fetch, "left_out": left_out}
    return load_entries(data_list, dataset_dir, section=section or "training", need_label=False, **options)


def find_apart(
    paths: Sequence[str | Path],
    find: Callable[[str | Path, list[Finding] | None], list[dict[str, object]]],
    *,
    strict: bool,
) -> tuple[list[dict[str, object]], dict[str, Record]]:
    """Return the entries of several paths, and the records of paths and cases that cannot be used.

    Args:
        find: returns the entries of a path and appends a finding for each case left out to its second argument.
    """
    left: list[Finding] = []
    entries: list[dict[str, object]] = []
    for path in paths:
        try:
            entries += find(path, None if strict else left)
        except IslesError as error:
            if strict:
                raise
            left.append(replace(as_finding(error), case=str(path)))
    if not entries:
        refuse(left)
    require_own_names([str(entry["case"]) for entry in entries], "E-LIST-20", where=", ".join(map(str, paths)))
    return entries, left_out_records(left)


def measured_lesion_share(entries: Sequence[Mapping[str, object]]) -> float:
    """Return the share of lesion voxels among all voxels of the masks of ``entries``, background included.

    Only the masks are read, each once. An unreadable mask does not count; the training leaves its case out.

    Raises: ``E-LBL-10`` when no mask that can be read holds a lesion.
    Source: w of equation (4), Abulnaga & Rubin 2018 (doi:10.1007/978-3-030-11723-8_36): "the empirical measure of
        lesions in the training dataset"; ``tests/data/test_lesion_share.py``.

    >>> share = measured_lesion_share(find_entries(folder, keys=["flair"]))
    >>> 0.001 < share < 0.01
    True
    """
    lesion = total = 0
    for entry in progress(entries, "measuring lesions"):
        values = cast(Sequence[int] | None, entry.get(LABEL_VALUES))
        try:
            mask = read_image(str(entry[LABEL]), kind="label", where=str(entry["case"]), label_values=values).data > 0
        except IslesError as error:
            log.warning("a mask is not measured: %s", remark_lines([as_finding(error)])[0])
            continue
        lesion, total = lesion + int(mask.sum()), total + mask.size
    if not lesion:
        result = f"{len(entries)} masks, {total} voxels, none of lesion"
        raise refused("E-LBL-10", where="weight of the cross-entropy", found=result)
    return lesion / total
