"""The loss of the CT paper follows Sudre's formula and the plain cross-entropy."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from monai_isles.losses import GeneralizedDiceCELoss, HardnessAwareGDLoss


def dice_of(lesion: Tensor, label: Tensor) -> float:
    """Return the Dice part alone, of the probability of lesion (n,)."""
    logits = torch.stack([1 - lesion, lesion]).log()[None]
    return float(HardnessAwareGDLoss(aware=False)(logits, label[None, None]))


def test_four_voxels_by_hand() -> None:
    # one lesion voxel of four, predicted 0.8 there and 0.1 elsewhere; weights 1/9 and 1
    lesion, label = torch.tensor([0.8, 0.1, 0.1, 0.1]), torch.tensor([1.0, 0, 0, 0])
    overlap = 2.7 / 9 + 0.8
    total = (2.9 + 3) / 9 + (1.1 + 1)
    assert dice_of(lesion, label) == pytest.approx(1 - 2 * overlap / total, abs=1e-6)
    overlap, total = 2.7 / 3 + 0.8, 5.9 / 3 + 2.1
    logits = torch.stack([1 - lesion, lesion]).log()[None]
    summed = GeneralizedDiceCELoss(power=1)(logits, label[None, None])
    entropy = F.cross_entropy(logits, label[None].long())
    assert float(summed - entropy) == pytest.approx(1 - 2 * overlap / total, abs=1e-6)


def test_a_total_miss_costs_the_same_at_every_size() -> None:
    expected = 1 - 2 * (64 / 63) / (64 + 127 * 64 / 63**2)
    for side in (16, 64, 256):
        label = torch.zeros(side, side)
        label[: side // 8, : side // 8] = 1
        assert dice_of(torch.zeros(side * side), label.flatten()) == pytest.approx(expected, abs=1e-6)


def test_a_patch_without_lesion_costs_its_share_of_false_positives() -> None:
    assert dice_of(torch.tensor([1.0, 1, 0, 0, 0, 0, 0, 0]), torch.zeros(8)) == pytest.approx(2 / 8)


def test_the_sum_holds_the_unweighted_cross_entropy() -> None:
    logits, label = torch.randn(3, 2, 8, 8), (torch.rand(3, 1, 8, 8) > 0.5).float()
    dice = HardnessAwareGDLoss(aware=False)(logits, label)
    entropy = -torch.cat([1 - label, label], 1).mul(logits.log_softmax(1)).sum(1).mean()
    assert float(GeneralizedDiceCELoss()(logits, label)) == pytest.approx(float(dice + entropy), abs=1e-6)


def test_pooling_takes_the_volumes_of_the_whole_batch() -> None:
    logits, label = torch.randn(2, 2, 4, 4), torch.zeros(2, 1, 4, 4)
    label[0, 0, 0] = 1
    joined = logits.movedim(1, 0).flatten(1)[None, ..., None], label.flatten()[None, None, :, None]
    one = GeneralizedDiceCELoss()(*joined)
    assert float(GeneralizedDiceCELoss(pooled=True)(logits, label)) == pytest.approx(float(one), abs=1e-6)


@pytest.mark.parametrize("lesion_voxels", [0, 1, 64])
def test_gradients_are_finite_whatever_the_label(lesion_voxels: int) -> None:
    logits = torch.randn(1, 2, 8, 8, requires_grad=True)
    label = torch.zeros(1, 1, 64)
    label[..., :lesion_voxels] = 1
    loss = GeneralizedDiceCELoss()(logits, label.reshape(1, 1, 8, 8))
    loss.backward()
    assert (
        math.isfinite(float(loss.detach()))
        and bool(logits.grad.isfinite().all())
        and float(logits.grad.abs().sum()) > 0
    )
