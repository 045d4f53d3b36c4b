"""``monai-isles crossval`` on three simulated two-slice scans: two folds trained, predicted, searched and repeated."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import nibabel
import pytest

from monai_isles.cli.crossval import _text as crossval_text
from monai_isles.cli.main import main
from monai_isles.crossval import run as crossval
from monai_isles.crossval.run import Step
from monai_isles.io import publish_json
from monai_isles.io.payload import sha256_of

BUNDLE = str(Path(__file__).parents[2] / "bundles/clerigues")
TINY = ("max_epochs=1", "patches_per_case=16", "validation_step=[32,32]", "step=[32,32]", "mc_passes=1")


def words(phantom_folder: Path, data_list: Path, out: Path, *more: str) -> list[str]:
    return ["crossval", BUNDLE, "--data-list", str(data_list), "--dataset-dir", str(phantom_folder), "--out", str(out),
            "--overlay", "demo.json", "--set", *TINY, *more]  # fmt: skip


@pytest.mark.long
def test_folds_are_trained_predicted_searched_and_not_done_again(
    phantom_folder: Path, data_list: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, cache = tmp_path / "cv", tmp_path / "cache"
    run = words(phantom_folder, data_list, out, "--cache", str(cache))
    assert main(run) == 0, capsys.readouterr()
    assert f"3 of 3 cases predicted out of fold in {out} (simulated data" in capsys.readouterr().out
    assert len(list(cache.glob("case-*.entry"))) == 3  # both folds preprocessed them once
    record = json.loads((out / "run.json").read_text())
    assert {fold["outcome"] for fold in record["folds"].values()} == {"ok"}
    entries = json.loads(data_list.read_text())["training"]
    assert {name: case["fold"] for name, case in record["cases"].items()} == {e["case"]: e["fold"] for e in entries}
    for entry in entries:
        made = json.loads((out / "predictions" / entry["case"] / "result.json").read_text())
        assert made["weights_sha256"] == [sha256_of(out / f"fold_{entry['fold']}/model.pt")]
        assert (made["step"], made["mc_passes"]) == ([32, 32], 1)
        image = nibabel.load(out / "predictions" / entry["case"] / "probability.nii.gz")
        assert image.shape == nibabel.load(phantom_folder / entry["ct"]).shape
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.nii.gz")} | {
        path: path.stat().st_mtime_ns for path in out.rglob("model.pt")
    }
    assert main(["search", str(out)]) == 0 and (out / "postprocessing.json").is_file()
    capsys.readouterr()
    assert main([*run, "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert {fold["outcome"] for fold in again["folds"].values()} == {"done before"}
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert main(words(phantom_folder, data_list, out, "batch_size=8")) == 4
    assert "E-XVAL-07" in (said := capsys.readouterr().err) and "settings batch_size was None, is 8" in said


def test_a_case_without_all_files_counts_among_those_not_predicted() -> None:
    plan = {"left_out": {"P3": "E-LIST-02: files are missing"}, "simulated": False, "protocol": "paper"}
    cases = {"P1": {"outcome": "ok"}, "P2": {"outcome": "failed", "error": "E-FILE-05: file is cut short"}}
    said = crossval_text({"folds": {"0": {"outcome": "ok"}}, "cases": cases, "plan": plan}, "cv")
    assert "1 of 3 cases predicted out of fold in cv (data as given), paper protocol" in said


def test_a_planted_subject_in_two_folds_is_refused_before_any_work(
    phantom_folder: Path, data_list: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.loads(data_list.read_text())
    first = content["training"][0]
    other = next(entry for entry in content["training"] if entry["fold"] != first["fold"])
    other["subject"] = first["subject"]
    publish_json(tmp_path / "leak.json", content)
    assert main(words(phantom_folder, tmp_path / "leak.json", tmp_path / "cv")) == 4
    said = capsys.readouterr().err
    assert "E-LIST-07: a subject is in two folds" in said and first["subject"] in said
    assert not (tmp_path / "cv").exists()


def test_a_fold_that_fails_gives_exit_code_three_and_the_others_go_on(
    phantom_folder: Path, data_list: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    def steps(plan, out: Path, fold: int, **_: object) -> list[Step]:
        return [Step("training", [sys.executable, "-S", "-c", f"raise SystemExit({9 * fold})"], out / f"{fold}.log")]

    monkeypatch.setattr(crossval, "fold_steps", steps)
    assert main(words(phantom_folder, data_list, tmp_path / "cv")) == 3
    said = capsys.readouterr().out
    assert "fold 0: ok" in said and "fold 1, training: ended with code 9" in said and "0 of 3 cases" in said
    record = json.loads((tmp_path / "cv/run.json").read_text())
    assert {case["outcome"] for case in record["cases"].values()} == {"missing"}


@pytest.mark.parametrize("more", [("nonsense",), ("=1",)])
def test_a_setting_without_a_value_is_a_usage_error(more: tuple[str, ...], tmp_path: Path, capsys) -> None:
    assert main(["crossval", BUNDLE, "--out", str(tmp_path), "--set", *more]) == 2
    assert "is not KEY=VALUE" in capsys.readouterr().err


def test_a_missing_data_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["crossval", BUNDLE, "--out", str(tmp_path / "cv"), "--dataset-dir", str(tmp_path / "no")]) == 4
    assert "E-PHAN-04" in capsys.readouterr().err and not (tmp_path / "cv").exists()
