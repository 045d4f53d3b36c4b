"""New layers train first and alone, then all; the learning rate falls where the validation stands still."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Engine, Events
from torch import Tensor, nn

from monai_isles.errors import IslesError
from monai_isles.io import load_state
from monai_isles.io.weights import publish_state
from monai_isles.networks import PSPNet, RonnebergerUNet
from monai_isles.networks.pspnet import DilatedResNet
from monai_isles.training import FineTuning, PlateauSchedule


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("resnet") / "resnet50.pt"
    publish_state(path, DilatedResNet(base_channels=2).state_dict())
    return path


def toy_run(weights: Path | None, *, frozen_epochs: int = 2, scores: list[float] | None = None, patience: int = 20):
    """Train on noise that follows from the epoch; keep learning rates and weights of each epoch."""
    torch.manual_seed(0)
    network = PSPNet(2, weights=weights, base_channels=2, dropout=0.0)
    optimizer = torch.optim.RMSprop(network.parameters(), lr=1e-3, weight_decay=0.1)
    evaluator = Engine(lambda e, b: None)
    schedule = PlateauSchedule(optimizer, evaluator, "val_dsc", patience=patience)
    tuning = FineTuning(network, optimizer, frozen_epochs, schedule=schedule)
    rates: dict[int, float] = {}
    states: dict[int, dict[str, Tensor]] = {}

    def step(engine: Engine, batch: int) -> None:
        network.train()
        random = torch.Generator().manual_seed(engine.state.epoch)
        x = torch.randn(2, 2, 16, 16, generator=random)
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(network(x), (x[:, 0] > 0).long()).backward()
        optimizer.step()

    def finish(engine: Engine) -> None:
        epoch = engine.state.epoch
        rates[epoch] = optimizer.param_groups[0]["lr"]
        states[epoch] = {name: value.clone() for name, value in network.state_dict().items()}
        evaluator.state.metrics = {"val_dsc": scores[epoch - 1] if scores else epoch / 100}
        evaluator.state.epoch = epoch

    trainer = Engine(step)
    tuning.attach(trainer)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, finish)
    schedule.attach(trainer)
    start = {name: value.clone() for name, value in network.state_dict().items()}
    return SimpleNamespace(network=network, optimizer=optimizer, schedule=schedule, trainer=trainer, rates=rates,
                           states=states, start=start, tuning=tuning)  # fmt: skip


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


def test_the_first_phase_moves_new_layers_alone_and_the_second_all(resnet: Path) -> None:
    run = toy_run(resnet)
    run.trainer.run([0, 1], max_epochs=4)
    assert run.rates == {1: 1e-2, 2: 1e-2, 3: 1e-4, 4: 1e-4}
    moved = changed(run.start, run.states[2])
    assert not {name for name in moved if name.startswith("backbone.")}
    assert {n for n, _ in run.network.named_parameters() if not n.startswith("backbone.")} <= moved
    then = changed(run.states[2], run.states[3])
    assert {"backbone.conv1.weight", "backbone.bn1.running_mean", "backbone.layer4.2.bn3.weight"} <= then
    assert all(p.requires_grad for p in run.network.parameters()) and not run.network.frozen


def test_validation_between_epochs_does_not_thaw_the_statistics(resnet: Path) -> None:
    network = PSPNet(2, weights=resnet, base_channels=2)
    network.freeze_pretrained()
    network.eval()
    network.train()
    assert network.training and network.initializer.norm.training and network.pyramid.branches[1].norm.training
    assert not any(m.training for m in network.backbone.modules() if isinstance(m, nn.BatchNorm2d))
    assert {n for n, p in network.named_parameters() if not p.requires_grad} == set(network.pretrained)
    network.freeze_pretrained(False)
    assert all(m.training for m in network.modules()) and all(p.requires_grad for p in network.parameters())


def test_nothing_pretrained_trains_whole_at_the_low_rate_from_the_start(caplog: pytest.LogCaptureFixture) -> None:
    run = toy_run(None)
    with caplog.at_level(logging.INFO, logger="monai_isles.training.schedules"):
        run.trainer.run([0], max_epochs=3)
    assert set(run.rates.values()) == {1e-4} and "nothing is pre-trained" in caplog.text
    assert "backbone.conv1.weight" in changed(run.start, run.states[1])


def test_a_network_that_knows_no_pretraining_trains_whole() -> None:
    network = RonnebergerUNet(1, base_channels=2, levels=2)
    optimizer = torch.optim.RMSprop(network.parameters(), lr=1.0)
    trainer = Engine(lambda e, b: None)
    FineTuning(network, optimizer, 5, all_lr=3e-4).attach(trainer)
    trainer.run([0], max_epochs=1)
    assert optimizer.param_groups[0]["lr"] == 3e-4


SCORES = [0.1, 0.2, 0.5, 0.4, 0.3, 0.2]


@pytest.fixture(scope="module")
def whole(resnet: Path) -> SimpleNamespace:
    """A run of six epochs without a stop."""
    run = toy_run(resnet, scores=SCORES, patience=2)
    run.trainer.run([0], max_epochs=6)
    return run


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_resumed_run_equals_the_whole_one(resnet: Path, whole: SimpleNamespace, tmp_path: Path, at: int) -> None:
    scores = SCORES
    assert whole.rates == {1: 1e-2, 2: 1e-2, 3: 1e-4, 4: 1e-4, 5: 1e-4, 6: pytest.approx(1e-5)}
    first = toy_run(resnet, scores=scores, patience=2)
    first.trainer.run([0], max_epochs=at)
    parts = {name: getattr(first, name).state_dict() for name in ("network", "optimizer", "schedule")}
    publish_state(tmp_path / "checkpoint.pt", parts)
    second = toy_run(resnet, scores=scores, patience=2)
    for name, state in load_state(tmp_path / "checkpoint.pt").items():
        getattr(second, name).load_state_dict(state)
    second.trainer.load_state_dict({"epoch": at, "epoch_length": 1, "max_epochs": 6})
    second.trainer.run([0])
    assert first.rates | second.rates == whole.rates
    assert not changed(whole.states[6], second.states[6])


def rates_of(scores: list[float], *, mode: str = "max", patience: int = 3) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    evaluator, trainer, rates = Engine(lambda e, b: None), Engine(lambda e, b: None), []

    def score(engine: Engine) -> None:
        rates.append(optimizer.param_groups[0]["lr"])
        evaluator.state.metrics = {"m": scores[engine.state.epoch - 1]}
        evaluator.state.epoch = engine.state.epoch

    trainer.add_event_handler(Events.EPOCH_COMPLETED, score)
    PlateauSchedule(optimizer, evaluator, "m", factor=0.5, patience=patience, mode=mode).attach(trainer)
    trainer.run([0], max_epochs=len(scores))
    return rates


def test_the_rate_falls_after_as_many_epochs_without_a_gain_as_patience_says() -> None:
    assert rates_of([0.5, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4]) == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25]
    assert rates_of([0.5, 0.4, 0.4, 0.6, 0.5, 0.5, 0.6, 0.1]) == [1, 1, 1, 1, 1, 1, 1, 0.5]
    assert rates_of([0.5, 0.6, 0.6, 0.6, 0.6], mode="min") == [1, 1, 1, 1, 0.5]
    assert rates_of([0.5, 0.50005, 0.50009, 0.5, 0.5]) == [1, 1, 1, 1, 0.5]


def test_the_count_starts_anew_when_all_layers_begin_to_train(resnet: Path) -> None:
    scores = [0.9, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]
    run = toy_run(resnet, frozen_epochs=3, scores=scores, patience=3)
    run.trainer.run([0], max_epochs=7)
    assert [run.rates[e] for e in range(1, 8)] == [1e-2] * 3 + [1e-4] * 4
    assert run.optimizer.param_groups[0]["lr"] == pytest.approx(1e-5)


@pytest.mark.parametrize("bad", [{"frozen_epochs": -1}, {"frozen_epochs": 1, "new_lr": 0.0}])
def test_an_impossible_fine_tuning_is_refused(bad: dict[str, float]) -> None:
    network = nn.Linear(1, 1)
    with pytest.raises(IslesError, match="E-TRAIN-20.*\n.*\n.*frozen_epochs"):
        FineTuning(network, torch.optim.SGD(network.parameters(), lr=1.0), **bad)


@pytest.mark.parametrize(("bad", "code"), [
    ({"factor": 1.0}, "E-TRAIN-21"), ({"patience": 0}, "E-TRAIN-21"), ({"mode": "best"}, "E-TRAIN-05"),
])  # fmt: skip
def test_an_impossible_schedule_is_refused(bad: dict[str, object], code: str) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    with pytest.raises(IslesError, match=code):
        PlateauSchedule(optimizer, Engine(lambda e, b: None), "m", **bad)


def test_the_settings_are_printed_for_the_runs_record(resnet: Path) -> None:
    run = toy_run(resnet)
    assert repr(run.tuning) == "FineTuning(frozen_epochs=2, new_lr=0.01, all_lr=0.0001)"
    assert repr(run.schedule) == "PlateauSchedule(val_dsc, factor=0.1, patience=20, mode=max, min_delta=0.0001)"


def test_a_schedule_with_another_patience_keeps_it_and_takes_over_the_count() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    first, second = (PlateauSchedule(optimizer, None, "m", patience=patience) for patience in (20, 3))
    for score in (0.5, 0.4):  # the second is no gain
        first._inner.step(score)
    second.load_state_dict(first.state_dict())
    second._inner.step(0.4)
    assert optimizer.param_groups[0]["lr"] == 1.0
    second._inner.step(0.4)  # the third in a row
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1)
