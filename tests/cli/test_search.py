"""``monai-isles search`` on out-of-fold maps made up by hand, from its arguments to its files and exit code."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel
import numpy as np
import pytest
from monai.bundle import ConfigParser

from monai_isles.bundle.bundle import Bundle
from monai_isles.cli.main import main
from monai_isles.crossval.plan import Plan
from monai_isles.io import publish_json
from monai_isles.io.payload import sha256_of

BUNDLE = Path(__file__).parents[2] / "bundles/clerigues"
FOLDS = (0, 1, 2)
Make = Callable[..., Path]


def save(path: Path, volume: np.ndarray) -> None:
    image = nibabel.Nifti1Image(volume, np.diag([2.0, 2.0, 5.0, 1.0]))
    image.header.set_xyzt_units("mm")
    image.set_sform(image.affine, 1)
    image.set_qform(image.affine, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)


def maps(fold: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a map and a lesion of 144 voxels: its rim is wrong below 0.4 in fold 0 and below 0.2 elsewhere.

    A false spot of 60 voxels and probability 0.95 lies far away in every map.
    """
    reference, probability = np.zeros((40, 40, 2), np.uint8), np.zeros((40, 40, 2), np.float32)
    reference[4:16, 4:16, 0] = 1
    probability[2:18, 2:18, 0] = 0.35 if fold == 0 else 0.15
    probability[4:16, 4:16, 0] = 0.45 if fold == 0 else 0.25
    probability[30:40, 30:36, 1] = 0.95
    return probability, reference


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return a function that writes a cross-validation folder of two cases a fold."""

    def write(name: str = "cv", *, protocol: str = "paper", gain: float = 1.0, sizes_vox: Sequence[int] = ()) -> Path:
        out, data = tmp_path / name, tmp_path / "data"
        entries = []
        for fold in FOLDS:
            (out / f"fold_{fold}").mkdir(parents=True)
            (out / f"fold_{fold}/model.pt").write_text(f"weights of {name} {fold}")
            for scan in "ab":
                case = f"case_{fold}{scan}"
                probability, reference = maps(fold)
                save(data / case / "ref.nii.gz", reference)
                save(out / "predictions" / case / "probability.nii.gz", probability * np.float32(gain))
                digest = sha256_of(out / f"fold_{fold}/model.pt")
                publish_json(out / "predictions" / case / "result.json", {"weights_sha256": [digest]})
                entries.append({"case": case, "subject": f"s{fold}", "fold": fold, "label": f"{case}/ref.nii.gz"})
        publish_json(out / "data_list.json", {"name": "by hand", "simulated": True, "training": entries, "test": []})
        plan = Plan(
            bundle="gone", dataset_dir=str(data), protocol=protocol, folds=FOLDS,
            cases={fold: [f"case_{fold}a", f"case_{fold}b"] for fold in FOLDS}, overlays=(), settings={},
            modalities=("ct",), max_epochs=1, data_name="by hand", simulated=True, fingerprints={},
            sizes_vox=tuple(sizes_vox),
        )  # fmt: skip
        publish_json(out / "crossval.json", plan.record())
        return out

    return write


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_pair_by_hand_is_chosen_and_the_files_are_written(make: Make, capsys) -> None:
    folder = make()
    assert main(["search", str(folder)]) == 0
    found = json.loads((folder / "search/search.json").read_text())
    # T 0.2 and Smin 100: folds 1 and 2 exact, fold 0 holds its rim: Dice 288 / (144 + 256), corner distance sqrt 8.
    assert (found["chosen"]["threshold"], found["chosen"]["min_size_vox"]) == (0.2, 100)
    dsc, near = (2 + 0.72) / 3, 1 - 8**0.5 / 3 / 200
    assert found["chosen"]["score"] == pytest.approx(dsc * near / (dsc + near))
    assert found["chosen"]["min_size_mm3"] == 100 * 20.0 and found["simulated"] is True
    grid = {(row["threshold"], row["min_size_vox"]): row for row in table(folder / "search/grid.csv")}
    assert len(grid) == 54 and float(grid["0.2", "100"]["dsc"]) == pytest.approx(dsc)
    assert grid["0.9", "100"]["one_mask_empty"] == "6" and float(grid["0.9", "100"]["hd_vox_as_scored"]) == 200
    assert len(table(folder / "search/cases.csv")) == 6 * 54
    assert (folder / "search/heatmap.png").read_bytes()[:4] == b"\x89PNG" and (folder / "search/run.json").is_file()
    assert "T 0.2, Smin 100 voxels (2000 mm3" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "largest"), [("clerigues_mri", 1000), ("clerigues", 500), ("unet", 500)])
def test_the_smallest_lesions_are_those_of_the_bundles_paper(name: str, largest: int, make: Make) -> None:
    folder = make(sizes_vox=Bundle.open(name).paper.get("sizes_vox", ()))
    assert main(["search", str(folder)]) == 0
    sizes = json.loads((folder / "search/search.json").read_text())["grid"]["sizes_vox"]
    assert len(sizes) == 6 and (sizes[0], sizes[-1]) == (10, largest)


def test_the_chosen_pair_is_an_overlay_for_the_inference_config(make: Make) -> None:
    folder = make()
    main(["search", str(folder)])
    chosen = json.loads((folder / "postprocessing.json").read_text())
    assert chosen == {"threshold": 0.2, "min_size_vox": 100, "min_size_mm3": 2000.0}
    files = [str(BUNDLE / "inference.json"), str(folder / "postprocessing.json")]
    config = ConfigParser(ConfigParser.load_config_files(files))
    assert (config["threshold"], config["min_size_vox"]) == (0.2, 100)


def test_both_ways_of_tuning_are_printed_apart_with_what_one_flatters(make: Make, capsys) -> None:
    folder = make()
    assert main(["search", str(folder)]) == 0
    said = capsys.readouterr().out
    assert said.count("== protocol ") == 2 and "simulated data, not patients" in said
    assert "== protocol paper: training stopped by the scored scans; T and Smin chosen on the scored" in said
    assert "== protocol paper-training-nested-tuning: training stopped by the scored scans; T and Smin of each" in said
    # Every fold is tuned to T 0.2 by the others, so that nothing is flattered here.
    rows = {
        name: table(folder / "search" / name / "per_case.csv") for name in ("paper", "paper-training-nested-tuning")
    }
    assert [float(row["dsc"]) for row in rows["paper"]] == pytest.approx([0.72, 0.72, 1, 1, 1, 1])
    assert "paper minus paper-training-nested-tuning: +0.00 Dice points" in said and "6 cases, 3 subjects" in said
    summary = json.loads((folder / "search/paper/summary.json").read_text())
    assert summary["methods"]["network"]["n"] == 6 and set(summary["choices"]) == {"0", "1", "2"}


def test_tuning_without_the_scored_fold_can_cost_dice_and_the_cost_is_told(make: Make) -> None:
    folder = make()
    for fold in (1, 2):  # what suits fold 0 now suits fold 1, too
        for scan in "ab":
            path = folder / f"predictions/case_{fold}{scan}/probability.nii.gz"
            save(path, maps(0 if fold == 1 else 2)[0])
    assert main(["search", str(folder)]) == 0
    found = json.loads((folder / "search/search.json").read_text())
    # All: T 0.2 gives (0.72 + 0.72 + 1) / 3, T 0.4 (1 + 1 + 0) / 3. Without fold 2: T 0.4, which finds nothing there.
    assert found["chosen"]["threshold"] == 0.2
    nested = found["protocols"]["paper-training-nested-tuning"]
    assert [nested["choices"][fold]["threshold"] for fold in "012"] == [0.2, 0.2, 0.4]
    (flattered,) = found["optimism"]
    assert flattered["dice_points"] == pytest.approx(100 / 3)
    assert flattered["test"]["subjects"]["n"] == 3


def test_a_nested_cross_validation_beside_it_shows_what_the_paper_protocol_flatters(make: Make, capsys) -> None:
    paper, nested = make("cv"), make("nested", protocol="nested", gain=0.5)
    assert main(["search", str(paper), "--nested", str(nested), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["over"] for one in found["optimism"]] == ["paper-training-nested-tuning", "nested"]
    assert main(["search", str(nested), "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["protocols"]) == {"nested-training-paper-tuning", "nested"}


def test_two_folders_that_are_no_pair_are_refused(make: Make, capsys) -> None:
    folder = make()
    assert main(["search", str(folder), "--nested", str(make("other"))]) == 4
    assert "E-SRCH-05: these two cross-validations are no pair of protocols" in capsys.readouterr().err


@pytest.mark.parametrize(("fault", "code"), [("E-FILE-05: file is cut short", 3), ("E-RUN-41: no memory", 4), ("", 4)])
def test_a_case_that_cannot_be_predicted_is_left_out(make: Make, fault: str, code: int, capsys) -> None:
    folder = make()
    (folder / "predictions/case_1b/probability.nii.gz").unlink()
    record = {"outcome": "failed", "error": fault}
    publish_json(folder / "fold_1/predicted.json", {"weights_sha256": "-", "cases": {"case_1b": record}})
    assert main(["search", str(folder)]) == code
    if code == 3:
        assert f"case_1b: left out\n  {fault}" in capsys.readouterr().out
        content = json.loads((folder / "search/search.json").read_text())
        assert (content["cases"], content["left_out"]) == (5, {"case_1b": fault})


@pytest.mark.parametrize(
    ("step", "fault", "code"),
    [
        ("training", "E-FILE-05: file is cut short", 3),
        ("training", "E-TRAIN-03: no number", 4),
        ("prediction", "E-FILE-15: model.pt is damaged", 4),
        ("training", "E-FILE-05: of a strict training", 4),
    ],
)
def test_a_fold_of_which_no_case_could_be_read_is_left_out(
    make: Make, step: str, fault: str, code: int, capsys
) -> None:
    folder = make()
    (folder / "fold_1/model.pt").unlink()
    for case in ("case_1a", "case_1b"):
        (folder / f"predictions/{case}/probability.nii.gz").unlink()
    ended = {"outcome": "failed", "step": step, "error": f"ended with code 4, see {step}.log\n{fault}"}
    publish_json(folder / "fold_1/settings.json", {"strict": "strict" in fault})
    publish_json(folder / "run.json", {"folds": {"0": {"outcome": "ok"}, "1": ended, "2": {"outcome": "ok"}}})
    assert main(["search", str(folder)]) == code
    if code == 3:
        assert f"case_1a: left out\n  {fault}" in capsys.readouterr().out
        content = json.loads((folder / "search/search.json").read_text())
        assert (content["cases"], content["left_out"]) == (4, dict.fromkeys(("case_1a", "case_1b"), fault))


@pytest.mark.parametrize("code", ["E-FILE-05", "E-GEOM-04"])
def test_a_case_whose_mask_cannot_be_scored_is_left_out(make: Make, code: str, capsys) -> None:
    folder = make()
    for number, case in enumerate(f"case_{fold}{scan}" for fold in FOLDS for scan in "ab"):
        path = folder.parent / f"data/{case}/ref.nii.gz"
        if code == "E-GEOM-04":
            save(path, maps(0)[1][:, :, [0, 1, 1]])
        else:
            path.write_bytes(path.read_bytes()[:90])
        if number == 0:
            assert main(["search", str(folder)]) == 3
            assert f"{case}: left out\n  {code}" in capsys.readouterr().out
    assert main(["search", str(folder)]) == 4
    assert "E-SRCH-02: no mask fits" in capsys.readouterr().err


def test_what_is_no_cross_validation_or_not_complete_is_refused(make: Make, tmp_path: Path, capsys) -> None:
    assert main(["search", str(tmp_path)]) == 4
    assert "E-SRCH-01: no cross-validation there" in capsys.readouterr().err
    folder = make()
    (folder / "predictions/case_1b/probability.nii.gz").unlink()
    assert main(["search", str(folder)]) == 4
    said = capsys.readouterr().err
    assert "E-SRCH-02: out-of-fold predictions are missing" in said and "1 of 6 cases: case_1b" in said


def test_a_prediction_by_a_model_that_trained_on_the_case_is_refused(make: Make, capsys) -> None:
    folder = make()
    other = json.loads((folder / "predictions/case_0a/result.json").read_text())
    publish_json(folder / "predictions/case_1a/result.json", other)
    assert main(["search", str(folder)]) == 4
    said = capsys.readouterr().err
    assert "E-SRCH-03: predictions are not by the model of their fold" in said and "case_1a (fold 1)" in said
    assert not (folder / "search").exists()
