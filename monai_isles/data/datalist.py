"""Data lists: made from a folder, read back only when they are sound."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from monai_isles.case import Case
from monai_isles.data.folds import group_folds
from monai_isles.data.grouping import group_by_evidence
from monai_isles.data.isles2018 import SUBJECTS, TESTING, TRAINING, find_cases
from monai_isles.data.schema import require_sound
from monai_isles.errors import IslesError
from monai_isles.io.publish import publish_json
from monai_isles.io.read import read_image
from monai_isles.modalities import LABEL
from monai_isles.progress import progress

SIMULATED = "SIMULATED.txt"
BALANCED = ("cases", "lesion volume")
_DESCRIPTIONS = {True: "Simulated CT perfusion, no real patient", False: "CT perfusion in the ISLES 2018 layout"}


def make_datalist(
    folder: str | Path, *, folds: int = 5, seed: int = 0, subjects: str | Path | None = None, name: str | None = None
) -> dict:
    """Return the data list of a folder in the ISLES 2018 layout, with folds that never split a subject.

    The same files give the same list wherever the folder lies: paths are relative, the order is that of the names.

    Args:
        folds, seed: see ``group_folds``; lesion volumes are balanced.
        subjects: table ``case,subject,section``; else the folder's ``subjects.csv``; else by evidence, provisional.
        name: name of the list.
    Raises:
        IslesError: ``E-LIST-01``, ``02``, ``09``, ``12``, ``13``, and those of ``read_image``.
    """
    folder = Path(folder)
    table = Path(subjects) if subjects is not None else None
    training = find_cases(folder, subjects=table, section=TRAINING)
    testing = find_cases(folder, subjects=table, section=TESTING)
    named, grouping = _grouping(folder, table, training)
    people = [named[case.name] for case in training]
    chosen = group_folds(people, folds, seed, volumes_ml=_volumes_ml(training)) if training else []
    simulated = (folder / SIMULATED).is_file()
    content = {
        "name": name or ("phantom_ct" if simulated else "isles2018"),
        "description": _DESCRIPTIONS[simulated],
        "simulated": simulated,
        "grouping": grouping,
        "folds": {"count": folds, "seed": seed, "balanced": list(BALANCED)},
        "labels": {"0": "background", "1": "lesion"},
        "numTraining": len(training),
        "numTest": len(testing),
        "training": [_entry(case, named[case.name], folder, fold) for case, fold in zip(training, chosen, strict=True)],
        "test": [_entry(case, case.subject, folder, None) for case in testing],
    }
    require_sound(content, str(folder))
    return content


def read_datalist(path: str | Path) -> dict:
    """Return the content of a data list, refused when a run on it would be wrong.

    Raises:
        IslesError: ``E-FILE-01`` missing, ``E-LIST-03`` broken JSON, and those of ``schema.require_sound``.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise IslesError(
            "E-FILE-01",
            "file is missing",
            where=str(path),
            found="no such file",
            fix="make one: monai-isles datalist DIR --out FILE",
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise IslesError(
            "E-LIST-03",
            "data list is not JSON",
            where=str(path),
            found=str(error),
            fix="correct the file at this place",
        ) from error
    require_sound(content, str(path))
    return content


def find_data_list(
    dataset_dir: str | Path,
    data_list: str | Path | None = None,
    *,
    keep: str | Path | None = None,
    folds: int = 5,
    seed: int = 0,
) -> dict:
    """Return the given data list, or make the folder's own; keep a copy beside the results.

    Raises:
        IslesError: those of ``read_datalist`` and ``make_datalist``.
    """
    content = read_datalist(data_list) if data_list else make_datalist(dataset_dir, folds=folds, seed=seed)
    if keep is not None:
        publish_json(keep, content, inputs=[data_list] if data_list else [])
    return content


def _grouping(folder: Path, table: Path | None, training: Sequence[Case]) -> tuple[dict[str, str], dict[str, object]]:
    named = {case.name: case.subject for case in training}
    if table is None and not (folder / SUBJECTS).is_file():
        named, pairs = group_by_evidence(training)
        evidence: dict[str, object] = {"subjects": len(set(named.values())), "cases": len(named), "joined": pairs}
        return named, {"source": "evidence", "provisional": True, "evidence": evidence}
    evidence = {"subjects": len(set(named.values())), "cases": len(named)}
    return named, {"source": "file" if table else SUBJECTS, "provisional": False, "evidence": evidence}


def _volumes_ml(cases: Sequence[Case]) -> list[float]:
    volumes = []
    for case in progress(cases, "measuring lesions", total=len(cases)):
        if case.label is None:
            volumes.append(0.0)
            continue
        mask = read_image(case.label, kind=LABEL, where=case.name)
        x, y, z = mask.spacing_mm
        volumes.append(float(mask.data.sum()) * x * y * z / 1000.0)
    return volumes


def _entry(case: Case, subject: str, folder: Path, fold: int | None) -> dict[str, object]:
    entry: dict[str, object] = {"case": case.name, "subject": subject}
    if fold is not None:
        entry["fold"] = fold
    files = case.images | ({LABEL: case.label} if case.label else {})
    return entry | {key: path.relative_to(folder.absolute()).as_posix() for key, path in files.items()}
