"""MLflow and TensorBoard follow a training by MONAI's own switches, every bundle to its end."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

BUNDLES = sorted(path.name for path in (Path(__file__).parents[2] / "bundles").iterdir() if path.is_dir())
LOSS = "$monai.handlers.from_engine(['loss'], first=True)"


@pytest.mark.filterwarnings("ignore")  # MLflow's own, of SQLAlchemy and alembic
@pytest.mark.parametrize("name", BUNDLES)
def test_tracking_mlflow_logs_loss_and_metrics_to_the_end(
    name: str, client: Callable[..., str], record: Callable[..., None], workflow: Callable[..., Any], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    version = client("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    made = workflow(name, tracking="mlflow")
    made.initialize()
    made.run()
    from mlflow import MlflowClient

    log = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/run/mlruns.db")
    (run,) = log.search_runs([log.get_experiment_by_name("monai_experiment").experiment_id])
    metrics = run.data.metrics
    assert run.info.status == "FINISHED" and run.data.params["max_epochs"] == "1"
    if name == "threshold":  # nothing is learned: no loss
        assert 0 <= metrics["val_dsc"] <= 1
    else:
        (row,) = csv.DictReader((tmp_path / "run/curves.csv").read_text().splitlines())
        losses = [one.value for one in log.get_metric_history(run.info.run_id, "train_loss")]
        assert sum(losses) / len(losses) == pytest.approx(float(row["train_loss"]), abs=1e-4)
        logged = {key for key in metrics if key.startswith("val_")}
        assert logged and all(metrics[key] == pytest.approx(float(row[key]), abs=1e-6) for key in logged)
    said = ", ".join(sorted(key for key in metrics if key != "lr"))
    record("mlflow", version, f"`--tracking mlflow`, one epoch of bundles/{name}", f"run FINISHED; logged {said}")


@pytest.mark.filterwarnings("ignore")  # TensorBoard's own, of protobuf
def test_tensorboard_reads_the_loss_of_every_iteration(
    client: Callable[..., str], record: Callable[..., None], workflow: Callable[..., Any], tmp_path: Path
) -> None:
    version = client("tensorboard")
    made = workflow("unet")
    made.parser["train#handlers"].append(
        {"_target_": "monai.handlers.TensorBoardStatsHandler", "log_dir": str(tmp_path / "events"),
         "tag_name": "train_loss", "output_transform": LOSS}
    )  # fmt: skip
    made.initialize()
    made.run()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "events")).Reload()
    losses = [one.value for one in events.Scalars("train_loss")]
    (row,) = csv.DictReader((tmp_path / "run/curves.csv").read_text().splitlines())
    assert sum(losses) / len(losses) == pytest.approx(float(row["train_loss"]), abs=1e-4)
    assert len(losses) == made.trainer.state.iteration
    record("tensorboard", version, "TensorBoardStatsHandler on bundles/unet", f"losses as in curves.csv: {len(losses)}")
