"""``case.yml``: which file is which modality, in words that are checked, never outside its folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from monai_isles.data import find_cases, find_inputs
from monai_isles.data.checks import check_folder
from monai_isles.data.layouts import find_layout, read_case_file
from monai_isles.errors import IslesError

PLAIN = "images: {ct: a.nii.gz, cbf: maps/b.nii.gz}\n"


def make(folder: Path, text: str = PLAIN, *files: str) -> Path:
    for name in files or ("a.nii.gz", "maps/b.nii.gz", "m.nii.gz"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"0")
    (folder / "case.yml").write_text(text)
    return folder


def test_a_case_file_names_the_images(tmp_path: Path) -> None:
    make(tmp_path / "anna", PLAIN + "label: m.nii.gz\nlabel_values: [1, 2]\nsubject: p7\nresample: true\n")
    assert find_layout(tmp_path).name == "case_files"
    (case,) = find_cases(tmp_path)
    assert (case.name, case.subject, case.label_values) == ("anna", "p7", (1, 2))
    assert case.images == {"ct": tmp_path / "anna/a.nii.gz", "cbf": tmp_path / "anna/maps/b.nii.gz"}
    assert case.entry()["resample"] is True and case.label == tmp_path / "anna/m.nii.gz"


def test_the_folder_itself_may_be_the_case(tmp_path: Path) -> None:
    make(tmp_path / "bert", PLAIN + "name: other\n")
    (case,) = find_inputs([tmp_path / "bert"], keys=("ct", "cbf"))
    assert (case.name, case.subject, "resample" in case.entry()) == ("other", "other", False)


def test_a_case_file_goes_before_names(tmp_path: Path) -> None:
    name = "SMIR.Brain.XX.O.CT.1/SMIR.Brain.XX.O.CT.1.nii"
    make(tmp_path / "case_1", f"images: {{ct: {name}}}\n", name, "x_dwi.nii")
    (case,) = find_inputs([tmp_path / "case_1"])
    assert set(case.images) == {"ct"}


def test_sections_are_kept_apart(tmp_path: Path) -> None:
    make(tmp_path / "train/a")
    make(tmp_path / "test/b")
    assert [case.name for case in find_cases(tmp_path, section="testing")] == ["b"]


def refused(folder: Path, text: str, words: str) -> None:
    make(folder, text)
    with pytest.raises(IslesError, match=words) as error:
        read_case_file(folder / "case.yml")
    assert len(str(error.value).splitlines()) == 4


@pytest.mark.parametrize(("text", "found"), [
    ("images: {ct: [", "not YAML"), ("- a\n", "list, words with values"), ("images: a.nii\n", "images(?s:.*)str"),
    ("images: {}\n", "a list of modality"), ("label: m.nii.gz\n", "NoneType"), ("images: {ct: 3}\n", "a file name"),
    (PLAIN + "resample: often\n", "'often', true or false"), (PLAIN + "name: ../x\n", "a plain name wanted"),
    (PLAIN + "subject: [a]\n", "a plain name"), (PLAIN + "label_values: [0]\n", "whole numbers above 0"),
    ("images: !!python/object/apply:os.system [ls]\n", "not YAML"), ("a: " + "[" * 3000, "more than 100 brackets"),
    ("- " * 5000, "not YAML|list"),
    (PLAIN + "#" * 70000, "70043 bytes, at most 16384"),
])  # fmt: skip
def test_what_is_not_as_described_is_refused(tmp_path: Path, text: str, found: str) -> None:
    refused(tmp_path, text, rf"E-LIST-63: case file cannot be read(?s:.*){found}")


def test_unknown_words_are_refused(tmp_path: Path) -> None:
    refused(tmp_path, "images: {ct: a.nii.gz, pet: m.nii.gz}\nlesion: m.nii.gz\n",
            r"E-LIST-64: case file holds unknown keys(?s:.*)lesion, images: pet(?s:.*)these keys: images")  # fmt: skip


@pytest.mark.parametrize("name", ["../a.nii.gz", "/etc/passwd", "maps/../../a.nii.gz", "link/a.nii.gz"])
def test_a_path_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    make(tmp_path / "case")
    make(tmp_path)
    (tmp_path / "case" / "link").symlink_to(tmp_path)
    refused(tmp_path / "case", f"images: {{ct: {name}}}\n", r"E-LIST-65: case file points out of its folder")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, "images: {ct: c.nii.gz}\n", r"E-LIST-66: files are missing(?s:.*)ct(?s:.*)no file c.nii.gz")


def test_one_case_file_leaves_the_other_cases_in(tmp_path: Path) -> None:
    make(tmp_path / "p6", PLAIN + "label: m.nii.gz\nlabel_values: [2]\n")
    for name in ("p5", "p10"):
        make(tmp_path / name, "", f"{name}_ct.nii.gz", f"{name}_mask.nii.gz")
        (tmp_path / name / "case.yml").unlink()
    cases = find_cases(tmp_path)
    assert [(case.name, case.label_values) for case in cases] == [("p5", None), ("p6", (2,)), ("p10", None)]
    assert [set(case.images) for case in cases] == [{"ct"}, {"ct", "cbf"}, {"ct"}]


def test_the_rest_of_the_folder_must_be_clear_too(tmp_path: Path) -> None:
    make(tmp_path / "p6")
    for name in ("MR_T1", "MR_Tmax"):
        make(tmp_path / "case_1", "", f"VSD.Brain.XX.O.{name}.1.nii")
    (tmp_path / "case_1" / "case.yml").unlink()
    with pytest.raises(IslesError, match="E-LIST-30"):
        find_cases(tmp_path)


def test_check_reads_a_mask_by_its_values(tmp_path: Path, tools: dict) -> None:
    for name, values in {"p1": "\nlabel_values: [2]", "p2": ""}.items():
        tools["save"](tmp_path / name / "flair.nii", np.arange(60, dtype=np.float32).reshape(5, 4, 3))
        tools["save"](tmp_path / name / "mask.nii", np.eye(5, 4, dtype=np.uint8)[..., None].repeat(3, axis=2) * 2)
        (tmp_path / name / "case.yml").write_text("images: {flair: flair.nii}\nlabel: mask.nii" + values)
    (item,) = (item for item in check_folder(tmp_path)[0] if item.severity == "error")
    assert (item.code, item.case) == ("E-LBL-01", "training p2") and "case.yml" in item.fix
