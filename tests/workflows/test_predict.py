"""Prediction on two workers gives the files and records of one, and does only what is missing."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from monai_isles.cli.main import main
from monai_isles.inference.predictor import Choices
from monai_isles.workflows.predict import Recipe, recipe_of

BUNDLE = Path(__file__).parents[2] / "bundles/clerigues"


def words(folder: Path, weights: Path, out: Path, *more: str) -> list[str]:
    return ["predict", str(folder), "--bundle", str(BUNDLE), "--weights", str(weights), "--out", str(out), "--step",
            "32", "--mc-passes", "2", "--threads", "1", *more]  # fmt: skip


def contents(out: Path) -> dict[str, str]:
    """Checksums of everything that has no time in it."""
    files = [path for path in sorted(out.rglob("*")) if path.suffix == ".gz"]
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.long
def test_two_workers_write_what_one_writes_and_a_rerun_does_the_rest(
    phantom_folder: Path,
    untrained_weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    warm_workers: None,
) -> None:
    data = Path(shutil.copytree(phantom_folder, tmp_path / "data"))
    (broken,) = (data / "TRAINING/case_2").glob("*.CT_CBF.*/*.nii")
    broken.write_bytes(broken.read_bytes()[:3000])
    assert main(words(data, untrained_weights, tmp_path / "one", "--no-report")) == 3
    assert main(words(data, untrained_weights, tmp_path / "two", "--workers", "2")) == 3
    capsys.readouterr()
    assert len(contents(tmp_path / "one")) == 6 and len(list(tmp_path.glob("two/*/report.html"))) == 2
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    one, two = (json.loads((tmp_path / name / "run.json").read_text()) for name in ("one", "two"))
    assert list(one["cases"]) == list(two["cases"])
    for name in one["cases"]:
        for record in (one, two):
            record["cases"][name].pop("seconds", None)
    assert one["cases"] == two["cases"] and "E-FILE-05" in one["cases"]["case_2"]["error"]
    (tmp_path / "two/case_1/result.json").unlink()
    assert main(words(data, untrained_weights, tmp_path / "two", "--json")) == 3
    outcomes = {name: one["outcome"] for name, one in json.loads(capsys.readouterr().out)["cases"].items()}
    assert outcomes == {"case_1": "ok", "case_2": "failed", "case_3": "done before"}


def test_a_recipe_is_the_same_key_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    relative = recipe_with(Path("b"), Path("o"), Path("w.pt"), changes={"step": [3], "a": 1})
    absolute = recipe_with(tmp_path / "b", tmp_path / "o", tmp_path / "w.pt", changes={"a": 1, "step": [3]})
    assert relative == absolute and hash(relative) == hash(absolute)
    assert relative != recipe_with(tmp_path / "b", tmp_path / "o", tmp_path / "v.pt")
    assert relative != recipe_with(tmp_path / "b", tmp_path / "o", tmp_path / "w.pt", changes={"step": [4], "a": 1})
    here = recipe_of(Path("b"), Path("o"), choices=Choices((Path("w.pt"),), cache_dir=Path("c")), elsewhere=False)
    assert (here.bundle.root, here.out) == (Path("b"), Path("o"))
    assert (here.choices.weights, here.choices.cache_dir) == ((Path("w.pt"),), Path("c"))


def recipe_with(bundle: Path, out: Path, *weights: Path, changes: dict[str, object] | None = None) -> Recipe:
    return recipe_of(bundle, out, choices=Choices(weights), changes=changes)


def test_a_worker_that_lives_on_loads_changed_weights_configs_and_calibration_anew(tmp_path: Path) -> None:
    (tmp_path / "b/models").mkdir(parents=True)
    recipes = []
    for name, content in (("inference.json", "{}"), ("models/model.pt", "1"), ("models/model.pt", "2"),
                          ("models/calibration.json", "{}")):  # fmt: skip
        (tmp_path / "b" / name).write_text(content)
        recipes.append(recipe_of(tmp_path / "b", tmp_path / "o"))
    (tmp_path / "w.pt").write_text("1")
    recipes.append(recipe_with(tmp_path / "b", tmp_path / "o", tmp_path / "w.pt"))
    (tmp_path / "w.pt").write_text("2")
    recipes.append(recipe_with(tmp_path / "b", tmp_path / "o", tmp_path / "w.pt"))
    assert len(set(recipes)) == 6


@pytest.mark.parametrize(("more", "said"), [
    (("--workers", "0"), "E-USE-60: the number of workers is not valid"),
    (("--workers", "2", "--cluster", "tcp://h:1"), "E-USE-61: two places to run are given"),
])  # fmt: skip
def test_places_that_cannot_be_are_usage_errors(
    phantom_folder: Path, tmp_path: Path, more: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(phantom_folder, tmp_path / "w.pt", tmp_path / "out", *more)) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "place"), [("SymmetricModalitiesd", "preprocessing"), ("Binarised", "postprocessing")]
)
def test_an_overlay_with_an_argument_that_is_gone_is_refused(
    phantom_folder: Path, tmp_path: Path, name: str, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = Path(shutil.copytree(BUNDLE, tmp_path / "clerigues"))
    config = json.loads((bundle / "inference.json").read_text(encoding="utf-8"))[place]
    [part] = [part for part in config["transforms"] if part["_target_"].endswith(name)]
    part["cache_dir"] = "data"
    (bundle / "old.json").write_text(json.dumps({place: config}), encoding="utf-8")
    out = tmp_path / "out"
    assert (
        main(["predict", str(phantom_folder), "--bundle", str(bundle), "--overlay", "old.json", "--out", str(out)]) == 4
    )
    said = capsys.readouterr().err
    assert "E-INF-46: a component of the bundle's config cannot be made" in said and "'cache_dir'" in said
    assert name in said and not out.exists()


def test_a_repetition_leaves_no_table_or_derivative_of_the_former_settings(
    phantom_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = phantom_folder / "TRAINING/case_1", tmp_path / "out"
    command = ["predict", str(data), "--bundle", "threshold", "--out", str(out)]
    assert main([*command, "--bids"]) == 0
    mask = next(out.rglob("derivatives/**/*mask.nii.gz"))
    assert (out / "results.csv").is_file() and mask.read_bytes() == (out / "case_1/lesion.nii.gz").read_bytes()
    former = mask.read_bytes()
    assert main([*command, "--overlay", "hypoperfused.json", "--no-report"]) == 0
    assert former != mask.read_bytes() == (out / "case_1/lesion.nii.gz").read_bytes()
    assert not any((out / name).exists() for name in ("results.csv", "results.parquet", "studies.html", "methods.md"))
