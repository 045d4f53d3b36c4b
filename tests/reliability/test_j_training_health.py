"""Group J of the reliability list: a training that goes wrong, and one that goes on as another."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from monai_isles.io import load_state, publish_json
from tests.reliability import gates
from tests.reliability.children import Shown

Gate, Run = Callable[..., object], Callable[..., object]
EXPLODES = ("--optimizer#lr", "1e30")


def states(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(run.glob("*.pt"))}


def test_j1_a_loss_that_is_not_a_number_stops_at_once_and_names_the_cases(training: Run, refused: Gate) -> None:
    says = ["where cases case_", "loss nan in epoch 1, iteration 2", "the last checkpoint is untouched"]
    refused(training, *EXPLODES, "--batch_size", "8", epochs=3, exit_code=4, code="E-TRAIN-03", says=says)


def test_j1_weights_that_explode_in_the_last_step_of_an_epoch_name_its_cases(training: Run, refused: Gate) -> None:
    says = ["where cases case_", "after epoch 1, iteration 1: logits are not finite"]
    refused(training, *EXPLODES, epochs=3, exit_code=4, code="E-TRAIN-03", says=says)


@pytest.mark.long
def test_j1_the_last_good_checkpoint_and_the_best_weights_stay(resumed: Run, tmp_path: Path) -> None:
    before = states(tmp_path / "run")
    shown = resumed(*EXPLODES, "--force", "true")
    says = ["resuming after epoch 2", " epoch 3, iteration ", "where cases case_"]
    gates.require_refusal(shown, exit_code=4, code="E-TRAIN-03", says=says)
    assert states(tmp_path / "run") == before
    gates.require_nothing_partial(tmp_path / "run")
    assert all(torch.isfinite(value).all() for value in load_state(tmp_path / "run/model.pt").values())
    gates.require_success(resumed(), ["resuming after epoch 2"])


def test_j2_a_resume_with_another_setting_is_refused_with_the_difference(
    resumed: Run, refused: Gate, tmp_path: Path
) -> None:
    says = ["checkpoint-0002.pt", "optimizer was '", "lr: 1.0", "is '", "lr: 0.5", "--force true"]
    refused(resumed, "--optimizer#lr", "0.5", exit_code=4, code="E-TRAIN-01", says=says)
    says = ["loss was '", "patches was '", "seed=0", "seed=7"]
    refused(resumed, "--gdl_power", "1.0", "--seed", "7", exit_code=4, code="E-TRAIN-01", says=says)


def test_j2_a_resume_with_another_data_list_is_refused_with_the_difference(
    resumed: Run, refused: Gate, halfway: Path, tmp_path: Path
) -> None:
    content = json.loads((halfway / "list.json").read_text())
    first = content["training"][0]
    first["mtt"], first["tmax"] = first["tmax"], first["mtt"]
    publish_json(tmp_path / "swapped.json", content)
    says = ["data was '", "is '", "cases, SHA-256"]
    refused(resumed, data_list=tmp_path / "swapped.json", exit_code=4, code="E-TRAIN-01", says=says)
    content["training"].pop()
    publish_json(tmp_path / "fewer.json", content)
    says = ["data was '", "validation was '", "cases=['case_2'])'", "--force true"]
    refused(resumed, data_list=tmp_path / "fewer.json", exit_code=4, code="E-TRAIN-01", says=says)


@pytest.mark.long
def test_j2_force_goes_on_with_the_new_settings_and_says_so(resumed: Run, tmp_path: Path) -> None:
    shown: Shown = resumed("--optimizer#lr", "0.5", "--force", "true", epochs=3)
    says = ["going on with other settings than", "lr: 0.5", "resuming after epoch 2"]
    gates.require_success(shown, says)
    state = load_state(tmp_path / "run/checkpoint-0003.pt")
    assert [group["lr"] for group in state["objects"]["optimizer"]["param_groups"]] == [0.5]
    assert "lr: 0.5" in json.loads((tmp_path / "run/run.json").read_text())["settings"]["optimizer"]
