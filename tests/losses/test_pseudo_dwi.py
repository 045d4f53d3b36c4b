"""The total is equation (15), whichever of its parts there are."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from monai_isles.errors import IslesError
from monai_isles.losses import PseudoDWILoss, StrokeSegmentationLoss, SynthesisLoss


class Output(NamedTuple):
    logits: Tensor
    pseudo_dwi: Tensor
    extracted: Tensor | None


class Pooled(nn.Module):
    """Encode an image as its four quarter means times a number that learns."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)


def batch(lesion: bool = True) -> tuple[Output, Tensor]:
    made = torch.Generator().manual_seed(0)
    images = [torch.rand(2, n, 8, 8, generator=made).requires_grad_() for n in (2, 1, 1)]
    mask = torch.zeros(2, 1, 8, 8)
    mask[0, 0, 2:5, 2:5] = float(lesion)
    return Output(*images), torch.cat([mask, torch.rand(2, 1, 8, 8, generator=made), 0.5 + mask], 1)


def parts(output: Output, target: Tensor, encoder: nn.Module) -> tuple[Tensor, Tensor, Tensor]:
    synthesis = SynthesisLoss("w-l2+h1", gamma=1.2, encoder=encoder)
    _, dwi, weight = target.split(1, 1)
    return (
        StrokeSegmentationLoss(("wce", "hgd"))(output.logits, target),
        synthesis(output.pseudo_dwi, dwi, weight),
        synthesis(output.extracted, dwi, weight),
    )


def with_context(encoder: nn.Module, **settings: float) -> PseudoDWILoss:
    return PseudoDWILoss(synthesis=SynthesisLoss(encoder=encoder), **settings)


def test_the_total_is_the_weighted_sum_of_three_losses() -> None:
    output, target = batch()
    encoder = Pooled()
    s, g, e = parts(output, target, encoder)
    assert torch.allclose(with_context(encoder)(output, target), s + g + e)
    assert torch.allclose(with_context(encoder, alpha=0.5, beta=3.0)(output, target), s + 0.5 * g + 3 * e)


def test_without_explicit_supervision_the_extractor_has_no_loss_of_its_own() -> None:
    output, target = batch()
    encoder = Pooled()
    s, g, _ = parts(output, target, encoder)
    assert torch.allclose(with_context(encoder, explicit=False)(output, target), s + g)
    assert torch.allclose(with_context(encoder)(output._replace(extracted=None), target), s + g)


def test_one_part_at_a_time_adds_up_to_the_total() -> None:
    output, target = batch()
    loss = with_context(Pooled(), alpha=0.5, beta=2.0)
    total, single = loss(output, target), []
    for part in ("segmenter", "generator", "extractor"):
        loss.only(part)
        single.append(loss(output, target))
    assert torch.allclose(sum(single), total)


def test_plain_logits_are_judged_by_the_segmentation_loss_alone() -> None:
    output, target = batch()
    loss, expected = PseudoDWILoss(), StrokeSegmentationLoss()(output.logits, target)
    assert torch.equal(loss(output.logits, target), expected)
    assert torch.equal(loss(output.logits, target[:, [0, 2]]), expected)


@pytest.mark.parametrize("lesion", [True, False], ids=["lesion", "no lesion"])
def test_every_output_and_the_encoder_get_a_finite_gradient(lesion: bool) -> None:
    output, target = batch(lesion)
    encoder = Pooled()
    with_context(encoder)(output, target).backward()
    for image in output:
        assert image.grad.isfinite().all() and image.grad.any()
    assert encoder.scale.grad.isfinite() and encoder.scale.grad != 0


def test_a_target_without_dwi_is_refused() -> None:
    output, target = batch()
    with pytest.raises(IslesError, match=r"E-LOSS-35(?s:.*)table5_fo"):
        PseudoDWILoss()(output, target[:, [0, 2]])


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(IslesError, match=r"E-LOSS-36.*no such part"):
        PseudoDWILoss().only("encoder")
