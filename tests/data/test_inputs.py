"""A case folder, a data folder or several of them become cases."""

from __future__ import annotations

from pathlib import Path

import pytest

from monai_isles.data import find_entries, find_inputs
from monai_isles.errors import IslesError
from monai_isles.io.findings import collect_remarks

KEYS = ("CT", "CT_CBF", "CT_CBV", "CT_MTT", "CT_Tmax")


def make(folder: Path, keys: tuple[str, ...] = KEYS) -> Path:
    for number, key in enumerate(keys):
        name = f"SMIR.Brain.XX.O.{key}.{number}"
        (folder / name).mkdir(parents=True)
        (folder / name / f"{name}.nii").write_bytes(b"0")
    return folder


def test_a_single_case_folder_is_one_case(tmp_path: Path) -> None:
    (case,) = find_inputs([make(tmp_path / "case_7")])
    assert case.name == "case_7" and set(case.images) == {"ct", "cbf", "cbv", "mtt", "tmax"} and case.label is None


def test_a_data_folder_gives_all_its_cases(tmp_path: Path) -> None:
    make(tmp_path / "TRAINING" / "case_2")
    make(tmp_path / "TRAINING" / "case_10")
    assert [case.name for case in find_inputs([tmp_path])] == ["case_2", "case_10"]


def test_equal_names_are_refused(tmp_path: Path) -> None:
    folders = [make(tmp_path / part / "case_1") for part in ("a", "b")]
    with pytest.raises(IslesError, match="E-LIST-20(?s:.*)case_1 more than once"):
        find_inputs(folders)


@pytest.mark.parametrize(("section", "part"), [("test", "TESTING"), ("testing", "TESTING"), ("training", "TRAINING")])
def test_a_section_of_a_data_folder_may_have_the_names_of_the_other(tmp_path: Path, section: str, part: str) -> None:
    """As in ISLES 2018."""
    for name in ("TRAINING", "TESTING"):
        make(tmp_path / name / "case_1")
    (entry,) = find_entries(tmp_path, section=section, keys=["cbf"])
    assert part in str(entry["cbf"])
    with pytest.raises(IslesError, match=r"E-LIST-20(?s:.*)--section test"):
        find_entries(tmp_path, keys=["cbf"])
    with pytest.raises(IslesError, match=r"E-LIST-06(?s:.*)validation"):
        find_entries(tmp_path, section="validation", keys=["cbf"])


def test_a_case_folder_that_lacks_a_map_names_it(tmp_path: Path) -> None:
    with pytest.raises(IslesError, match="E-LIST-02(?s:.*)case_3: no tmax"):
        find_inputs([make(tmp_path / "case_3", KEYS[:-1])])


def test_a_relative_folder_gives_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "data" / "TRAINING" / "case_1", (*KEYS, "OT"))
    monkeypatch.chdir(tmp_path)
    for cases in (find_inputs([Path("data")]), find_inputs([Path("data/TRAINING/case_1")])):
        assert cases[0].label is not None and cases[0].label.is_absolute()
        assert all(path.is_absolute() for path in cases[0].images.values())


def test_names_that_differ_in_capitals_alone_are_remarked(tmp_path: Path) -> None:
    for name in ("P0_dwi.nii", "p0_dwi.nii", "p1_dwi.nii"):
        (tmp_path / name).write_bytes(b"0")
    with collect_remarks() as remarks:
        assert len(find_inputs([tmp_path])) == 3
    assert [(one.code, one.found.partition(";")[0]) for one in remarks] == [("E-LIST-20", "P0, p0")]
