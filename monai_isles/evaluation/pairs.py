"""Pair predictions with references."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from unicodedata import normalize

from monai_isles.case import Case, readable
from monai_isles.errors import IslesError, refused
from monai_isles.io.findings import WARNING, Finding, as_error, finding, refuse, tell
from monai_isles.io.read import Image, require_same_grid
from monai_isles.io.runs import PREVIOUS, RECORD, read_record
from monai_isles.modalities import LABEL, PERFUSION_MAPS

Mask = TypeVar("Mask", bound=Path | None)
_SUFFIXES = (".nii.gz", ".nii")
_IN_BIDS = re.compile(
    r"(sub-[a-z0-9]+(?:_ses-[a-z0-9]+)?)_(?:.*_)?label-lesion_(?:.*_)?mask\.nii(?:\.gz)?$", re.IGNORECASE
)
_NO_MAPS = "add the missing file; without --baseline only the mask is read, and no plain CT and maps"


def find_references(
    ref_dir: Path,
    *,
    data_list: Path | None = None,
    section: str = "training",
    folds: Sequence[int] | None = None,
    maps: bool = False,
    left_out: dict[str, IslesError] | None = None,
) -> list[Case]:
    """Find the cases of a reference folder that have a lesion mask.

    The folder is in one of the ISLES layouts, or holds ``<case>/lesion.nii.gz`` or ``<case>.nii.gz``, or is plain
    (images and masks named ``<case>_dwi``, ``<case>_mask``). For masks with several labels (SPES) the layout's first
    target is used, or the target of the data list.

    Args:
        ref_dir: reference folder, or the data folder that ``data_list`` is relative to.
        left_out: receives the fault of every case with unusable files; without it the first is raised.
    """
    faults: list[Finding] | None = None if left_out is None else []
    if data_list is not None:
        from monai_isles.data.entries import load_entries

        needed, may = (PERFUSION_MAPS, ("ct",)) if maps else ((), ())
        wanted: dict[str, Any] = {"section": section, "folds": folds, "keys": needed, "optional": may}
        entries = load_entries(data_list, ref_dir, **wanted, need_label=True, left_out=faults)
        cases = [Case.from_entry(entry) for entry in entries]
    elif _is_data_folder(ref_dir):
        from monai_isles.data.layouts import find_cases

        needed, reads = (PERFUSION_MAPS, ("ct", *PERFUSION_MAPS, LABEL)) if maps else ((), (LABEL,))
        chosen: dict[str, Any] = {"keys": needed, "reads": reads, "left_out": faults}
        cases = [case for case in find_cases(ref_dir, **chosen) if case.label is not None]
    else:
        cases = [Case(name, name, label=path) for name, path in find_masks(ref_dir).items()]
    if maps and faults:
        faults = [replace(fault, fix=_NO_MAPS) if fault.code == "E-LIST-02" else fault for fault in faults]
    if left_out is not None and faults:
        left_out |= {fault.case: as_error(fault) for fault in faults}
    if not cases:
        refuse(faults or [])
        raise refused("E-EVAL-05", where=str(ref_dir), found="no case with a lesion mask")
    _by_name((case.name, case.label) for case in cases)
    return cases


def find_predictions(
    pred_dir: Path, cases: Sequence[Case], *, allow_missing: bool, left_out: dict[str, IslesError] | None = None
) -> tuple[dict[str, Path | None], list[str]]:
    """Find the mask of every case (None if missing), and the predictions without a reference.

    Names are compared as they are, then without a last word that means a mask: ``P1`` is that of ``P1_mask``.
    ``left_out`` takes the fault of every case without a mask, while another one has one.
    """
    paths, names = find_masks(pred_dir), {normalize("NFC", case.name): case.name for case in cases}
    bare = dict[str, list[str]]()
    for name in names:
        bare.setdefault(_bare(name), []).append(name)
    alike = {name: bare.get(_bare(name), []) for name in sorted(set(paths) - set(names))}
    owners = names | {name: names[own[0]] for name, own in alike.items() if len(own) == 1}
    masks = _by_name((owners[name], paths[name]) for name in [*names, *alike] if name in paths and name in owners)
    extra = [name for name in alike if name not in owners]
    missing = [case.name for case in cases if case.name not in masks]
    if any(case.images for case in cases):  # a data folder, where nobody predicts a mask without images
        for case in [case for case in cases if not case.images and case.name in missing]:
            tell(finding("E-LIST-32", WARNING, where=str(case.label), found="no image and no prediction of this name"))
            missing.remove(case.name)
            cases = [other for other in cases if other is not case]
    if missing and not allow_missing:
        if left_out is None or len(missing) == len(cases):
            result = f"{len(missing)} of {len(cases)} cases without a mask: {', '.join(missing)}"
            raise refused("E-EVAL-06", where=str(pred_dir), found=result)
        left_out |= {name: refused("E-EVAL-06", where=f"{pred_dir}: {name}", found="no mask") for name in missing}
    return {case.name: masks.get(case.name) for case in cases if allow_missing or case.name in masks}, extra


def _bare(name: str) -> str:
    """Return a name without a last word that means a mask."""
    from monai_isles.data.folder import key_of

    before, key = key_of(f"{name}.nii") or ("", "")
    return before.rstrip("_.- ") if key == LABEL and before else name


def _failed_cases(folder: Path) -> set[str]:
    if (folder / PREVIOUS).is_file() and not (folder / RECORD).is_file():
        tell(finding("E-EVAL-12", WARNING, where=str(folder), found=f"{PREVIOUS} without {RECORD}"))
    cases = read_record(folder / RECORD).get("cases")
    results = cases.items() if isinstance(cases, dict) else ()
    failed = {name for name, result in results if isinstance(result, dict) and result.get("outcome") == "failed"}
    return {normalize("NFC", name) for name in failed}


def on_reference_grid(image: Image, reference: Image, case: Case, *, kind: str) -> Image:
    """Return a result of a case on the grid of its reference.

    On another grid it is refused, or resampled where the case states ``resample``: a mask (``LABEL``) by its nearest
    voxel, others linearly.
    """
    if case.resample:
        from monai_isles.transforms.grid import onto_first

        image = onto_first({"reference": reference, kind: image}, case=case.name)[kind]
    name = "prediction" if kind == LABEL else kind
    require_same_grid({"reference": reference, name: image}, case=case.name)
    return image


def _is_data_folder(folder: Path) -> bool:
    """Return whether the folder also holds images, named as in a release or in a plain folder without lesion masks."""
    from monai_isles.data.layouts import PLAIN, find_layout

    if folder.is_dir() and any(p.is_dir() and p.name.lower() in ("training", "testing") for p in folder.iterdir()):
        return True
    try:
        layout = find_layout(folder)
    except IslesError as error:
        if error.code == "E-LIST-01":
            return False
        raise
    return layout is not PLAIN or not any(any(folder.glob(f"*/lesion{end}")) for end in _SUFFIXES)


def find_masks(folder: Path) -> dict[str, Path]:
    """Return the masks of a folder by case, ``<case>/lesion.nii.gz`` or ``<case>.nii.gz``; ignore other files.

    In the folder of a case without a lesion file its only mask by name is taken (``P1/mask.nii.gz``); of BIDS
    derivatives the masks with ``label-lesion``, by subject and session.
    Suffixes may be in capitals; names are in composed Unicode (NFC), as macOS stores them apart. The mask of a case
    that failed by the folder's ``run.json`` is of a former run, with other inputs or weights, and is passed over; a
    run that was interrupted is remarked (``E-EVAL-12``).
    """
    folder = folder.absolute()  # for workers in another folder
    failed, items = _failed_cases(folder), sorted(folder.iterdir()) if folder.is_dir() else []
    found = [(normalize("NFC", readable(name)), path) for item in items for name, path in _masks_of(item)]
    if not found:
        paths = ((_IN_BIDS.match(path.name), path) for path in sorted(folder.rglob("sub-*_mask.nii*")))
        found = [(match[1], path) for match, path in paths if match]
    return {name: path for name, path in _by_name(found).items() if name not in failed}


def _masks_of(item: Path) -> list[tuple[str, Path]]:
    """Return case and path of the masks that a file or a folder of predictions is or holds."""
    from monai_isles.data.folder import key_of

    if item.name.startswith("."):
        return []
    if not item.is_dir():
        return [(item.name[: -len(end)], item) for end in _SUFFIXES if item.name.lower().endswith(end)]
    masks = [path for path in item.iterdir() if (key_of(path.name) or ("", ""))[1] == LABEL]
    lesions = [item / f"lesion{end}" for end in _SUFFIXES if (item / f"lesion{end}").is_file()]
    return [(item.name, path) for path in lesions or (masks if len(masks) == 1 else [])]


def _by_name(masks: Iterable[tuple[str, Mask]]) -> dict[str, Mask]:
    """Return masks by case; refuse two of one case."""
    result: dict[str, Mask] = {}
    for name, path in masks:
        if name in result:
            raise refused("E-EVAL-07", where=name, found=f"{result[name]} and {path}")
        result[name] = path
    return result
