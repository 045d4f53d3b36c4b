"""A run folder is checked before any work, and ``run.json`` means done."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from monai_isles.errors import IslesError
from monai_isles.io.findings import collect_remarks
from monai_isles.io.runs import RunFolder, done_before, tell_replaced


def test_the_record_comes_last_and_holds_versions_and_time(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "out") as run:
        assert not (tmp_path / "out" / "run.json").exists() and (tmp_path / "out" / "run.lock").exists()
        run.finish({"settings": {"threshold": 0.5}, "cases": {"case_1": "done"}})
    assert os.listdir(tmp_path / "out") == ["run.json"]
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["settings"] == {"threshold": 0.5} and record["seconds"] >= 0
    assert {"monai_isles", "monai", "torch", "numpy", "python"} <= set(record["versions"])


def test_an_earlier_record_does_not_speak_for_a_new_run(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as run:
        run.finish({"n": 1})
    with pytest.raises(ValueError, match="stopped"), RunFolder(tmp_path):
        raise ValueError("stopped")
    assert sorted(os.listdir(tmp_path)) == ["run.previous.json"]


def test_a_second_run_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as run:
        with pytest.raises(IslesError, match=rf"E-RUN-01(?s:.*){os.getpid()}"), RunFolder(tmp_path):
            pass
        run.finish({})
    assert os.listdir(tmp_path) == ["run.json"]


def test_the_parts_of_a_killed_run_are_swept_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "case_1" / ".part-abc-folder").mkdir(parents=True)
    (tmp_path / "case_1" / ".part-abc-folder" / "x").write_text("x")
    (tmp_path / "case_1" / ".part-1-lesion.nii.gz").write_text("x")
    (tmp_path / "case_1" / "part-mine.txt").write_text("x")
    with RunFolder(tmp_path):
        assert os.listdir(tmp_path / "case_1") == ["part-mine.txt"]


def test_a_folder_that_cannot_be_made_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with (
        pytest.raises(IslesError, match=r"E-RUN-02(?s:.*)file/out(?s:.*)Not a directory"),
        RunFolder(tmp_path / "file" / "out"),
    ):
        pass
    with pytest.raises(IslesError, match="E-RUN-02"), RunFolder(tmp_path / "file"):
        pass


@pytest.mark.parametrize(
    ("folder", "outputs"), [("x" * 256, []), ("out", ["y" * 250 + ".nii.gz"]), ("out", ["a/" * 2100 + "b"])]
)
def test_names_that_are_too_long_are_refused_before_any_work(tmp_path: Path, folder: str, outputs: list[str]) -> None:
    with (
        pytest.raises(IslesError, match=r"E-RUN-03: output name is too long(?s:.*)bytes; at most"),
        RunFolder(tmp_path / folder, outputs=outputs),
    ):
        pass
    assert os.listdir(tmp_path) == []
    with RunFolder(tmp_path / "out", outputs=["é" * 120 + ".nii.gz"]):
        pass


def test_a_package_that_is_missing_is_recorded_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monai_isles.io.runs._PACKAGES", ("no-such-package",))
    with RunFolder(tmp_path) as run:
        assert json.loads(run.finish({}).read_text())["versions"]["no-such-package"] == "not installed"


def test_work_is_done_before_when_its_record_says_the_same_and_its_files_are_there(tmp_path: Path) -> None:
    record, file = tmp_path / "a.json", tmp_path / "map.nii.gz"
    assert done_before(record, {}) is None
    record.write_text('{"version": "1", "step": [3, 3], "more": 1}')
    assert done_before(record, {"version": "1", "step": [3, 3]}) == {"version": "1", "step": [3, 3], "more": 1}
    assert done_before(record, {"version": "2"}) is None and done_before(record, {"absent": 1}) is None
    assert done_before(record, {"version": "1"}, [file]) is None
    file.touch()
    assert done_before(record, {"version": "1"}, [file]) is not None
    for damaged in ('{"version": "1"', "[1]"):
        record.write_text(damaged)
        assert done_before(record, {}) is None


def test_the_replacement_of_results_of_another_source_is_told(tmp_path: Path) -> None:
    with collect_remarks() as remarks:
        tell_replaced(tmp_path / "none.json", "source", "a")
        (tmp_path / "a.json").write_text(json.dumps({"source": {"ct": "a"}}))
        tell_replaced(tmp_path / "a.json", "source", {"ct": "a", "cbf": "a"})
        assert remarks == []
        tell_replaced(tmp_path / "a.json", "source", {"ct": "b", "cbf": "a"})
    assert [remark.code for remark in remarks] == ["E-RUN-04"]
