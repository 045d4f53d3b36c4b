"""A data list is the same wherever the folder lies, and is read back only when sound."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from monai_isles.data import find_data_list, make_datalist
from monai_isles.data.datalist import read_datalist
from monai_isles.errors import IslesError


def test_two_copies_of_a_folder_give_the_same_list_byte_for_byte(dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(dataset, tmp_path / "elsewhere" / "copy")
    texts = {
        json.dumps(make_datalist(folder, folds=2, seed=1)) for folder in (dataset, tmp_path / "elsewhere" / "copy")
    }
    assert len(texts) == 1 and str(tmp_path) not in texts.pop()


def test_without_a_table_the_evidence_is_in_the_list(dataset: Path) -> None:
    content = make_datalist(dataset, folds=2)
    assert content["grouping"]["source"] == "evidence" and content["grouping"]["provisional"] is True
    assert [pair["cases"] for pair in content["grouping"]["evidence"]["joined"]] == [
        ["case_1", "case_2"],
        ["case_3", "case_4"],
    ]
    folds = [entry["fold"] for entry in content["training"]]
    assert folds[0] == folds[1] and folds[2] == folds[3] and sorted(folds) == [0, 0, 0, 1, 1, 1]
    assert (content["numTraining"], content["numTest"], content["simulated"], content["name"]) == (
        6,
        1,
        False,
        "isles2018",
    )
    assert content["training"][0]["ct"] == "TRAINING/case_1/SMIR.Brain.XX.O.CT.10/SMIR.Brain.XX.O.CT.10.nii"
    assert "fold" not in content["test"][0] and "label" not in content["test"][0]


def test_scans_of_one_subject_make_one_fold_unless_more_are_requested(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("case,subject\n" + "".join(f"case_{n},anna\n" for n in range(1, 7)))
    content = make_datalist(dataset, subjects=tmp_path / "one.csv")
    assert content["folds"]["count"] == 1 and {entry["fold"] for entry in content["training"]} == {0}
    with pytest.raises(IslesError, match=r"E-LIST-12(?s:.*)1 subjects in 6 cases"):
        make_datalist(dataset, subjects=tmp_path / "one.csv", folds=2)


def test_a_table_of_the_user_goes_first(dataset: Path, tmp_path: Path) -> None:
    header = "case,subject\n"
    (tmp_path / "mine.csv").write_text(header + "".join(f"case_{n},p{n % 3}\n" for n in range(1, 7)))
    (dataset / "subjects.csv").write_text(header + "".join(f"case_{n},q{n}\n" for n in range(1, 7)))
    own, users = make_datalist(dataset, folds=2), make_datalist(dataset, folds=2, subjects=tmp_path / "mine.csv")
    assert (own["grouping"]["source"], users["grouping"]["source"]) == ("subjects.csv", "file")
    assert [e["subject"] for e in users["training"]] == ["p1", "p2", "p0", "p1", "p2", "p0"]
    assert not own["grouping"]["provisional"] and own["grouping"]["evidence"] == {"subjects": 6, "cases": 6}


def test_a_simulated_folder_says_so(dataset: Path) -> None:
    (dataset / "SIMULATED.txt").write_text("x")
    content = make_datalist(dataset, folds=2)
    assert (
        content["simulated"] is True and content["name"] == "phantom_ct" and "no real patient" in content["description"]
    )
    assert make_datalist(dataset, folds=2, name="mine")["name"] == "mine"


def test_a_case_without_a_mask_counts_as_no_lesion(dataset: Path, tools: dict) -> None:
    tools["path_of"](dataset, 6, "label").unlink()
    assert "label" not in make_datalist(dataset, folds=2)["training"][5]


def test_test_cases_alone_need_no_folds(tmp_path: Path, tools: dict) -> None:
    tools["make_case"](tmp_path, 1, person=1, section="TESTING")
    content = make_datalist(tmp_path)
    assert content["training"] == [] and content["test"][0]["subject"] == "testing_case_1"


def test_a_list_comes_back_as_it_was_kept(dataset: Path, tmp_path: Path) -> None:
    made = find_data_list(dataset, keep=tmp_path / "out" / "list.json", folds=2)
    assert (
        read_datalist(tmp_path / "out" / "list.json") == made == find_data_list(dataset, tmp_path / "out" / "list.json")
    )
    with pytest.raises(IslesError, match="E-FILE-11"):
        find_data_list(dataset, tmp_path / "out" / "list.json", keep=tmp_path / "out" / "list.json")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_list_that_windows_wrote_is_read(tmp_path: Path, encoding: str) -> None:
    entry = {"Case": "M\u00fcller", "subject": "1", "fold": 0, "CT": "M\u00fcller\\ct.nii.gz", "Tmax": "t/tmax.nii"}
    (tmp_path / "l.json").write_bytes(json.dumps({"training": [entry]}, ensure_ascii=False).encode(encoding))
    wanted = {"case": "M\u00fcller", "subject": "1", "fold": 0, "ct": "M\u00fcller/ct.nii.gz", "tmax": "t/tmax.nii"}
    assert read_datalist(tmp_path / "l.json")["training"] == [wanted]


@pytest.mark.parametrize("path", ["..\\ct.nii", "C:\\data\\ct.nii", "\\\\server\\ct.nii"])
def test_paths_of_windows_that_leave_the_folder_are_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "l.json").write_text(json.dumps({"training": [{"case": "a", "subject": "a", "ct": path}]}))
    with pytest.raises(IslesError, match="E-LIST-08") as caught:
        read_datalist(tmp_path / "l.json")
    assert caught.value.found == path  # as it is written


def test_absolute_paths_below_the_data_folder_are_relative_to_it(tmp_path: Path) -> None:
    entry = {"case": "a", "subject": "a", "fold": 0, "ct": str(tmp_path / "data/a/ct.nii")}
    (tmp_path / "l.json").write_text(json.dumps({"training": [entry]}))
    assert read_datalist(tmp_path / "l.json", tmp_path / "data")["training"] == [entry | {"ct": "a/ct.nii"}]
    for folder in (None, tmp_path / "other"):
        with pytest.raises(IslesError, match="E-LIST-08"):
            read_datalist(tmp_path / "l.json", folder)


def test_broken_json_is_named_with_line_and_file(tmp_path: Path) -> None:
    (tmp_path / "l.json").write_text('{"training": [\n{"case" 1}]}')
    with pytest.raises(IslesError, match=r"E-LIST-03(?s:.*)l\.json(?s:.*)line 2 column 9"):
        read_datalist(tmp_path / "l.json")


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(IslesError, match=r"E-FILE-01(?s:.*)none\.json(?s:.*)monai-isles datalist"):
        read_datalist(tmp_path / "none.json")


def test_the_committed_list_of_isles_2018_is_sound_and_keeps_neighbours_together() -> None:
    content = read_datalist(Path(__file__).parents[2] / "data_lists" / "isles2018.json")
    fold = {entry["case"]: entry["fold"] for entry in content["training"]}
    assert (len(fold), len(content["test"]), content["grouping"]["provisional"]) == (94, 62, True)
    assert content["grouping"]["source"] == "inferred" and content["grouping"]["evidence"]["groups"] == 62
    subject = {entry["case"]: entry["subject"] for entry in content["training"]}
    for first in (1, 3, 5, 28):  # neighbours that PerfU-Net's fold lists keep together, or that are kept to be safe
        assert subject[f"case_{first}"] == subject[f"case_{first + 1}"]
    assert len(set(subject.values())) == 62 and subject["case_2"] != subject["case_3"]
    assert all(len({fold[case] for case in subject if subject[case] == one}) == 1 for one in subject.values())
    counts = [list(fold.values()).count(k) for k in range(5)]
    assert max(counts) - min(counts) <= 1


def test_siss_has_four_folds_balanced_by_volume_and_every_case_is_a_subject(siss: Path, tools: dict) -> None:
    for n in (6, 7, 8):
        tools["make_mri"](siss / "TRAINING" / str(n), ("t1", "t2", "flair", "dwi"), label="_3more", seed=n)
    content = make_datalist(siss)
    assert sorted(entry["fold"] for entry in content["training"]) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert (content["name"], content["numTest"], content["description"]) == (
        "isles2015_siss", 1, "Sub-acute stroke MRI (SISS) in the ISLES 2015 layout",
    )  # fmt: skip
    assert "label_values" not in content and "target" not in content and content["labels"]["1"] == "lesion"
    assert content["grouping"] == {
        "source": "case names", "provisional": False, "evidence": {"subjects": 8, "cases": 8},
    }  # fmt: skip
    first = "TRAINING/1/VSD.Brain.XX.O.MR_T1.70100/VSD.Brain.XX.O.MR_T1.70100.nii"
    assert content["training"][0]["t1"] == first and content["test"][0]["subject"] == "testing_case_1"
    (siss / "SIMULATED.txt").write_text("x")
    content = make_datalist(siss)
    assert content["name"] == "phantom_siss" and content["description"].startswith("Simulated sub-acute stroke MRI")


def test_a_table_of_subjects_speaks_for_mri_too(siss: Path) -> None:
    (siss / "subjects.csv").write_text(
        "case,subject,section\n" + "".join(f"case_{n},p{n // 3},training\n" for n in range(1, 6))
    )
    content = make_datalist(siss, folds=2)
    assert [entry["subject"] for entry in content["training"]] == ["p0", "p0", "p1", "p1", "p1"]
    assert content["grouping"]["source"] == "subjects.csv" and len({e["fold"] for e in content["training"][2:]}) == 1


def test_a_plain_folder_keeps_the_sessions_of_a_person_together(tmp_path: Path, tools: dict) -> None:
    mask = np.eye(6, 5, dtype=np.uint8)[..., None].repeat(4, axis=2)
    for person in (1, 2, 3):
        for session in (1, 2):
            start = tmp_path / "d" / f"sub-{person}_ses-{session}"
            tools["save"](start.with_name(start.name + "_dwi.nii"), mask + np.float32(10 * person + session))
            tools["save"](start.with_name(start.name + "_msk.nii"), mask)
    content = make_datalist(tmp_path / "d", folds=3)
    assert [entry["fold"] for entry in content["training"][::2]] == [e["fold"] for e in content["training"][1::2]]
    assert (content["name"], content["description"]) == ("folder", "Images in a plain folder")


def test_two_subjects_with_one_mask_are_remarked(tmp_path: Path, tools: dict, caplog) -> None:
    for name, lesion in {"p1": 2, "p2": 0, "p3": 2, "p4": 0, "p5": 3}.items():
        mask = np.zeros((6, 5, 4), np.uint8)
        mask[:lesion] = 1
        tools["save"](tmp_path / f"{name}_mask.nii", mask)
        tools["save"](tmp_path / f"{name}_flair.nii", np.full((6, 5, 4), int(name[1]), np.float32))
    make_datalist(tmp_path, folds=2)
    remarks = [text for text in caplog.messages if "E-LIST-14" in text]
    assert len(remarks) == 1 and "p3: byte for byte the mask of p1" in remarks[0]  # empty masks of two people are equal
    (tmp_path / "subjects.csv").write_text("case,subject\np1,a\np2,b\np3,a\np4,c\np5,d\n")
    caplog.clear()
    make_datalist(tmp_path, folds=2)
    assert "E-LIST-14" not in caplog.text


def test_a_scan_that_is_there_twice_is_of_one_subject(tmp_path: Path, tools: dict, caplog) -> None:
    """Of two raters or as a copy; in two folds a cross-validation refuses it (E-XVAL-06). A table says otherwise."""
    for name, value in {"p1": 1, "p2": 2, "p3": 1, "p4": 4, "p5": 2, "sub-6_ses-1": 6, "sub-6_ses-2": 4}.items():
        for key in ("mask", "flair"):
            data = np.zeros((6, 5, 4), np.float32)
            data[: value if key == "flair" else 1] = 1 if key == "mask" else value
            data[0, 0, 0] = 0 if key == "flair" else int(name[-1]) % 2
            tools["save"](tmp_path / f"{name}_{key}.nii", data)
    content = make_datalist(tmp_path, folds=2)
    people = {entry["case"]: entry["subject"] for entry in content["training"]}
    assert [people[name] for name in ("p1", "p3", "p2", "p5")] == ["p1", "p1", "p2", "p2"]
    assert people["p4"] == people["sub-6_ses-1"] == people["sub-6_ses-2"] == "p4"  # whoever is one with either is too
    assert content["grouping"]["evidence"]["subjects"] == 3
    assert "p3: byte for byte an image of p1" in caplog.text
    for name in ("p2", "p4", "p5", "sub-6_ses-1", "sub-6_ses-2"):
        (tmp_path / f"{name}_flair.nii").write_bytes((tmp_path / "p1_flair.nii").read_bytes())
    assert len({entry["subject"] for entry in make_datalist(tmp_path, folds=2)["training"]}) == 6  # of no content
    (tmp_path / "subjects.csv").write_text("case,subject\n" + "".join(f"{name},{name}\n" for name in people))
    assert len({entry["subject"] for entry in make_datalist(tmp_path, folds=2)["training"]}) == 7


def test_a_list_of_another_program_is_completed_with_remarks(dataset: Path, tmp_path: Path, caplog) -> None:
    made = make_datalist(dataset, folds=2)
    for entry in (*made["training"], *made["test"]):
        del entry["subject"]
    *rest, last = made["training"]
    other = {"training": rest, "testing": made["test"], "validation": [last]}
    (tmp_path / "l.json").write_text(json.dumps(other))
    content = read_datalist(tmp_path / "l.json")
    assert [entry["subject"] for entry in content["training"]] == [entry["case"] for entry in rest]
    assert [entry["subject"] for entry in content["test"]] == ["testing_" + made["test"][0]["case"]]
    first, second = caplog.messages
    assert "E-LIST-17" in first and "6 cases: case_1" in first
    assert "E-LIST-06" in second and "validation: 1 cases" in second
