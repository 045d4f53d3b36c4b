"""The folders a user names on the command line, as cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from monai_isles.case import Case
from monai_isles.data.entries import load_entries
from monai_isles.data.layouts import find_cases, read_case
from monai_isles.data.remote import require_here
from monai_isles.errors import IslesError


def find_inputs(
    paths: Sequence[str | Path], *, section: str | None = None, keys: Sequence[str] | None = None
) -> list[Case]:
    """Return the cases of case folders and of data folders of any layout, in the order given.

    Args:
        section: ``training`` or ``testing`` of data folders; both unless told.
        keys: modalities that every case must hold, the bundle's; those of each folder's layout unless told.
    Raises:
        IslesError: ``E-LIST-20`` when two of them have the same name, ``E-LIST-71`` for a URL, and those of
            ``find_cases``.
    Source: ours; ``tests/data/test_inputs.py``.
    """
    cases: list[Case] = []
    for path in map(_here, paths):
        single = read_case(path, keys=keys)
        cases += [single] if single is not None else find_cases(path, section=section, keys=keys)
    twice = [name for name, times in Counter(case.name for case in cases).items() if times > 1]
    if twice:
        raise IslesError(
            "E-LIST-20",
            "two cases have the same name",
            where=", ".join(map(str, paths)),
            found=f"{', '.join(twice[:8])} more than once; results would overwrite each other",
            fix="predict TRAINING and TESTING, or equal names, into separate folders",
        )
    return cases


def find_entries(
    dataset_dir: str | Path,
    *,
    data_list: str | Path | None = None,
    section: str | None = None,
    folds: Sequence[int] | None = None,
    keys: Sequence[str],
    fetch: bool = True,
) -> list[dict[str, object]]:
    """Return what MONAI transforms read, for the cases of a data list, or for all cases of a folder.

    Raises:
        IslesError: those of ``find_inputs`` and ``load_entries``.
    """
    if data_list is None:
        return [case.entry() for case in find_inputs([dataset_dir], section=section, keys=keys)]
    chosen = {"section": section or "training", "folds": folds, "keys": keys, "fetch": fetch}
    return load_entries(data_list, dataset_dir, **chosen, need_label=False)


def _here(path: str | Path) -> Path:
    require_here(path)
    return Path(path)
