"""The hardness-aware loss follows equations (13) and (14), with finite gradients everywhere."""

from __future__ import annotations

import math

import pytest
import torch

from monai_isles.losses import HardnessAwareGDLoss


def logits_of(lesion: list[float]) -> torch.Tensor:
    probability = torch.tensor(lesion, dtype=torch.float64)
    return torch.stack([torch.log1p(-probability), probability.log()])[None, :, None]


def test_four_pixels_by_hand() -> None:
    # one lesion pixel of four, predicted 0.8 there and 0.1 elsewhere; class weights 1/9 and 1
    logits, label = logits_of([0.8, 0.1, 0.1, 0.1]), torch.tensor([[[[1.0, 0, 0, 0]]]])
    agreement = 2 * (2.7 / 9 + 0.8) / (5.9 / 9 + 2.1)
    assert float(HardnessAwareGDLoss()(logits, label)) == pytest.approx(-math.log(agreement), abs=1e-6)
    assert float(HardnessAwareGDLoss(aware=False)(logits, label)) == pytest.approx(1 - agreement, abs=1e-6)


def test_the_mean_is_over_images_and_not_over_their_pixels() -> None:
    logits = torch.cat([logits_of([0.8, 0.1, 0.1, 0.1]), logits_of([0.3, 0.6, 0.2, 0.1])])
    label = torch.tensor([[[[1.0, 0, 0, 0]]], [[[1.0, 1, 0, 0]]]])
    each = [HardnessAwareGDLoss()(logits[i : i + 1], label[i : i + 1]) for i in range(2)]
    assert float(HardnessAwareGDLoss()(logits, label)) == pytest.approx(float(sum(each)) / 2)


def test_hard_images_pull_harder_than_under_the_plain_loss() -> None:
    slopes = {}
    for aware in (True, False):
        for name, lesion in (("hard", [0.05, 0.1, 0.1, 0.1]), ("easy", [0.95, 0.1, 0.1, 0.1])):
            logits = logits_of(lesion).requires_grad_()
            HardnessAwareGDLoss(aware)(logits, torch.tensor([[[[1.0, 0, 0, 0]]]])).backward()
            slopes[aware, name] = float(logits.grad.abs().sum())
    assert slopes[True, "hard"] / slopes[False, "hard"] > 1.5 * slopes[True, "easy"] / slopes[False, "easy"]


@pytest.mark.parametrize("lesion", [0, 1, 30], ids=["empty", "one pixel", "a disc"])
@pytest.mark.parametrize("push", [-200.0, 0.0, 200.0], ids=["all background", "unsure", "all lesion"])
def test_value_and_gradient_are_finite_whatever_is_there(lesion: int, push: float) -> None:
    label = torch.zeros(1, 1, 32, 32)
    label.flatten()[:lesion] = 1
    logits = torch.stack([torch.zeros(32, 32), torch.full((32, 32), push)])[None].requires_grad_()
    loss = HardnessAwareGDLoss()(logits, label)
    loss.backward()
    assert loss.isfinite() and loss >= -1e-6 and logits.grad.isfinite().all()


def test_an_image_without_lesion_costs_its_false_alarms() -> None:
    label = torch.zeros(1, 1, 1, 4)
    few = HardnessAwareGDLoss()(logits_of([0.1, 0.01, 0.01, 0.01]), label)
    many = HardnessAwareGDLoss()(logits_of([0.9, 0.9, 0.01, 0.01]), label)
    assert 0 < few < many
    # Both classes weigh as the background, so the overlap is 2 x 2.18 / (4 + 4).
    assert float(many) == pytest.approx(-math.log(2 * 2.18 / 8), abs=1e-5)
