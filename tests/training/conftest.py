"""A run small enough for seconds: a quarter-size network on two noise cases with a bright lesion."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import ValidationHandler, from_engine
from monai.inferers import SimpleInferer
from torch import nn

from monai_isles.losses import GeneralizedDiceCELoss
from monai_isles.metrics import L1ErrorRate
from monai_isles.networks import AsymmetricResUNet
from monai_isles.sampling import PatchLoader
from monai_isles.training import Checkpoints, Curves, EarlyStop, EpochOrder, FiniteGuard, plain_exits


def noise_case(number: int) -> dict[str, object]:
    rng = np.random.default_rng(number)
    label = np.zeros((1, 48, 48, 2), np.float32)
    label[:, 20:30, 20:30] = 1
    image = rng.normal(size=(2, 48, 48, 2)).astype(np.float32) + 2 * label
    return {"image": image, "label": label, "foreground": np.ones_like(label), "case": f"case_{number}"}


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install ``plain_exits`` for one test."""
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("sys.excepthook", None)
    plain_exits()
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def small_run(tmp_path: Path) -> Callable[..., SimpleNamespace]:
    def build(
        *,
        epochs: int,
        patience: int = 10,
        lr: float = 1.0,
        folder: str = "run",
        flat: bool = True,
        initial_weights: Path | None = None,
        **described: object,
    ) -> SimpleNamespace:
        torch.manual_seed(0)
        network: nn.Module = AsymmetricResUNet(2, 2, base_channels=2)
        if flat:  # two layers, where no test is about the network
            network = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.Dropout2d(0.5), nn.ReLU(), nn.Conv2d(4, 2, 1))
        optimizer, loss = torch.optim.Adadelta(network.parameters(), lr=lr), GeneralizedDiceCELoss()
        cases = [noise_case(1), noise_case(2)]
        loader = PatchLoader(cases, patch=(16, 16), per_case=24, batch_size=16, seed=5)
        held_out = PatchLoader([noise_case(3)], patch=(16, 16), per_case=24, batch_size=16, shuffle=False)
        evaluator = SupervisedEvaluator(
            device=torch.device("cpu"),
            val_data_loader=held_out,
            network=network,
            inferer=SimpleInferer(),
            decollate=False,
            key_val_metric={"val_l1_error": L1ErrorRate(output_transform=from_engine(["pred", "label"]))},
        )
        curves = Curves(str(tmp_path / folder / "curves.csv"), [evaluator])
        early_stop = EarlyStop(evaluator, "val_l1_error", patience=patience)
        checkpoints = Checkpoints(
            str(tmp_path / folder),
            network,
            evaluator,
            "val_l1_error",
            objects={"optimizer": optimizer, "early_stop": early_stop, "curves": curves},
            describe={"optimizer": optimizer, "patches": loader, **described},
            initial_weights=initial_weights and str(initial_weights),
        )
        handlers = [
            EpochOrder(loader),
            FiniteGuard(loader),
            ValidationHandler(1, evaluator),
            curves,
            early_stop,
            checkpoints,
        ]
        trainer = SupervisedTrainer(
            device=torch.device("cpu"),
            max_epochs=epochs,
            train_data_loader=loader,
            network=network,
            optimizer=optimizer,
            loss_function=loss,
            inferer=SimpleInferer(),
            train_handlers=handlers,
            decollate=False,
        )
        return SimpleNamespace(
            trainer=trainer,
            network=network,
            loader=loader,
            curves=curves,
            checkpoints=checkpoints,
            folder=tmp_path / folder,
        )

    return build
