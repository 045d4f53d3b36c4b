"""Prediction writes maps on the input's grid, isolates failures and does only what is missing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest

from monai_isles.cli.main import main
from monai_isles.errors import IslesError
from monai_isles.inference import load_predictor
from monai_isles.io import load_state
from monai_isles.io.weights import publish_state
from monai_isles.workflows.predict import predict_cases

BUNDLE = Path(__file__).parents[2] / "bundles/clerigues"


@pytest.fixture
def predict(phantom_folder: Path, untrained_weights: Path, tmp_path: Path) -> Callable[..., int]:
    def run(*cases: Path, out: Path = tmp_path / "out", extra: tuple[str, ...] = (), report: bool = False) -> int:
        extra = extra if report else ("--no-report", *extra)
        weights = () if "--weights" in extra else ("--weights", str(untrained_weights))
        return main(["predict", *map(str, cases), "--bundle", str(BUNDLE), "--out", str(out), "--step", "64",
                     "--mc-passes", "2", "--threads", "1", "--min-size", "1", *weights, *extra])  # fmt: skip

    return run


def case(folder: Path, number: int) -> Path:
    return folder / "TRAINING" / f"case_{number}"


def image_of(case_dir: Path, key: str) -> Path:
    return next(case_dir.glob(f"*.{key}.*/*.nii"))


def test_maps_lie_on_the_grid_of_the_input(predict: Callable[..., int], phantom_folder: Path, tmp_path: Path) -> None:
    assert predict(case(phantom_folder, 1)) == 0
    source = nibabel.load(image_of(case(phantom_folder, 1), "CT"))
    for name, dtype in (("lesion", np.uint8), ("probability", np.float32), ("uncertainty", np.float32)):
        image = nibabel.load(tmp_path / "out/case_1" / f"{name}.nii.gz")
        assert image.shape == source.shape and image.get_data_dtype() == dtype
        np.testing.assert_allclose(image.affine, source.affine, atol=1e-4)
    probability = nibabel.load(tmp_path / "out/case_1/probability.nii.gz").get_fdata()
    assert 0 < probability.max() <= 1 and probability.min() == 0


def test_folders_with_a_hash_in_their_names_are_used_as_they_are(phantom_folder: Path, tmp_path: Path) -> None:
    home = tmp_path / "c#"
    bundle = shutil.copytree(BUNDLE, home / "clerigues")
    data = shutil.copytree(phantom_folder, home / "data")
    words = ["--bundle", str(bundle), "--threads", "1"]
    assert main(["predict", str(case(data, 1)), *words, "--step", "64", "--no-report", "--out", str(home / "out")]) == 0
    assert (home / "out/case_1/lesion.nii.gz").is_file()
    assert json.loads((home / "out/case_1/result.json").read_text())["calibration_sha256"]
    assert main(["prepare", str(data), *words, "--for", "training", "--cache", str(home / "cache")]) == 0
    assert len(list((home / "cache").glob("*.entry"))) == 3 and list(tmp_path.iterdir()) == [home]


def test_result_and_record_say_how_it_came_about(
    predict: Callable[..., int], phantom_folder: Path, tmp_path: Path
) -> None:
    predict(case(phantom_folder, 1), extra=("--threshold", "0.4"), report=True)
    result = json.loads((tmp_path / "out/case_1/result.json").read_text())
    lesion = nibabel.load(tmp_path / "out/case_1/lesion.nii.gz")
    volume = lesion.get_fdata().sum() * np.prod(lesion.header.get_zooms()) / 1000
    assert result["lesion_ml"] == pytest.approx(volume, rel=1e-3)
    assert result["threshold"] == 0.4 and result["step"] == [64, 64] and len(result["weights_sha256"][0]) == 64
    record = json.loads((tmp_path / "out/run.json").read_text())
    assert record["cases"]["case_1"]["outcome"] == "ok" and record["versions"]["monai"]
    page = (tmp_path / "out/case_1/report.html").read_text()
    assert "Simulated" in page and "Research only" in page


def test_a_mirrored_case_gives_the_mirrored_lesion(
    predict: Callable[..., int], phantom_folder: Path, tmp_path: Path
) -> None:
    flipped = tmp_path / "case_1"
    for path in case(phantom_folder, 1).glob("*/*.nii"):
        image = nibabel.load(path)
        affine = image.affine @ np.array([[-1, 0, 0, image.shape[0] - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
        turned = nibabel.Nifti1Image(np.asarray(image.dataobj)[::-1], affine)
        turned.header.set_xyzt_units("mm", "sec")
        (flipped / path.parent.name).mkdir(parents=True)
        nibabel.save(turned, flipped / path.parent.name / path.name)
    predict(case(phantom_folder, 1), out=tmp_path / "a")
    predict(flipped, out=tmp_path / "b")
    one, two = (nibabel.load(tmp_path / d / "case_1/probability.nii.gz").get_fdata() for d in "ab")
    np.testing.assert_allclose(one, two[::-1], atol=1e-5)


def test_one_bad_case_takes_no_other_along(
    predict: Callable[..., int], phantom_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(case(phantom_folder, 1), tmp_path / "case_9")
    broken = image_of(tmp_path / "case_9", "CT_CBF")
    broken.write_bytes(broken.read_bytes()[:5000])
    assert predict(tmp_path / "case_9", case(phantom_folder, 2)) == 3
    shown = capsys.readouterr().out
    assert "case_9: failed" in shown and "case_2: ok" in shown and "E-FILE-05" in shown and broken.name in shown
    assert not (tmp_path / "out/case_9").exists()


def test_failed_cases_stand_at_the_end_and_strict_stops_at_the_first(
    predict: Callable[..., int], phantom_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(case(phantom_folder, 1), tmp_path / "case_9")
    image_of(tmp_path / "case_9", "CT_CBF").write_bytes(b"cut")
    assert predict(tmp_path / "case_9", case(phantom_folder, 2)) == 3
    shown = capsys.readouterr().out
    assert shown.index("case_2: ok") < shown.index("case_9: failed")
    strict = tmp_path / "strict"
    assert predict(tmp_path / "case_9", case(phantom_folder, 2), out=strict, extra=("--strict",)) == 4
    assert capsys.readouterr().err.startswith("E-FILE-") and not (strict / "case_2/result.json").exists()


def test_what_is_missing_leaves_out_its_case_alone_and_all_of_them_refuse(
    predict: Callable[..., int], phantom_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(phantom_folder, tmp_path / "data")
    image_of(case(tmp_path / "data", 2), "CT_MTT").unlink()
    shutil.rmtree(case(tmp_path / "data", 3))
    assert predict(tmp_path / "data", tmp_path / "nowhere") == 3
    shown = capsys.readouterr().out
    records = json.loads((tmp_path / "out/run.json").read_text())["cases"]
    assert {name: one["outcome"] for name, one in records.items()} == {
        "case_1": "ok", "case_2": "failed", str(tmp_path / "nowhere"): "failed",
    }  # fmt: skip
    assert "no mtt" in records["case_2"]["error"] and records["case_2"]["error"].startswith("E-LIST-02")
    assert "1 of 3 cases" in shown and shown.index("case_1: ok") < shown.index("case_2: failed")
    assert predict(case(tmp_path / "data", 2), tmp_path / "nowhere", out=tmp_path / "none") == 4
    assert predict(tmp_path / "data", out=tmp_path / "strict", extra=("--strict",)) == 4
    assert not (tmp_path / "none").exists() and not (tmp_path / "strict").exists()


def test_a_second_run_does_only_what_is_missing(
    predict: Callable[..., int], phantom_folder: Path, tmp_path: Path
) -> None:
    predict(case(phantom_folder, 1))
    stamp = (tmp_path / "out/case_1/lesion.nii.gz").stat().st_mtime_ns
    predict(case(phantom_folder, 1), case(phantom_folder, 2))
    record = json.loads((tmp_path / "out/run.json").read_text())
    assert [r["outcome"] for r in record["cases"].values()] == ["done before", "ok"]
    assert (tmp_path / "out/case_1/lesion.nii.gz").stat().st_mtime_ns == stamp
    predict(Path(shutil.copytree(case(phantom_folder, 2), tmp_path / "other/case_1")))  # of another data set
    remarks = json.loads((tmp_path / "out/case_1/result.json").read_text())["remarks"]
    assert any(remark.startswith("E-RUN-04: results of another scan") for remark in remarks)


def test_the_folder_of_an_input_stands_in_no_remark_and_on_no_page(
    predict: Callable[..., int], phantom_folder: Path, tmp_path: Path
) -> None:
    mine = Path(shutil.copytree(case(phantom_folder, 1), tmp_path / "ZZPLANTED/case_1"))
    image = nibabel.load(image_of(mine, "CT"))
    padded = np.where(np.asanyarray(image.dataobj) < -900, -3024, np.asanyarray(image.dataobj))
    nibabel.save(nibabel.Nifti1Image(padded.astype(np.int16), image.affine), image_of(mine, "CT"))
    predict(mine, report=True)
    page = (tmp_path / "out/case_1/report.html").read_text()
    assert "E-VAL-16" in page and "ZZPLANTED" not in page


def test_a_changed_input_and_a_damaged_result_are_predicted_again(
    predict: Callable[..., int], phantom_folder: Path, tmp_path: Path
) -> None:
    mine = Path(shutil.copytree(case(phantom_folder, 1), tmp_path / "case_1"))
    predict(mine)
    path, result = image_of(mine, "CT_CBF"), tmp_path / "out/case_1/result.json"
    path.write_bytes(image_of(mine, "CT_MTT").read_bytes())
    predict(mine)
    assert json.loads((tmp_path / "out/run.json").read_text())["cases"]["case_1"]["outcome"] == "ok"
    result.write_text(result.read_text()[:50])
    predict(mine)
    assert json.loads((tmp_path / "out/run.json").read_text())["cases"]["case_1"]["outcome"] == "ok"


def test_a_result_of_another_version_is_predicted_again(
    predict: Callable[..., int], phantom_folder: Path, tmp_path: Path
) -> None:
    predict(case(phantom_folder, 1))
    result = tmp_path / "out/case_1/result.json"
    content = json.loads(result.read_text())
    result.write_text(json.dumps(content | {"version": "0.1.0"}))
    predict(case(phantom_folder, 1))
    assert json.loads((tmp_path / "out/run.json").read_text())["cases"]["case_1"]["outcome"] == "ok"
    assert json.loads(result.read_text())["version"] == content["version"]


def test_nothing_of_a_former_bundle_stays_beside_the_result_of_another(
    predict: Callable[..., int], phantom_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out/case_1"
    predict(case(phantom_folder, 1), report=True)
    assert (out / "uncertainty.nii.gz").is_file() and (out / "report.html").is_file()
    words = ["predict", str(case(phantom_folder, 1)), "--bundle", "threshold", "--out", str(out.parent)]
    assert main([*words, "--no-report"]) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "core.nii.gz", "hypoperfused.nii.gz", "lesion.nii.gz", "probability.nii.gz", "result.json",
    ]  # fmt: skip
    predict(case(phantom_folder, 1))
    assert not (out / "core.nii.gz").exists() and (out / "uncertainty.nii.gz").is_file()


def test_a_page_asked_for_later_is_drawn_from_the_files(phantom_folder: Path, tmp_path: Path) -> None:
    words = ["predict", str(case(phantom_folder, 1)), "--bundle", "threshold", "--out", str(tmp_path)]
    page, record = tmp_path / "case_1/report.html", tmp_path / "run.json"
    assert main(words) == 0
    drawn = page.read_bytes()
    page.unlink()
    assert main([*words, "--no-report"]) == 0 and not page.exists()
    assert main(words) == 0 and page.read_bytes() == drawn
    assert json.loads(record.read_text())["cases"] == {"case_1": {"outcome": "done before"}}


def test_a_failure_that_no_code_names_says_its_cause(phantom_folder: Path, tmp_path: Path) -> None:
    def fail(entry: object) -> None:
        try:
            raise KeyError("ct")
        except KeyError as error:
            raise RuntimeError("applying transform Load") from error

    predictor = SimpleNamespace(bundle="b", weights={}, settings={}, modalities=(), prepare=fail, postprocessing=None)
    (record,) = predict_cases(predictor, [{"case": "case_1"}], tmp_path).values()
    assert record == {"outcome": "failed", "error": "RuntimeError: applying transform Load, caused by KeyError: 'ct'"}


def test_several_weights_are_averaged(
    predict: Callable[..., int], phantom_folder: Path, tmp_path: Path, untrained_weights: Path
) -> None:
    other = tmp_path / "other.pt"
    publish_state(other, {k: v * 0.5 if v.is_floating_point() else v for k, v in load_state(untrained_weights).items()})
    for out, weights in (("a", [untrained_weights]), ("b", [other]), ("ab", [untrained_weights, other])):
        assert (
            predict(
                case(phantom_folder, 1), out=tmp_path / out, extra=("--mc-passes", "1", "--weights", *map(str, weights))
            )
            == 0
        )
    a, b, ab = (nibabel.load(tmp_path / d / "case_1/probability.nii.gz").get_fdata() for d in ("a", "b", "ab"))
    np.testing.assert_allclose(ab, (a + b) / 2, atol=1e-5)


@pytest.mark.parametrize(
    ("option", "value", "code"),
    [("--step", "0", "E-INF-03"), ("--threshold", "7", "E-POST-02"), ("--mc-passes", "0", "E-INF-04")],
)
def test_settings_that_cannot_work_are_refused_before_any_work(
    predict: Callable[..., int],
    phantom_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    option: str,
    value: str,
    code: str,
) -> None:
    assert predict(case(phantom_folder, 1), extra=(option, value)) == 4
    assert capsys.readouterr().err.startswith(code) and not (tmp_path / "out").exists()


def test_no_bundle_no_weights_and_foreign_weights_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(IslesError, match="E-INF-10(?s:.*)no inference.json"):
        load_predictor(tmp_path, tmp_path)
    with pytest.raises(IslesError, match="E-INF-11"):
        load_predictor(BUNDLE, tmp_path, weights=[tmp_path / "none.pt"])
    publish_state(tmp_path / "w.pt", {"first.weight": load_state_like()})
    with pytest.raises(IslesError, match=r"E-INF-12(?s:.*)tensors differ, first first\.weight: \(2, 2\) for"):
        load_predictor(BUNDLE, tmp_path, weights=[tmp_path / "w.pt"])


def load_state_like():
    import torch

    return torch.zeros(2, 2)


def test_a_head_that_does_not_match_its_mirror_is_predicted_with_a_remark(
    predict: Callable[..., int], phantom_folder: Path, tmp_path: Path
) -> None:
    half = tmp_path / "half"
    shutil.copytree(case(phantom_folder, 1), half)
    path = image_of(half, "CT")
    image = nibabel.load(path)
    values = np.asarray(image.dataobj).copy()
    values[: values.shape[0] // 2 - 10] = -1000  # the head's other half is missing
    nibabel.save(nibabel.Nifti1Image(values, image.affine, image.header), path)
    assert predict(case(phantom_folder, 1), half, report=True) == 0
    whole, cut = (json.loads((tmp_path / "out" / name / "result.json").read_text()) for name in ("case_1", "half"))
    assert whole["registration"]["method"] in ("rigid", "flip") and "remarks" not in whole
    assert cut["registration"]["method"] == "midline" and cut["remarks"][-1].startswith("E-REG-03: ")
    assert "mirrored across the middle of the head" in cut["remarks"][-1]
    page = (tmp_path / "out/half/report.html").read_text(encoding="utf-8")
    assert "E-REG-03: the head does not match its mirror image" in page


@pytest.mark.parametrize("words", [[], ["--dry-run"]])
def test_images_that_an_overlay_of_the_bundle_reads_are_answered_by_its_name(
    tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    for key in ("dwi", "adc"):
        image = nibabel.Nifti1Image(np.arange(64, dtype=np.float32).reshape(4, 4, 4), np.eye(4))
        nibabel.save(image, tmp_path / "data" / f"p1_{key}.nii")
    bundle = str(BUNDLE.parent / "clerigues_mri")
    asked = ["predict", str(tmp_path / "data"), "--bundle", bundle, "--out", str(tmp_path / "out"), *words]
    assert main(asked) == 4
    error = capsys.readouterr().err
    assert "E-LIST-02" in error and "fix   give --overlay dwi_adc.json, or add the missing image" in error
    (tmp_path / "data/p1_adc.nii").unlink()  # no overlay reads a DWI alone
    assert main(asked) == 4 and "--overlay" not in capsys.readouterr().err
