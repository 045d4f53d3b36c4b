"""``monai-isles prepare`` fills a cache that training and prediction then find."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from monai_isles.bundle import Bundle
from monai_isles.cli.main import main
from monai_isles.transforms import KeptPreparation

BUNDLES = Path(__file__).parents[2] / "bundles"


def words(folder: Path, cache: Path, *more: str, bundle: str = "clerigues") -> list[str]:
    return ["prepare", str(folder), "--bundle", str(BUNDLES / bundle), "--cache", str(cache), "--threads", "1", *more]


def outcomes(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [one["outcome"] for one in json.loads(capsys.readouterr().out)["cases"].values()]


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.long)])
def test_workers_fill_what_training_finds_and_a_rerun_makes_the_rest(
    phantom_folder: Path,
    data_list: Path,
    tmp_path: Path,
    capsys,
    monkeypatch: pytest.MonkeyPatch,
    request,
    workers: str,
) -> None:
    if workers == "2":
        request.getfixturevalue("warm_workers")
    cache = tmp_path / "cache"
    run = words(phantom_folder, cache, "--json", "--data-list", str(data_list))
    assert main([*run, "--workers", workers]) == 0
    assert outcomes(capsys) == ["ok"] * 3 and len(list(cache.glob("case-*.entry"))) == 3
    next(iter(cache.glob("case-*.entry"))).unlink()
    assert main(run) == 0
    assert sorted(outcomes(capsys)) == ["done before", "done before", "ok"]
    monkeypatch.chdir(tmp_path)
    changes = {
        "dataset_dir": str(phantom_folder),
        "data_list": str(data_list),
        "cache_dir": str(cache),
        "output_dir": str(tmp_path / "run"),
    }
    config = Bundle.open("clerigues").config("train")
    config.update(changes)
    train = config.get_parsed_content("train#dataset")
    (kept,) = train.transform.transforms
    assert isinstance(kept, KeptPreparation)
    monkeypatch.setattr(kept, "transform", None)
    assert all("image" in train[n] for n in range(len(train)))


def test_two_bundles_keep_theirs_in_the_same_folder(
    phantom_folder: Path, data_list: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for count, bundle in enumerate(("clerigues", "abulnaga"), start=1):
        assert main(words(phantom_folder, tmp_path, "--data-list", str(data_list), bundle=bundle)) == 0, (
            capsys.readouterr()
        )
        assert "3 of 3 cases in" in capsys.readouterr().out and len(list(tmp_path.glob("case-*.entry"))) == 3 * count


def test_a_bundle_that_trains_on_no_case_is_prepared_for_prediction_only(
    phantom_folder: Path, data_list: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = shutil.copytree(BUNDLES / "threshold", tmp_path / "bundle")
    config = json.loads((bundle / "train.json").read_text(encoding="utf-8"))
    del config["train"]["dataset"]
    (bundle / "train.json").write_text(json.dumps(config), encoding="utf-8")
    run = words(phantom_folder, tmp_path / "cache", "--data-list", str(data_list), bundle=str(bundle))
    assert main(run) == 2 and not (tmp_path / "cache").exists()
    said = capsys.readouterr().err
    assert "E-USE-66: the bundle trains on no case" in said and "--for prediction" in said
    assert main([*run, "--for", "prediction"]) == 0
    assert "3 of 3 cases in" in capsys.readouterr().out


def test_one_bad_case_takes_no_other_along(phantom_folder: Path, tmp_path: Path, capsys) -> None:
    data = Path(shutil.copytree(phantom_folder, tmp_path / "data"))
    (broken,) = (data / "TRAINING/case_2").glob("*.CT_CBF.*/*.nii")
    broken.write_bytes(broken.read_bytes()[:3000])
    assert main(words(data, tmp_path / "cache", "--for", "prediction")) == 3
    said = capsys.readouterr().out
    assert "case_2: failed" in said and "E-FILE-05" in said and "2 of 3 cases" in said


@pytest.mark.parametrize("use", ["training", "prediction"])
def test_a_case_with_a_missing_file_is_told_at_the_end_and_strict_stops(
    use: str, phantom_folder: Path, data_list: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = Path(shutil.copytree(phantom_folder, tmp_path / "data"))
    next((data / "TRAINING/case_1").glob("*.CT_MTT.*/*.nii")).unlink()
    listed = ("--data-list", str(data_list)) if use == "training" else ()
    run = words(data, tmp_path / "cache", "--for", use, *listed)
    assert main(run) == 3
    shown = capsys.readouterr().out
    assert shown.index("case_3: ok") < shown.index("case_1: failed") < shown.index("E-LIST-02")
    assert "2 of 3 cases" in shown and len(list((tmp_path / "cache").glob("case-*.entry"))) == 2
    assert main([*run, "--strict"]) == 4 and capsys.readouterr().err.startswith("E-LIST-02")
