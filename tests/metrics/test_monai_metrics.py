"""The MONAI metrics: the plain functions, case by case, nothing dropped."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine
from monai.handlers import IgniteMetricHandler

from monai_isles.errors import IslesError
from monai_isles.metrics import LesionDice, dsc


def _masks() -> tuple[torch.Tensor, torch.Tensor]:
    pred, ref = torch.zeros(3, 1, 4, 4, 2), torch.zeros(3, 1, 4, 4, 2)
    pred[0, 0, 0, 0:2], ref[0, 0, 0, 1:3] = 1, 1  # Dice 0.5
    pred[1] = 1  # all positive, no lesion: Dice 0
    return pred, ref  # third case: both empty, Dice 1


def test_a_false_alarm_on_a_case_without_lesion_is_scored_zero_not_dropped() -> None:
    metric = LesionDice()
    assert metric(*_masks()).flatten().tolist() == [0.5, 0.0, 1.0]
    assert float(metric.aggregate()) == pytest.approx(0.5)


def test_batches_of_different_size_weigh_cases_alike() -> None:
    pred, ref = _masks()
    metric = LesionDice()
    metric(pred[:1], ref[:1])
    metric(pred[1:], ref[1:])
    assert float(metric.aggregate()) == pytest.approx(0.5)
    metric.reset()
    metric(pred[2:], ref[2:])
    assert float(metric.aggregate()) == 1.0


def test_the_handler_of_monai_takes_it() -> None:
    pred, ref = _masks()
    engine = Engine(lambda _, batch: batch)
    IgniteMetricHandler(metric_fn=LesionDice(), output_transform=lambda out: out).attach(engine, "val_dsc")
    state = engine.run([(list(pred[:2]), list(ref[:2])), (list(pred[2:]), list(ref[2:]))])
    assert state.metrics["val_dsc"] == pytest.approx(sum(dsc(p, r) for p, r in zip(pred, ref, strict=True)) / 3)


@pytest.mark.parametrize("channels", [2, 3])
def test_more_than_one_channel_is_refused(channels: int) -> None:
    with pytest.raises(
        IslesError, match=rf"(?s)E-MET-08: one lesion channel is expected.*\(1, {channels}, 4, 4, 2\).*binarise"
    ):
        LesionDice()(torch.zeros(1, channels, 4, 4, 2), torch.zeros(1, channels, 4, 4, 2))


def test_a_soft_prediction_is_refused() -> None:
    with pytest.raises(IslesError, match="E-MET-02: mask is not binary"):
        LesionDice()(torch.full((1, 1, 4, 4, 2), 0.4), torch.zeros(1, 1, 4, 4, 2))


def test_a_mean_of_nothing_is_refused() -> None:
    with pytest.raises(IslesError, match=r"(?s)E-MET-09: nothing was scored.*LesionDice.*at least one batch"):
        LesionDice().aggregate()
