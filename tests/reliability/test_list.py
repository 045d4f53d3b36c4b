"""Every case of the list has a test that bears its id, and no test bears another."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.reliability.cases import CASES, GROUPS, MUST_SIMPLY_WORK, case_of

COUNTS = {"A": 10, "B": 9, "C": 12, "D": 10, "E": 12, "F": 6, "G": 10, "H": 14, "I": 13, "J": 2}


def names_by_file() -> dict[str, list[str]]:
    files = sorted(Path(__file__).parent.glob("test_*.py"))
    trees = {path.name: ast.parse(path.read_text(encoding="utf-8")) for path in files}
    return {
        name: [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
        for name, tree in trees.items()
    }


def test_the_list_has_its_98_cases() -> None:
    assert len(CASES) == 98 == sum(COUNTS.values()) and set(COUNTS) == set(GROUPS) and set(CASES) >= MUST_SIMPLY_WORK
    assert list(CASES) == [f"{letter}{n + 1}" for letter, count in COUNTS.items() for n in range(count)]


def test_every_case_has_a_test_of_its_own_in_the_file_of_its_group() -> None:
    found = [(case_of(test), file[5].upper()) for file, tests in names_by_file().items() for test in tests]
    there = {case for case, letter in found if case is not None and case[0] == letter}
    assert there == set(CASES), set(CASES) - there


def test_no_test_bears_an_id_that_the_list_does_not_have() -> None:
    ids = [test for tests in names_by_file().values() for test in tests if re.match(r"test_[a-j]\d+_", test)]
    assert [test for test in ids if case_of(test) is None] == []
