"""``tools/reproduce.py abulnaga`` writes tables, figures and the ensemble beside the published numbers."""

from __future__ import annotations

import csv
import json
import runpy
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from monai_isles.cli.main import main as isles
from monai_isles.crossval.plan import Plan
from monai_isles.data import make_datalist
from monai_isles.io import publish_json
from monai_isles.io.payload import sha256_of
from monai_isles.io.weights import publish_state
from monai_isles.networks import PSPNet
from monai_isles.papers import study as papers_study

ROOT = Path(__file__).parents[2]
WIDTH = {"focal": 2, "cross_entropy": 5}  # columns by which a row's maps are shifted


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, phantom_folder: Path) -> list[Plan]:
    """Put shifted lesions and untrained networks where training would stand; tell what would have been trained."""
    plans: list[Plan] = []

    def cross_validate(plan: Plan, content: dict, out: Path) -> dict[str, object]:
        plans.append(plan)
        publish_json(out / "crossval.json", plan.record())
        publish_json(out / "data_list.json", content)
        for fold in plan.folds:
            torch.manual_seed(fold)
            publish_state(out / f"fold_{fold}/model.pt", PSPNet(base_channels=2).state_dict())
        for entry in content["training"]:
            image = nibabel.load(phantom_folder / entry["label"])
            loss = next(loss for loss in WIDTH if out.name.endswith(loss))
            moved = WIDTH[loss] + len(out.name) + int(plan.settings.get("seed", 0))
            found = np.roll(np.asarray(image.dataobj) > 0, moved, axis=0)
            folder = out / "predictions" / entry["case"]
            folder.mkdir(parents=True, exist_ok=True)
            map_ = nibabel.Nifti1Image((0.9 * found).astype(np.float32), image.affine, image.header)
            nibabel.save(map_, folder / "probability.nii.gz")
            digest = sha256_of(out / f"fold_{entry['fold']}/model.pt")
            publish_json(folder / "result.json", {"weights_sha256": [digest]})
        cases = {entry["case"]: {"outcome": "ok"} for entry in content["training"]}
        return {"folds": {fold: {"outcome": "ok"} for fold in plan.folds}, "cases": cases}

    monkeypatch.setattr(papers_study, "cross_validate", cross_validate)
    return plans


@pytest.fixture
def words(phantom_folder: Path, tmp_path: Path) -> list[str]:
    publish_json(tmp_path / "list.json", make_datalist(phantom_folder, folds=2))
    data = ["--data-list", str(tmp_path / "list.json"), "--dataset-dir", str(phantom_folder)]
    return [
        *data,
        "--bundle",
        str(ROOT / "bundles/abulnaga"),
        "--out",
        str(tmp_path / "out"),
        "--set",
        "base_channels=2",
    ]


def reproduce(*words: str) -> int:
    return runpy.run_path(str(ROOT / "tools/reproduce.py"))["main"](["abulnaga", *words])


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_nothing_asked_for_is_refused(words: list[str], trained: list[Plan], capsys) -> None:
    assert reproduce(*words) == 4 and not trained
    assert "E-REPR-22: nothing to reproduce" in capsys.readouterr().err


def test_both_tables_stand_beside_the_published_ones(
    words: list[str], trained: list[Plan], unseen_folder: Path, tmp_path: Path, capsys
) -> None:
    assert reproduce("--table", "1", "2", "--unseen", str(unseen_folder), *words) == 0
    assert [plan.overlays for plan in trained] == [("focal.json",), ("cross_entropy.json",)]
    out, said = tmp_path / "out", capsys.readouterr().out
    lines = table(out / "table1.csv")
    ours = {line["row"]: line for line in lines if line["kind"] == "ours"}
    assert list(ours) == ["fold 1", "fold 2", "total"] and ours["total"]["n_of"] == "folds"
    folds = [float(ours[f"fold {n}"]["focal_mean"]) for n in (1, 2)]
    assert float(ours["total"]["focal_mean"]) == pytest.approx(np.mean(folds))
    assert 0 <= float(ours["total"]["rule_mean"]) <= 1 and ours["total"]["rule_n"] == "2"
    assert float(ours["total"]["focal_sd"]) == pytest.approx(np.std(folds, ddof=1))
    printed = {line["row"]: line for line in lines if line["kind"] == "published"}
    assert (printed["total"]["focal_mean"], printed["fold 5"]["cross_entropy_mean"]) == ("0.54", "0.41")
    assert "simulated data, not patients" in said and str(tmp_path) not in (out / "table1.txt").read_text()
    names = [line["row"] for line in table(out / "table2.csv")]
    assert "ours: all 4 networks, scans of unseen" in names and "best" in names
    assert (out / "unseen/case_1/probability.nii.gz").is_file()


def test_the_ensemble_is_a_bundle_that_predict_takes(
    words: list[str], trained: list[Plan], tmp_path: Path, phantom_folder: Path, capsys
) -> None:
    assert reproduce("--ensemble", *words) == 0
    made = json.loads((tmp_path / "out/ensemble/ensemble.json").read_text())
    assert len(made["members"]) == 4 and capsys.readouterr().out.strip().endswith("--out PREDICTIONS")
    case = next((phantom_folder / "TRAINING").iterdir())
    command = made["predict"].split()[1:]
    at = command.index("CASE_OR_DATA_DIR")
    assert isles([*command[:at], str(case), *command[at + 1 : -1], str(tmp_path / "pred"), "--no-report"]) == 0
    result = json.loads((tmp_path / "pred" / case.name / "result.json").read_text())
    assert result["weights_sha256"] == [one["sha256"] for one in made["members"]]
    assert (tmp_path / "pred" / case.name / "uncertainty.nii.gz").is_file()


@pytest.mark.long
def test_the_figures_hold_every_network_with_both_losses_and_the_pretrained_start(
    words: list[str], trained: list[Plan], tmp_path: Path, capsys
) -> None:
    weights = tmp_path / "start.pt"
    publish_state(weights, PSPNet(base_channels=2).state_dict())
    assert reproduce("--figure", "3", "4", "--pretrained", str(weights), *words) == 0
    assert [plan.settings.get("pretrained") for plan in trained] == [str(weights)] * 2 + [None] * 8
    assert {plan.overlays for plan in trained[4:]} == {
        (f"{network}.json", f"{loss}.json") for network in ("unet2d", "unet3d", "vnet3d") for loss in WIDTH
    }
    out = tmp_path / "out"
    assert all((out / name).read_bytes().startswith(b"\x89PNG") for name in ("figure3.png", "figure4.png"))
    ours = [line["row"] for line in table(out / "figure3.csv") if line["kind"] == "ours"]
    assert ours == ["PSPNet (pre-trained)", "PSPNet (scratch)", "2D U-Net", "3D U-Net", "3D V-Net", "no network"]
    record = json.loads((out / "run.json").read_text())
    assert len(record["rows"]) == 10 and "figure4.png" in capsys.readouterr().out


def test_weighted_cross_entropy_is_a_row_that_is_trained_when_named(
    words: list[str], trained: list[Plan], tmp_path: Path
) -> None:
    assert reproduce("--table", "1", "--rows", "weighted_cross_entropy", *words) == 0
    assert [plan.overlays[0] for plan in trained] == ["focal.json", "cross_entropy.json", "weighted_cross_entropy.json"]
    (*_, total) = [line for line in table(tmp_path / "out/table1.csv") if line["kind"] == "ours"]
    assert total["row"] == "total" and float(total["weighted_cross_entropy_mean"]) >= 0


def test_several_trainings_of_every_row_give_the_spread_between_them(
    words: list[str], trained: list[Plan], tmp_path: Path, capsys
) -> None:
    assert reproduce("--table", "1", "--seeds", "0", "1", "4", *words) == 0
    assert [plan.settings["seed"] for plan in trained] == [0, 0, 1, 1, 4, 4]
    out = tmp_path / "out"
    made = json.loads((out / "run.json").read_text())["rows"]
    dice = {
        loss: np.array([list(rows[f"PSPNet (scratch), {loss}"]["cases"].values()) for rows in made.values()])
        for loss in WIDTH
    }  # trainings x cases
    assert list(made) == ["seed_0", "seed_1", "seed_4"] and all(table(out / seed / "table1.csv") for seed in made)
    lines = table(out / "table1_trainings.csv")
    assert [(line["n"], line["n_of"]) for line in lines] == [("3", "trainings")] * 2
    for line, of_loss in zip(lines, dice.values(), strict=True):
        assert float(line["dsc_mean"]) == pytest.approx(of_loss.mean())
        assert float(line["dsc_sd"]) == pytest.approx(of_loss.mean(1).std(ddof=1))
    test = next(one for one in table(out / "table1_trainings_tests.csv") if one["metric"] == "dsc")
    difference = dice["focal"] - dice["cross_entropy"]
    assert float(test["cases_mean"]) == pytest.approx(difference.mean())
    assert float(test["spread"]) == pytest.approx(difference.mean(1).std(ddof=1))
    assert "3 trainings of every row" in capsys.readouterr().out


@pytest.mark.parametrize(("seeds", "more"), [(["0", "1"], ["seed=3"]), (["0", "-1"], [])])
def test_a_seed_beside_seeds_or_below_zero_is_refused_before_any_training(
    words: list[str], trained: list[Plan], tmp_path: Path, seeds: list[str], more: list[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        reproduce("--table", "1", "--seeds", *seeds, *words, *more)
    assert not trained and not (tmp_path / "out").exists()
