"""The weighted cross-entropy follows equation (4) of Abulnaga & Rubin 2018, and its other reading is named."""

from __future__ import annotations

import math

import pytest
import torch

from monai_isles.errors import IslesError
from monai_isles.losses import SoftmaxFocalLoss, WeightedCELoss

P = torch.tensor([0.8, 0.1, 0.3, 0.5], dtype=torch.float64)
LOGITS = torch.stack([(1 - P).log(), P.log()])[None]
LABEL = torch.tensor([[[1.0, 1.0, 0.0, 0.0]]])
LESION, BACKGROUND = -math.log(0.8) - math.log(0.1), -math.log(0.7) - math.log(0.5)


@pytest.mark.parametrize(("reading", "on_lesion"), [("paper", 0.03), ("inverse", 0.97)])
def test_both_readings_by_hand(reading: str, on_lesion: float) -> None:
    by_hand = (on_lesion * LESION + (1 - on_lesion) * BACKGROUND) / 4
    assert float(WeightedCELoss(0.03, reading)(LOGITS, LABEL)) == pytest.approx(by_hand, abs=1e-12)


def test_read_literally_it_favours_the_background() -> None:
    missed = WeightedCELoss(0.03)(LOGITS[..., 1:2], LABEL[..., 1:2])
    alarm = WeightedCELoss(0.03)(LOGITS[..., 1:2].flip(1), 1 - LABEL[..., 1:2])
    assert float(alarm / missed) == pytest.approx(0.97 / 0.03)


@pytest.mark.parametrize("shape", [(2, 2, 6, 4), (2, 2, 6, 4, 3)], ids=["2D", "3D"])
def test_a_share_of_one_half_is_half_the_cross_entropy(shape: tuple[int, ...]) -> None:
    logits, label = torch.randn(shape, dtype=torch.float64), torch.randint(0, 2, (shape[0], 1, *shape[2:])).double()
    for reading in ("paper", "inverse"):
        halved = float(WeightedCELoss(0.5, reading)(logits, label))
        assert halved == pytest.approx(0.5 * float(SoftmaxFocalLoss(0)(logits, label)), abs=1e-12)


@pytest.mark.parametrize(("share", "reading"), [(-0.1, "paper"), (3.0, "paper"), (0.1, "inverted")])
def test_settings_without_sense_are_refused(share: float, reading: str) -> None:
    with pytest.raises(IslesError, match="E-LOSS-22: a setting of the weighted cross-entropy is not valid"):
        WeightedCELoss(share, reading)


def test_its_settings_stand_in_its_repr() -> None:
    assert repr(WeightedCELoss(0.03)) == "WeightedCELoss(lesion_share=0.03, reading='paper')"
