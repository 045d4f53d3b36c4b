"""A subject table fits its folder or is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from monai_isles.data import find_cases
from monai_isles.data.checks import check_folder
from monai_isles.data.grouping import read_subjects
from monai_isles.errors import IslesError
from monai_isles.io.findings import collect_remarks

CASES = [("training", "case_1"), ("training", "case_2"), ("testing", "case_1")]


def table(tmp_path: Path, text: str) -> Path:
    (tmp_path / "s.csv").write_text(text)
    return tmp_path / "s.csv"


def test_sections_are_kept_apart_and_test_cases_may_be_left_out(tmp_path: Path) -> None:
    whole = read_subjects(
        table(tmp_path, "case,subject,section\ncase_1,a,TRAINING\ncase_2,a,training\ncase_1,b,TESTING\n"), CASES
    )
    assert whole == {("training", "case_1"): "a", ("training", "case_2"): "a", ("testing", "case_1"): "b"}
    assert len(read_subjects(table(tmp_path, "case,subject\ncase_1,a\ncase_2,b\n"), CASES)) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "case,subject\ncase_1,a\ncase_77,b\n",
            "no row for case_2(?s:.*)training case_77, which are not in the folder",
        ),
        ("case,subject\n", "no row for case_1, case_2"),
        ("case,subject\ncase_1,a\ncase_1,b\ncase_2,c\n", "case_1(?s:.*)named twice"),
        ("case,subject\ncase_1,\ncase_2,c\n", "case_1(?s:.*)subject is empty"),
        ("case,patient\ncase_1,a\n", "columns case, patient"),
        ("", "columns none"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_and_the_row_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(IslesError, match=rf"E-LIST-09(?s:.*){words}"):
        read_subjects(table(tmp_path, text), CASES)


def test_a_table_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IslesError, match="E-LIST-09: subject table cannot be read(?s:.*)none.csv"):
        read_subjects(tmp_path / "none.csv", CASES)


@pytest.mark.parametrize(
    "text",
    [
        "case;subject\r\ncase_1;A\r\ncase_2;B\r\n",
        "Case,Subject\r\ncase_1,A\r\ncase_2,B\r\n,\r\n,,\r\n",
        "sep=;\r\nCASE;SUBJECT;SECTION\r\ncase_1 ; A ;Training\r\ncase_2;B;\r\n;;\r\n",
        "case\tsubject\tage\ncase_1\tA\t70\n\ncase_2\tB\t80\n",
        "subject|case\nA|case_1\nB|case_2\n",
    ],
    ids=["semicolons", "capitals-and-empty-rows", "excel", "tabs", "bars"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_table_saved_by_a_spreadsheet_is_read(tmp_path: Path, text: str, encoding: str) -> None:
    (tmp_path / "s.csv").write_bytes(text.encode(encoding))
    assert read_subjects(tmp_path / "s.csv", CASES) == {("training", "case_1"): "A", ("training", "case_2"): "B"}


def test_rows_for_cases_that_are_not_there_are_passed_over_with_a_remark(tmp_path: Path) -> None:
    with collect_remarks() as remarks:
        read = read_subjects(table(tmp_path, "case,subject\ncase_1,a\ncase_2,a\ncase_77,b\n"), CASES)
    assert (
        len(read) == 2
        and [one.code for one in remarks] == ["E-LIST-16"]
        and "1 rows: training case_77" in remarks[0].found
    )


def test_one_case_of_a_data_set_is_not_told_of_the_rows_of_the_others(tmp_path: Path) -> None:
    for case in ("case_1", "case_2"):
        for key in ("CT", "CT_CBF", "CT_CBV", "CT_MTT", "CT_Tmax"):
            path = tmp_path / "TRAINING" / case / f"SMIR.Brain.XX.O.{key}.1.nii"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
    table(tmp_path, "case,subject\ncase_1,a\ncase_2,a\ncase_3,b\n").rename(tmp_path / "subjects.csv")
    for part, told in (("TRAINING/case_1", []), ("TRAINING", []), ("", ["E-LIST-16"])):
        with collect_remarks() as remarks:
            assert {case.subject for case in find_cases(tmp_path / part)} == {"a"}
        assert [one.code for one in remarks] == told
        with collect_remarks() as remarks:
            found, _ = check_folder(tmp_path / part)
        assert [one.code for one in found if one.code.startswith("E-LIST")] == told == [one.code for one in remarks]


def test_check_lists_a_remark_and_does_not_log_it_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "case_1_ct.nii.gz").write_bytes(b"")
    table(tmp_path, "case,subject\ncase_1,a\ncase_2,b\n").rename(tmp_path / "subjects.csv")
    found, _ = check_folder(tmp_path)
    assert "E-LIST-16" in [one.code for one in found] and not caplog.records


def test_accents_compare_in_either_unicode_form(tmp_path: Path) -> None:
    read = read_subjects(table(tmp_path, "case,subject\nM\u00fcller,a\n"), [("training", "Mu\u0308ller")])
    assert read == {("training", "Mu\u0308ller"): "a"}


def test_training_cases_without_a_row_are_subjects_of_their_own_with_a_remark(tmp_path: Path) -> None:
    for case in ("case_1", "case_2"):
        for key in ("ct", "cbf"):
            path = tmp_path / case / f"{case}_{key}.nii.gz"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"")
    table(tmp_path, "case,subject\ncase_1,a\n").rename(tmp_path / "subjects.csv")
    with collect_remarks() as remarks:
        assert [(case.name, case.subject) for case in find_cases(tmp_path)] == [("case_1", "a"), ("case_2", "case_2")]
    assert [(one.code, one.found) for one in remarks] == [("E-LIST-17", "1 cases: case_2")]


@pytest.mark.parametrize(("text", "encoding"), [
    ("case,subject,section\nM\u00dcLLER,A,train\n7,B,Train\n", "cp1252"),
    ("Case;Subject\nm\u00fcller;A\n0007;B\n", "utf-8"),
])  # fmt: skip
def test_names_that_a_spreadsheet_changed_are_known(tmp_path: Path, text: str, encoding: str) -> None:
    (tmp_path / "s.csv").write_bytes(text.encode(encoding))
    cases = [("training", "M\u00fcller"), ("training", "007")]
    assert read_subjects(tmp_path / "s.csv", cases) == dict(zip(cases, "AB", strict=True))


def test_names_that_differ_in_capitals_alone_are_told_apart(tmp_path: Path) -> None:
    cases = [("training", "a"), ("training", "A")]
    assert read_subjects(table(tmp_path, "case,subject\nA,1\na,2\n"), cases) == {cases[0]: "2", cases[1]: "1"}
