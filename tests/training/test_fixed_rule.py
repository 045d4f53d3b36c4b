"""The training of a fixed rule scores the fold and says that nothing was learned."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine

from monai_isles.errors import IslesError
from monai_isles.io import load_state
from monai_isles.training import FixedRule


class Scored(Engine):
    """An evaluator whose metric is known beforehand."""

    def __init__(self) -> None:
        super().__init__(lambda engine, batch: None)

    def run(self) -> None:
        super().run([0])
        self.state.metrics["val_dsc"] = 0.25


def test_an_empty_state_and_an_honest_record_are_left(tmp_path: Path) -> None:
    rule = FixedRule(str(tmp_path / "run"), torch.nn.Identity(), Scored(), "val_dsc")
    assert rule.run() == 0.25
    assert load_state(tmp_path / "run/model.pt") == {}
    record = json.loads((tmp_path / "run/run.json").read_text())
    assert record["outcome"] == "nothing to learn: the rule is fixed; val_dsc 0.25000 on the fold"
    assert record["kind"] == "training" and record["settings"] == {"network": "Identity()"}
    with pytest.raises(IslesError, match=r"(?s)E-TRAIN-02: this run is finished already.*nothing to learn"):
        rule.run()


def test_a_network_that_learns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        IslesError, match=r"(?s)E-TRAIN-60: this network has parameters to train.*2 tensors, first weigh"
    ):
        FixedRule(str(tmp_path), torch.nn.Linear(1, 1), Scored(), "val_dsc")
