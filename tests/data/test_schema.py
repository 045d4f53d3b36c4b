"""A data list that would give a wrong run is refused."""

from __future__ import annotations

import copy

import pytest

from monai_isles.data.schema import plainly_written, require_sound
from monai_isles.errors import IslesError, refused
from monai_isles.io.findings import as_finding

GOOD = {
    "training": [
        {"case": "a", "subject": "s1", "fold": 0, "ct": "T/a.nii"},
        {"case": "b", "subject": "s2", "fold": 1, "ct": "T/b.nii"},
    ],
    "test": [{"case": "a", "subject": "t1", "ct": "E/a.nii"}],
}


def changed(section: str, number: int, **entry: object) -> dict:
    content = copy.deepcopy(GOOD)
    content[section][number] |= entry
    return content


def test_a_sound_list_passes() -> None:
    require_sound(GOOD, "l.json")
    require_sound({"test": GOOD["test"]}, "l.json")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], "E-LIST-04(?s:.*)a list"),
        (None, "E-LIST-04(?s:.*)null"),
        ({"x": 1}, "E-LIST-04(?s:.*)without these sections"),
        ("x", "E-LIST-04(?s:.*)a str"),
        ({"training": {"a": 1}, "test": []}, "E-LIST-04"),
        ({"training": ["a"]}, "E-LIST-04(?s:.*)training entry 1(?s:.*)a str"),
        (changed("training", 0, case=""), "E-LIST-04(?s:.*)case is ''"),
        (changed("training", 0, case="../a"), "E-LIST-04(?s:.*)case is '../a'(?s:.*)no slash"),
        (changed("training", 0, case="/a"), "E-LIST-04(?s:.*)case is '/a'"),
        (changed("training", 0, case="site\\a"), "E-LIST-04(?s:.*)case is "),
        (changed("test", 0, case=".."), "E-LIST-04(?s:.*)case is '..'"),
        (changed("training", 1, subject=3), "E-LIST-04(?s:.*)entry 2(?s:.*)subject is 3"),
        (changed("training", 0, fold="0"), "E-LIST-04(?s:.*)fold is '0'"),
        (changed("training", 0, fold=True), "E-LIST-04(?s:.*)fold is True"),
        (changed("training", 0, fold=-1), "E-LIST-04(?s:.*)fold is -1"),
        (changed("training", 0, cbf=None), "E-LIST-04(?s:.*)cbf is None"),
        ({"training": [], "test": []}, "E-LIST-05: data list is empty"),
        (
            changed("training", 1, subject="s1"),
            "E-LIST-07: a subject is in two folds(?s:.*)subject s1(?s:.*)a in fold 0, b in fold 1",
        ),
        (changed("test", 0, subject="s1"), "E-LIST-07: a subject is in training and test(?s:.*)s1"),
        (changed("training", 1, case="a"), "E-LIST-11(?s:.*)training entry 2"),
    ],
)
def test_faults_are_named_with_their_place(content: object, words: str) -> None:
    with pytest.raises(IslesError, match=words) as caught:
        require_sound(content, "l.json")
    assert "l.json" in caught.value.where


@pytest.mark.parametrize(
    "path", ["../../../../etc/passwd", "/etc/passwd", "a/../../b.nii", "C:\\x.nii", "\\\\host\\x.nii", "..\\x.nii"]
)
@pytest.mark.parametrize("key", ["ct", "label"])
def test_paths_stay_in_the_data_folder(path: str, key: str) -> None:
    with pytest.raises(IslesError, match=rf"E-LIST-08(?s:.*)training entry 1 \(a\): {key}"):
        require_sound(changed("training", 0, **{key: path}), "l.json")


def test_dots_in_names_are_no_way_out() -> None:
    require_sound(changed("training", 0, ct="T/SMIR..x/a..b.nii"), "l.json")


@pytest.mark.parametrize(
    "entry",
    [
        {"fold": "1"},
        {"fold": 1.0},
        {"flair": None, "ctp": float("nan"), "label": ""},
        {"age": 71.5, "nihss": None, "site": {"name": "X"}},
    ],
    ids=["text for the fold", "1.0 for the fold", "empty cells", "further keys"],
)
def test_lists_as_tables_and_other_programs_write_them_mean_the_same(entry: dict) -> None:
    plain = plainly_written(changed("training", 1, **entry) | {"test": None, "label_values": None})
    require_sound(plain, "l.json")
    assert isinstance(plain, dict)
    (second,) = plain["training"][1:]
    assert {key: second.get(key) for key in (*GOOD["training"][1], "flair", "ctp", "label")} == {
        **GOOD["training"][1], "flair": None, "ctp": None, "label": None,
    }  # fmt: skip


@pytest.mark.parametrize("number", [17, 17.0])
def test_a_number_names_a_case_and_a_subject(number: float) -> None:
    plain = plainly_written(changed("training", 1, case=number, subject=number))
    require_sound(plain, "l.json")
    assert isinstance(plain, dict)
    assert (plain["training"][1]["case"], plain["training"][1]["subject"]) == ("17", "17")


@pytest.mark.parametrize("fold", [0.5, True, -1, "0.5", "-1", float("inf"), "one"])
def test_a_fold_that_is_no_number_stays_a_fault(fold: object) -> None:
    with pytest.raises(IslesError, match=r"E-LIST-04(?s:.*)fold is"):
        require_sound(plainly_written(changed("training", 0, fold=fold)), "l.json")


@pytest.mark.parametrize("left_out", [["a"], [{"case": "a", "reason": "moved"}], "a"])
def test_reasons_for_cases_left_out_in_another_form_are_passed_over(left_out: object) -> None:
    plain = plainly_written({**GOOD, "left_out": left_out})
    assert isinstance(plain, dict) and "left_out" not in plain
    ours = [vars(as_finding(refused("E-LBL-10", where="a", found="nothing")))]
    assert plainly_written({**GOOD, "left_out": ours}) == {**GOOD, "left_out": ours}
