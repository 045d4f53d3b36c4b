"""The focal loss follows equations (3) and (5) of Abulnaga & Rubin 2018."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from monai_isles.errors import IslesError
from monai_isles.losses import SoftmaxFocalLoss


def logits_of(*lesion: float) -> torch.Tensor:
    """Logits ``(1, 2, n)`` whose softmax gives these lesion probabilities."""
    p = torch.tensor(lesion, dtype=torch.float64)
    return torch.stack([(1 - p).log(), p.log()])[None]


@pytest.mark.parametrize("shape", [(4, 2, 9, 7), (2, 2, 6, 5, 3), (3, 4, 8, 8)], ids=["2D", "3D", "four-classes"])
def test_gamma_zero_is_the_cross_entropy(shape: tuple[int, ...]) -> None:
    logits = 5 * torch.randn(shape, dtype=torch.float64)
    label = torch.randint(0, shape[1], (shape[0], 1, *shape[2:]))
    wanted = torch.nn.CrossEntropyLoss()(logits, label[:, 0])
    assert float(SoftmaxFocalLoss(gamma=0)(logits, label.double())) == pytest.approx(float(wanted), abs=1e-7)


def test_gamma_one_by_hand() -> None:
    # a lesion pixel at 0.8, a lesion pixel at 0.1, background pixels at 0.3 and 0.5
    logits, label = logits_of(0.8, 0.1, 0.3, 0.5), torch.tensor([[[1.0, 1.0, 0.0, 0.0]]])
    by_hand = (-0.2 * math.log(0.8) - 0.9 * math.log(0.1) - 0.3 * math.log(0.7) - 0.5 * math.log(0.5)) / 4
    assert float(SoftmaxFocalLoss()(logits, label)) == pytest.approx(by_hand, abs=1e-12)
    assert by_hand == pytest.approx(0.642633, abs=1e-6)


def test_gamma_two_with_the_weights_of_clerigues_by_hand() -> None:
    logits, label = logits_of(0.8, 0.3), torch.tensor([[[1.0, 0.0]]])
    by_hand = (-0.75 * 0.2**2 * math.log(0.8) - 0.25 * 0.3**2 * math.log(0.7)) / 2
    assert float(SoftmaxFocalLoss(2, (0.25, 0.75))(logits, label)) == pytest.approx(by_hand, abs=1e-12)


def test_every_pixel_of_the_batch_counts_once_whatever_the_number_of_axes() -> None:
    flat, label = torch.randn(3, 2, 24, dtype=torch.float64), torch.randint(0, 2, (3, 1, 24))
    wanted = float(SoftmaxFocalLoss()(flat, label))
    for shape in ((4, 6), (2, 3, 4)):
        found = SoftmaxFocalLoss()(flat.reshape(3, 2, *shape), label.reshape(3, 1, *shape))
        assert float(found) == pytest.approx(wanted, abs=1e-12)


def test_a_well_classified_pixel_weighs_less_than_in_the_cross_entropy() -> None:
    easy, hard = logits_of(0.99), logits_of(0.3)
    label = torch.ones(1, 1, 1)
    ratio = [float(SoftmaxFocalLoss(g)(hard, label) / SoftmaxFocalLoss(g)(easy, label)) for g in (0, 1)]
    assert ratio[1] / ratio[0] == pytest.approx(0.7 / 0.01, rel=1e-9)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_gradients_agree_with_differences_and_stay_finite_for_sure_pixels(gamma: float) -> None:
    logits = torch.randn(1, 2, 5, dtype=torch.float64, requires_grad=True)
    label = torch.tensor([[[0.0, 1, 0, 1, 1]]])
    assert torch.autograd.gradcheck(lambda x: SoftmaxFocalLoss(gamma)(x, label), logits)
    sure = torch.tensor([[[200.0, -200.0], [-200.0, 200.0]]], requires_grad=True)
    for answer in ([0.0, 1.0], [1.0, 0.0]):
        loss = SoftmaxFocalLoss(gamma)(sure, torch.tensor([[answer]]))
        (gradient,) = torch.autograd.grad(loss, sure)
        assert math.isfinite(float(loss.detach())) and bool(gradient.isfinite().all())


def test_half_precision_logits_are_computed_in_single() -> None:
    logits, label = torch.randn(2, 2, 4, 4).half(), torch.ones(2, 1, 4, 4)
    loss = SoftmaxFocalLoss(gamma=0)(logits, label)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(F.cross_entropy(logits.float(), label[:, 0].long())), abs=1e-6)


@pytest.mark.parametrize("settings", [{"gamma": -1}, {"gamma": math.nan}, {"alpha": (-0.1, 1.1)}])
def test_settings_without_sense_are_refused(settings: dict) -> None:
    with pytest.raises(IslesError, match="E-LOSS-20: a setting of the focal loss is not valid"):
        SoftmaxFocalLoss(**settings)


def test_weights_for_another_number_of_classes_are_refused() -> None:
    with pytest.raises(IslesError, match=r"E-LOSS-21: one weight for each class is needed(?s:.*)logits of 3 classes"):
        SoftmaxFocalLoss(alpha=(0.25, 0.75))(torch.zeros(1, 3, 4, 4), torch.zeros(1, 1, 4, 4))


def test_its_settings_stand_in_its_repr() -> None:
    assert repr(SoftmaxFocalLoss(2, (0.25, 0.75))) == "SoftmaxFocalLoss(gamma=2.0, alpha=(0.25, 0.75))"
