"""The ISLES 2018 layout is understood, and everything missing is named at once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from monai_isles.data import find_cases
from monai_isles.errors import IslesError


def test_cases_come_in_numeric_order_training_first(dataset: Path, tools: dict) -> None:
    tools["make_case"](dataset, 10, person=5)
    cases = find_cases(dataset)
    assert [case.name for case in cases] == [f"case_{n}" for n in (1, 2, 3, 4, 5, 6, 10, 1)]
    assert [case.label is None for case in cases] == [False] * 7 + [True]
    assert set(cases[0].images) == {"ct", "cbf", "cbv", "mtt", "tmax", "ctp"} and all(
        p.is_absolute() for p in cases[0].images.values()
    )
    assert len({case.subject for case in cases}) == 8  # without a table everybody is alone


@pytest.mark.parametrize("spelling", ["training", "Training"])
def test_the_spelling_of_training_does_not_matter(dataset: Path, spelling: str) -> None:
    (dataset / "TRAINING").rename(dataset / spelling)
    assert len(find_cases(dataset, section="training")) == 6 and len(find_cases(dataset, section="testing")) == 1


def test_a_case_without_a_mask_is_a_case(dataset: Path, tools: dict) -> None:
    tools["path_of"](dataset, 2, "label").unlink()
    assert find_cases(dataset)[1].label is None


def test_all_missing_files_are_in_one_error(dataset: Path, tools: dict) -> None:
    tools["path_of"](dataset, 2, "cbf").unlink()
    tools["path_of"](dataset, 5, "ct").unlink()
    tools["path_of"](dataset, 5, "tmax").unlink()
    with pytest.raises(
        IslesError, match=r"E-LIST-02: files are missing(?s:.*)training case_2: no cbf; training case_5: no ct, tmax"
    ):
        find_cases(dataset)


def test_two_files_of_one_modality_are_refused(dataset: Path, tools: dict) -> None:
    shutil.copytree(tools["path_of"](dataset, 3, "cbv").parent, dataset / "TRAINING" / "case_3" / "copy")
    with pytest.raises(IslesError, match=r"E-LIST-13(?s:.*)training case_3: cbv"):
        find_cases(dataset)


@pytest.mark.parametrize(("make", "words"), [(None, "no such folder"), ("", "an empty folder"), ("case_1", "case_1")])
def test_a_folder_without_cases_is_refused(tmp_path: Path, make: str | None, words: str) -> None:
    if make is not None:
        (tmp_path / "d" / make).mkdir(parents=True)
    with pytest.raises(IslesError, match=rf"E-LIST-01: no case found(?s:.*){words}(?s:.*)TRAINING"):
        find_cases(tmp_path / "d")


def test_the_folders_own_table_names_the_subjects(dataset: Path) -> None:
    rows = [f"case_{n},s{n // 3},TRAINING" for n in range(1, 7)] + ["case_1,t1,TESTING"]
    (dataset / "subjects.csv").write_text("case,subject,section\n" + "\n".join(rows))
    assert [case.subject for case in find_cases(dataset)] == ["s0", "s0", "s1", "s1", "s1", "s2", "t1"]
