"""Every bundle trains on two processes as on one with the doubled batch."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from monai.bundle import run

from monai_isles.bundle import Bundle
from monai_isles.data import make_datalist
from monai_isles.io import load_state, publish_json, publish_state
from monai_isles.networks.pspnet import DilatedResNet
from monai_isles.phantom import make_dataset

ROOT = Path(__file__).parents[2]
ROUNDING = {"rel": 1e-5, "abs": 1e-5}
"""In float64: in float32 RMSprop and Adadelta make steps of full size from gradients that are zero but for rounding
(the bias before a batch normalisation), so that the validation curves of equal trainings drift apart within epochs."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three simulated two-slice scans with series and DWI; read only."""
    return make_dataset(tmp_path_factory.mktemp("series") / "data", cases=3, seed=5, series=True, max_slices=2)


@pytest.fixture(scope="module")
def mri(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mri") / "data"
    return make_dataset(folder, cases=2, seed=5, kind="siss", spacing_mm=6.0)


def trained(
    in_group: Callable, world: int, bundle: str, out: Path, overlays: tuple[str, ...], **settings: object
) -> Path:
    """Train in ``world`` processes; return the run's folder."""
    engines = ["validate_volumes#evaluator"]
    if bundle != "threshold":
        engines += ["validate#evaluator", "train#trainer"]
    settings |= {f"{engine}#to_kwargs": {"dtype": torch.float64} for engine in engines}
    names = ["train.json", *overlays, *(["multi_gpu_train.json"] if world > 1 else [])]

    def work(rank: int) -> None:
        os.chdir(ROOT)
        torch.set_default_dtype(torch.float64)
        folder = Path("bundles") / bundle
        files = [str(Bundle(folder).overlay_file(name, out.parent / f"rank_{rank}")) for name in names]
        run(run_id="training", config_file=files, output_dir=str(out), logging_file=False, **settings)

    in_group(work, world)
    return out


def rows(out: Path) -> list[dict[str, float]]:
    with (out / "curves.csv").open() as file:
        return [{k: float(v) for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def judged(
    in_group: Callable, bundle: str, tmp_path: Path, overlays: tuple[str, ...], batch: int, **settings: object
) -> None:
    one = trained(in_group, 1, bundle, tmp_path / "one", overlays, batch_size=2 * batch, **settings)
    two = trained(in_group, 2, bundle, tmp_path / "two", overlays, batch_size=batch, **settings)
    assert {p.name for p in two.iterdir()} == {p.name for p in one.iterdir()}
    for mine, wanted in zip(rows(two), rows(one), strict=True):
        assert mine == pytest.approx(wanted, **ROUNDING)
    records = [json.loads((out / "run.json").read_text())["settings"] for out in (one, two)]
    assert records[0] == records[1]
    assert load_state(one / "model.pt").keys() == load_state(two / "model.pt").keys()


def common(data: Path, tmp_path: Path, max_epochs: int = 2) -> dict[str, object]:
    publish_json(tmp_path / "list.json", make_datalist(data, folds=2))
    return {"data_list": str(tmp_path / "list.json"), "dataset_dir": str(data), "max_epochs": max_epochs}


def test_clerigues(in_group: Callable, folder: Path, tmp_path: Path) -> None:
    settings = common(folder, tmp_path) | {"patches_per_case": 33, "validation_step": [64, 64]}
    judged(in_group, "clerigues", tmp_path, (), 16, **settings)


def test_clerigues_mri(in_group: Callable, mri: Path, tmp_path: Path) -> None:
    settings = common(mri, tmp_path) | {"patches_per_case": 9, "base_channels": 2, "twins": [], "modalities": ["flair"]}
    judged(in_group, "clerigues_mri", tmp_path, (), 4, **settings)


def test_abulnaga_with_a_phase_in_which_the_backbone_is_held(in_group: Callable, folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    publish_state(tmp_path / "resnet50.pt", DilatedResNet(base_channels=2).state_dict())
    settings = common(folder, tmp_path) | {"pretrained": str(tmp_path / "resnet50.pt"), "frozen_epochs": 1}
    judged(in_group, "abulnaga", tmp_path, ("small.json",), 3, **settings)


def test_wang(in_group: Callable, folder: Path, tmp_path: Path) -> None:
    judged(in_group, "wang", tmp_path, ("small.json",), 3, **common(folder, tmp_path))


@pytest.mark.parametrize("row", ["table1_l2_gan", "table5_dwi_olh_s"])
def test_wang_with_a_discriminator_or_in_stages(row: str, in_group: Callable, folder: Path, tmp_path: Path) -> None:
    judged(in_group, "wang", tmp_path, ("small.json", row), 3, **common(folder, tmp_path, 3))


def test_the_fixed_rule_scores_its_fold_once_and_one_process_writes(
    in_group: Callable, folder: Path, tmp_path: Path
) -> None:
    settings = common(folder, tmp_path)
    outcomes = []
    for world in (1, 2):
        out = trained(in_group, world, "threshold", tmp_path / str(world), (), **settings)
        outcomes.append(json.loads((out / "run.json").read_text())["outcome"])
    assert outcomes[0] == outcomes[1]
