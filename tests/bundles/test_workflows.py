"""Every bundle is a workflow by MONAI's own conventions: properties, and the logging handlers of MONAI's users."""

from __future__ import annotations

import csv
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

BUNDLES = sorted(path.name for path in (Path(__file__).parents[2] / "bundles").iterdir() if path.is_dir())
LEARNING = [name for name in BUNDLES if name != "threshold"]
SLOW = ("clerigues", "wang")
KINDS = {"train": ("train.json",), "evaluate": ("train.json", "evaluate.json"), "infer": ("inference.json",)}
OPTIONAL = ("network_def", "train_dataset_data", "train_handlers", "train_preprocessing", "val_interval", "evaluator",
            "val_handlers", "val_dataset", "val_dataset_data", "val_inferer", "val_preprocessing", "val_key_metric")  # fmt: skip
STATS = {
    "_target_": "monai.handlers.StatsHandler",
    "tag_name": "train_loss",
    "output_transform": "$monai.handlers.from_engine(['loss'], first=True)",
}


class Said(logging.Handler):
    """Keep what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", BUNDLES)
def test_no_property_is_missing(name: str, kind: str, workflow: Callable[..., Any]) -> None:
    made = workflow(name, KINDS[kind], "infer" if kind == "infer" else "train")
    made.initialize()
    assert made.check_properties() == []


@pytest.mark.parametrize("name", LEARNING)
def test_the_optional_properties_of_a_training_are_there(name: str, workflow: Callable[..., Any]) -> None:
    made = workflow(name)
    made.initialize()
    assert [one for one in OPTIONAL if getattr(made, one) is None] == []
    assert made.val_interval == 1 and made.max_epochs == 1 and made.trainer.state.max_epochs == 1


@pytest.mark.parametrize("name", [pytest.param(b, marks=[pytest.mark.long] if b in SLOW else []) for b in BUNDLES])
def test_monai_s_stats_handler_logs_loss_and_metrics(
    name: str, workflow: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = workflow(name)
    made.parser["train#handlers"].append(STATS)
    made.initialize()
    logger, said = logging.getLogger("monai.handlers.StatsHandler"), Said()
    monkeypatch.setattr(logger, "handlers", [said])
    logger.setLevel(logging.INFO)
    made.run()
    lines = said.lines
    if name == "threshold":
        assert len(lines) == 1 and lines[0].startswith("Epoch[1] Metrics -- val_dsc: 0.")
        return
    (row,) = csv.DictReader((tmp_path / "run/curves.csv").read_text().splitlines())
    losses = [float(line.split("train_loss: ")[1]) for line in lines if "train_loss: " in line]
    assert losses and math.isclose(sum(losses) / len(losses), float(row["train_loss"]), abs_tol=1e-4)


def test_validation_every_second_epoch(workflow: Callable[..., Any], tmp_path: Path) -> None:
    made = workflow("unet", val_interval=2, max_epochs=3)
    made.initialize()
    made.run()
    rows = list(csv.DictReader((tmp_path / "run/curves.csv").read_text().splitlines()))
    assert [math.isnan(float(row["val_dsc"])) for row in rows] == [True, False, True]
    assert (tmp_path / "run/model.pt").is_file() and made.trainer.state.epoch == 3
