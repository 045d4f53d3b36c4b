"""Best means least for a loss and greatest for a Dice score."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from monai_isles.errors import IslesError
from monai_isles.training import EarlyStop


def epochs_until_the_stop(scores: list[float], mode: str) -> int:
    stopped: list[bool] = []
    evaluator = SimpleNamespace(state=SimpleNamespace(metrics={}, epoch=0))
    trainer = SimpleNamespace(state=evaluator.state, terminate=lambda: stopped.append(True))
    stop = EarlyStop(evaluator, "m", patience=2, min_delta=0.01, mode=mode)
    for epoch, score in enumerate(scores, start=1):
        evaluator.state.metrics["m"] = score
        stop(trainer)
        if stopped:
            return epoch
    return 0


def test_a_rising_dice_goes_on_and_a_rising_loss_stops() -> None:
    assert epochs_until_the_stop([0.1, 0.2, 0.3, 0.4], "max") == 0
    assert epochs_until_the_stop([0.1, 0.2, 0.3, 0.4], "min") == 3
    assert epochs_until_the_stop([0.4, 0.395, 0.405, 0.6], "max") == 3


def test_another_mode_is_refused() -> None:
    with pytest.raises(IslesError, match=r"(?s)E-TRAIN-05.*'best'"):
        EarlyStop(SimpleNamespace(), "m", mode="best")
