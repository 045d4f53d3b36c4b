"""Every bundle trains on two processes: one writes, the curve covers all epochs, and both end with the same weights."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigWorkflow

from monai_isles.bundle import Bundle
from monai_isles.data import make_datalist
from monai_isles.io import load_state, publish_json
from monai_isles.io.weights import publish_state
from monai_isles.networks.pspnet import DilatedResNet
from monai_isles.phantom import make_dataset

ROOT = Path(__file__).parents[2]

@pytest.fixture(scope="module")
def mri(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mri") / "data"
    return make_dataset(folder, cases=2, seed=5, kind="siss", spacing_mm=6.0)


def trained(
    in_group: Callable, world: int, bundle: str, out: Path, overlays: tuple[str, ...], **settings: object
) -> list[dict[str, torch.Tensor]]:
    """Train in ``world`` processes; return the parameters that each of them ends with."""
    names = ["train.json", *overlays, *(["multi_gpu_train.json"] if world > 1 else [])]

    def work(rank: int) -> dict[str, torch.Tensor]:
        os.chdir(ROOT)
        made = out.parent / f"rank_{rank}"
        files = [str(Bundle(Path("bundles") / bundle).overlay_file(name, made)) for name in names]
        workflow = ConfigWorkflow(
            files, workflow_type="train", run_id="training", logging_file=False, output_dir=str(out), **settings
        )
        workflow.initialize()
        workflow.run()
        network = workflow.parser.get_parsed_content("network_def")
        workflow.finalize()
        return {name: value.detach() for name, value in network.named_parameters()}

    return in_group(work, world)


def judged(
    in_group: Callable, bundle: str, tmp_path: Path, overlays: tuple[str, ...], batch: int, **settings: object
) -> None:
    out = tmp_path / "two"
    one, two = trained(in_group, 2, bundle, out, overlays, batch_size=batch, **settings)
    assert all(torch.equal(one[name], two[name]) for name in one)
    epochs = int(settings["max_epochs"])
    kept = {f"checkpoint-{epoch:04d}.pt" for epoch in (epochs - 1, epochs)}
    assert {p.name for p in out.iterdir()} >= kept | {"model.pt", "curves.csv", "run.json"}
    with (out / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == [str(n) for n in range(1, epochs + 1)]
    assert all(math.isfinite(float(row["train_loss"])) for row in rows)
    assert load_state(out / "model.pt").keys() >= one.keys()


def common(data: Path, tmp_path: Path, max_epochs: int = 2) -> dict[str, object]:
    publish_json(tmp_path / "list.json", make_datalist(data, folds=2))
    return {"data_list": str(tmp_path / "list.json"), "dataset_dir": str(data), "max_epochs": max_epochs}


def test_clerigues(in_group: Callable, series_folder: Path, tmp_path: Path) -> None:
    settings = common(series_folder, tmp_path) | {"patches_per_case": 33, "validation_step": [64, 64]}
    judged(in_group, "clerigues", tmp_path, (), 16, **settings)


@pytest.mark.long
def test_clerigues_mri(in_group: Callable, mri: Path, tmp_path: Path) -> None:
    settings = common(mri, tmp_path) | {"patches_per_case": 9, "base_channels": 2, "twins": [], "modalities": ["flair"]}
    judged(in_group, "clerigues_mri", tmp_path, (), 4, **settings)


def test_abulnaga_with_a_phase_in_which_the_backbone_is_held(in_group: Callable, series_folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    publish_state(tmp_path / "resnet50.pt", DilatedResNet(base_channels=2).state_dict())
    settings = common(series_folder, tmp_path) | {"pretrained": str(tmp_path / "resnet50.pt"), "frozen_epochs": 1}
    judged(in_group, "abulnaga", tmp_path, ("small.json",), 3, **settings)


@pytest.mark.long
def test_wang(in_group: Callable, series_folder: Path, tmp_path: Path) -> None:
    judged(in_group, "wang", tmp_path, ("small.json",), 3, **common(series_folder, tmp_path))


@pytest.mark.long
@pytest.mark.parametrize("row", ["table1_l2_gan", "table5_dwi_olh_s"])
def test_wang_with_a_discriminator_or_in_stages(row: str, in_group: Callable, series_folder: Path, tmp_path: Path) -> None:
    judged(in_group, "wang", tmp_path, ("small.json", row), 3, **common(series_folder, tmp_path, 3))


def test_the_fixed_rule_scores_its_fold_once_and_one_process_writes(
    in_group: Callable, series_folder: Path, tmp_path: Path
) -> None:
    settings = common(series_folder, tmp_path)
    outcomes = []
    for world in (1, 2):
        out = tmp_path / str(world)
        trained(in_group, world, "threshold", out, (), **settings)
        outcomes.append(json.loads((out / "run.json").read_text())["outcome"])
    assert outcomes[0] == outcomes[1]
