"""Every row of the loss table is the sum of terms worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from monai_isles.errors import IslesError
from monai_isles.losses import HardnessAwareGDLoss, StagesLoss, StrokeSegmentationLoss

LESION = [0.8, 0.1, 0.1, 0.5]
LABEL, WEIGHT = [1.0, 0, 0, 0], [1.5, 0.9, 0.8, 0.6]
COST = [-math.log(0.8), -math.log(0.9), -math.log(0.9), -math.log(0.5)]


def case() -> tuple[torch.Tensor, torch.Tensor]:
    p = torch.tensor(LESION)
    logits = torch.stack([torch.log1p(-p), p.log()])[None, :, None]
    return logits, torch.tensor([LABEL, WEIGHT])[None, :, None]


def agreement() -> float:
    overlap = (0.9 + 0.9 + 0.5) / 9 + 0.8
    return 2 * overlap / ((2.5 + 3) / 9 + 1.5 + 1)


HAND = {
    "ce": sum(COST) / 4,
    "wce": sum(a * c for a, c in zip(WEIGHT, COST, strict=True)) / sum(WEIGHT),
    "dice": 1 - 2 * 0.8 / (sum(p * p for p in LESION) + 1),
    "gd": 1 - agreement(),
    "hgd": -math.log(agreement()),
}


@pytest.mark.parametrize("terms", [("ce",), ("dice",), ("gd",), ("hgd",), ("ce", "hgd"), ("wce", "hgd")], ids="+".join)
def test_each_row_by_hand(terms: tuple[str, ...]) -> None:
    expected = sum(HAND[term] for term in terms)
    assert float(StrokeSegmentationLoss(terms)(*case())) == pytest.approx(expected, abs=1e-6)


def test_the_paper_s_own_row_is_the_default() -> None:
    assert StrokeSegmentationLoss().terms == ("wce", "hgd")


def test_each_image_has_its_own_sum_of_weights() -> None:
    logits, target = case()
    other = target.clone()
    other[:, 1] *= 100
    both = StrokeSegmentationLoss(("wce",))(torch.cat([logits, logits]), torch.cat([target, other]))
    assert float(both) == pytest.approx(HAND["wce"], abs=1e-6)


def test_the_weight_map_is_the_last_channel_and_the_lesion_the_first() -> None:
    logits, target = case()
    with_dwi = torch.cat([target[:, :1], torch.full_like(target[:, :1], 0.3), target[:, 1:]], 1)
    assert torch.equal(StrokeSegmentationLoss()(logits, with_dwi), StrokeSegmentationLoss()(logits, target))


@pytest.mark.parametrize("term", ["ce", "wce", "dice", "gd", "hgd"])
def test_no_lesion_gives_finite_gradients_and_a_right_answer_costs_nothing(term: str) -> None:
    target = torch.stack([torch.zeros(8, 8), torch.full((8, 8), 0.5)])[None]
    logits = torch.zeros(1, 2, 8, 8, requires_grad=True)
    StrokeSegmentationLoss((term,))(logits, target).backward()
    assert logits.grad.isfinite().all() and logits.grad.any()
    right = torch.stack([torch.full((8, 8), 30.0), torch.zeros(8, 8)])[None]
    assert float(StrokeSegmentationLoss((term,))(right, target)) == pytest.approx(0, abs=1e-5)


def test_an_unknown_term_is_refused() -> None:
    with pytest.raises(IslesError, match=r"E-LOSS-30.*\n.*\n.*tversky"):
        StrokeSegmentationLoss(("ce", "tversky"))


def test_weights_that_are_wanted_must_be_there() -> None:
    logits, target = case()
    with pytest.raises(IslesError, match=r"E-LOSS-31.*weight map(?s:.*)LesionWeightd"):
        StrokeSegmentationLoss()(logits, target[:, :1])
    assert StrokeSegmentationLoss(("ce", "hgd"))(logits, target[:, :1]) > 0
    assert float(HardnessAwareGDLoss()(logits, target[:, :1])) == pytest.approx(HAND["hgd"], abs=1e-6)


def test_coarser_stages_count_half_as_much_each() -> None:
    one = StrokeSegmentationLoss(("ce",))
    logits, label = torch.randn(2, 3, 2, 6, 5), (torch.rand(2, 1, 6, 5) > 0.5).float()
    parts = [float(one(logits[:, n], label)) for n in range(3)]
    assert float(StagesLoss(one)(logits, label)) == pytest.approx(parts[0] + parts[1] / 2 + parts[2] / 4, rel=1e-5)
    assert float(StagesLoss(one)(logits[:, 0], label)) == pytest.approx(parts[0], rel=1e-5)
