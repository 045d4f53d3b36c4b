"""The folders a user names on the command line, as cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from monai_isles.case import Case
from monai_isles.data.isles2018 import find_cases, read_case
from monai_isles.errors import IslesError


def find_inputs(paths: Sequence[Path]) -> list[Case]:
    """Return the cases of case folders and of data folders, in the order given.

    Raises:
        IslesError: ``E-LIST-20`` when two of them have the same name, and those of ``find_cases``.
    Source: ours; ``tests/data/test_inputs.py``.
    """
    cases: list[Case] = []
    for path in paths:
        single = read_case(path)
        cases += [single] if single is not None else find_cases(path)
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
