"""Group A of the reliability list: data lists and files that are not what they should be."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from monai_isles.io import publish_json

Gate, Run = Callable[..., object], Callable[..., object]


@pytest.fixture
def edit(data_list: Path) -> Callable[[Callable[[dict], object]], Path]:
    """Change the content of the data list."""

    def change(act: Callable[[dict], object]) -> Path:
        content = json.loads(data_list.read_text())
        act(content)
        publish_json(data_list, content)
        return data_list

    return change


def test_a1_every_missing_modality_file_is_named_before_any_work(
    folder: Path, image_of: Callable, training: Run, refused: Gate
) -> None:
    gone = [image_of(folder / "TRAINING" / name, key) for name, key in (("case_1", "CT_CBF"), ("case_3", "CT_Tmax"))]
    for path in gone:
        path.unlink()
    says = ["2 missing", "case_1 (entry 1) cbf", "case_3 (entry 3) tmax", *(str(path) for path in gone), "restore"]
    refused(training, "--strict", "true", exit_code=4, code="E-LIST-02", says=says)


def test_a1_prediction_names_every_missing_modality_too(
    folder: Path, image_of: Callable, predict: Run, refused: Gate
) -> None:
    for name, key in (("case_1", "CT_CBF"), ("case_3", "CT_Tmax")):
        image_of(folder / "TRAINING" / name, key).unlink()
    says = ["case_1: no cbf", "case_3: no tmax", str(folder)]
    refused(predict, folder, "--strict", exit_code=4, code="E-LIST-02", says=says)


def test_a2_a_modality_key_that_one_case_lacks_is_named_with_its_entry(
    folder: Path, edit: Callable, predict: Run, refused: Gate
) -> None:
    path = edit(lambda content: content["training"][1].pop("tmax"))
    says = ["case_2 (entry 2) tmax: not in the list", str(path)]
    refused(predict, folder, "--data-list", path, "--strict", exit_code=4, code="E-LIST-02", says=says)


def test_a3_a_section_that_the_list_lacks_is_told_from_those_it_has(
    folder: Path, data_list: Path, predict: Run, refused: Gate
) -> None:
    words = (folder, "--data-list", data_list, "--section", "validation")
    refused(predict, *words, exit_code=4, code="E-LIST-06", says=["validation", "sections training, test", "list.json"])


def test_a4_an_empty_list_is_nothing_to_do(folder: Path, edit: Callable, predict: Run, refused: Gate) -> None:
    words = (folder, "--data-list", edit(lambda content: content.update(test=[])))
    refused(predict, *words, "--section", "test", exit_code=4, code="E-LIST-05", says=["list.json: test"])
    edit(lambda content: content.update(training=[]))
    refused(predict, *words, exit_code=4, code="E-LIST-05", says=["list.json", "no case in training or test"])


def test_a5_a_subject_in_two_folds_is_a_leak(edit: Callable, training: Run, refused: Gate) -> None:
    def split(content: dict) -> None:
        for fold, entry in enumerate(content["training"][1:]):
            entry["fold"] = fold

    edit(split)
    says = ["subject subject_002", "case_2 in fold 0, case_3 in fold 1", "list.json", "two folds"]
    refused(training, exit_code=4, code="E-LIST-07", says=says)


@pytest.mark.parametrize("path", ["../../../../etc/passwd", "/etc/passwd", "C:\\secret.nii", "TRAINING\\..\\..\\x.nii"])
def test_a6_a_path_that_leaves_the_data_folder_is_refused(
    folder: Path, edit: Callable, predict: Run, refused: Gate, path: str
) -> None:
    changed = edit(lambda content: content["training"][0].update(ct=path))
    words = (folder, "--data-list", changed)
    refused(predict, *words, exit_code=4, code="E-LIST-08", says=["entry 1 (case_1): ct", path, "list.json"])


def test_a7_broken_json_is_named_with_its_line(folder: Path, data_list: Path, run: Run, refused: Gate) -> None:
    data_list.write_text(data_list.read_text().replace('"simulated": true,', '"simulated": true'))
    refused(run, "check", data_list, exit_code=4, code="E-LIST-03", says=["list.json", "line 5 column"])


def test_a8_an_empty_file_is_named(case: Path, image_of: Callable, predict: Run, refused: Gate) -> None:
    path = image_of(case, "CT_MTT")
    path.write_bytes(b"")
    refused(predict, case, exit_code=3, code="E-FILE-02", says=["case_7", path.name, "0 bytes"])


def test_a9_text_under_an_image_name_is_shown_as_found(
    case: Path, image_of: Callable, predict: Run, refused: Gate
) -> None:
    path = image_of(case, "CT_MTT")
    text = path.with_suffix(".nii.gz")
    path.unlink()
    text.write_text("case,subject\ncase_1,someone\n" * 40)
    refused(predict, case, exit_code=3, code="E-FILE-03", says=["case_7", text.name, "case,subject"])


def test_a10_gzip_bytes_under_a_plain_name_come_with_the_right_name(
    case: Path, image_of: Callable, predict: Run, refused: Gate
) -> None:
    path = image_of(case, "CT")
    path.write_bytes(gzip.compress(path.read_bytes()))
    refused(predict, case, exit_code=3, code="E-FILE-04", says=["case_7", path.name, "gzip", "rename to .nii.gz"])
