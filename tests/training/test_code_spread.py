"""The spread of the context encoder's code is a column of the curve, and its collapse is said once."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Engine
from torch import nn

from monai_isles.training import CodeSpread, Curves


class Scaled(nn.Module):
    """Describe an image by its mean and by 3, both times ``scale``."""

    scale = 1.0

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        mean = image.flatten(1).mean(1)
        return self.scale * torch.stack([mean, torch.full_like(mean, 3.0)], 1)


def validated(watch: CodeSpread) -> Engine:
    """Two batches whose DWI are 1, 5 and 3: deviation sqrt(8 / 3) for the mean, 0 for the constant."""
    batches = [torch.tensor([1.0, 5.0]), torch.tensor([3.0])]
    labels = [torch.stack([0 * b, b, 0 * b], 1)[..., None, None].expand(-1, -1, 4, 4) for b in batches]
    engine = Engine(lambda engine, label: {"label": label})
    watch.attach(engine)
    engine.run(labels, max_epochs=1)
    return engine


def test_the_spread_by_hand_is_a_column_of_the_curve(tmp_path: Path) -> None:
    engine = validated(CodeSpread(Scaled()))
    assert engine.state.metrics["code_spread"] == pytest.approx((8 / 3) ** 0.5 / 2)
    curves = Curves(str(tmp_path / "curves.csv"), [engine])
    curves._finish(SimpleNamespace(state=SimpleNamespace(epoch=1)))
    assert "code_spread" in (tmp_path / "curves.csv").read_text().splitlines()[0].split(",")


def test_a_fall_below_a_tenth_is_said_once_also_after_a_resume(caplog: pytest.LogCaptureFixture) -> None:
    encoder = Scaled()
    watch = CodeSpread(encoder)
    with caplog.at_level(logging.WARNING):
        encoder.scale = 0.11  # what the first epoch made of the drawn scale of 1
        validated(watch)
        assert not caplog.messages
        resumed = CodeSpread(encoder)
        resumed.load_state_dict(watch.state_dict())
        for encoder.scale in (0.09, 0.001):
            validated(resumed)
    assert len(caplog.messages) == 1 and "encoder_training" in caplog.text


def test_an_encoder_that_the_first_epoch_has_ruined_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    encoder = Scaled()
    watch = CodeSpread(encoder)
    encoder.scale = 0.0
    with caplog.at_level(logging.WARNING):
        assert validated(watch).state.metrics["code_spread"] == 0 and watch.first == pytest.approx((8 / 3) ** 0.5 / 2)
    assert "spread 0" in caplog.text


def test_without_an_encoder_there_is_no_column() -> None:
    assert "code_spread" not in validated(CodeSpread(None)).state.metrics
