"""The synthesis losses of Table 1, by hand on two images of four pixels."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from monai_isles.errors import IslesError
from monai_isles.losses import SynthesisLoss
from monai_isles.losses.synthesis import discriminator_ls_loss, verdicts
from monai_isles.networks import MultiScaleDiscriminator

IMAGE = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 0.5, 0.5]]).reshape(2, 1, 2, 2)
TRUTH = torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.5, 1.0]]).reshape(2, 1, 2, 2)
WEIGHT = torch.tensor([[1.0, 1.0, 1.0, 0.5], [0.5, 0.5, 0.5, 1.5]]).reshape(2, 1, 2, 2)


class Moments(nn.Module):
    """Encode an image as its mean, and as three times its last pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(3.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x.flatten(1).mean(1), self.scale * x[:, 0, 1, 1]], 1)


class Judge(nn.Module):
    """Give two maps: the image itself, and its mean."""

    def forward(self, x: torch.Tensor) -> tuple[list[torch.Tensor], list]:
        return [x, x.mean((2, 3), keepdim=True)], []


L2 = (0.01 + 0.04 + 0.09 + 0.16 + 0.25) / 8
W_L2 = (0.01 + 0.04 + 0.09 + 0.04 + 0.5625) / 8
VECTORS = [(0.25, 1.2), (-0.125, -1.5)]  # encoder of image minus encoder of truth
GAN = (((0.81 + 0.64 + 0.49 + 0.36 + 4 * 0.25) / 8) + (0.5625 + 0.25) / 2) / 2
HAND = {
    "l1": (0.1 + 0.2 + 0.3 + 0.4 + 0.5) / 8,
    "l2": L2,
    "w-l2": W_L2,
    "w-l2+h1": W_L2 + 1.2 * (0.25 + 1.2 + 0.125 + 1.5) / 4,
    "w-l2+h2": W_L2 + 1.2 * (0.25**2 + 1.2**2 + 0.125**2 + 1.5**2) / 4,
    "gan": GAN,
    "l2+gan": L2 + GAN,
}


@pytest.mark.parametrize("kind", HAND)
def test_each_row_by_hand(kind: str) -> None:
    loss = SynthesisLoss(kind, encoder=Moments(), discriminator=Judge())
    assert float(loss(IMAGE, TRUTH, WEIGHT).detach()) == pytest.approx(HAND[kind], abs=1e-6)


def test_the_letter_of_the_norms_by_hand() -> None:
    pixels = [math.sqrt(0.01 + 0.04 + 0.09 + 0.04), 0.75]
    loss = SynthesisLoss("w-l2+h1", encoder=Moments(), reading="norm")
    expected = sum(pixels) / 2 + 1.2 * sum(abs(a) + abs(b) for a, b in VECTORS) / 2
    assert float(loss(IMAGE, TRUTH, WEIGHT).detach()) == pytest.approx(expected, abs=1e-6)
    loss = SynthesisLoss("w-l2+h2", encoder=Moments(), reading="norm")
    expected = sum(pixels) / 2 + 1.2 * sum(math.hypot(*v) for v in VECTORS) / 2
    assert float(loss(IMAGE, TRUTH, WEIGHT).detach()) == pytest.approx(expected, abs=1e-6)


def test_the_encoder_is_trained_with_the_image() -> None:
    encoder, image = Moments(), IMAGE.clone().requires_grad_()
    SynthesisLoss(encoder=encoder)(image, TRUTH, WEIGHT).backward()
    assert encoder.scale.grad.abs() > 0 and image.grad.isfinite().all() and image.grad.any()


@pytest.mark.parametrize("reading", ["mean", "norm"])
def test_an_image_that_is_right_costs_nothing_and_has_a_finite_gradient(reading: str) -> None:
    image = TRUTH.clone().requires_grad_()
    loss = SynthesisLoss(encoder=Moments(), reading=reading)(image, TRUTH, WEIGHT)
    loss.backward()
    assert float(loss.detach()) == 0 and image.grad.isfinite().all()


def test_the_discriminator_s_loss_by_hand() -> None:
    real, fake = [torch.tensor([0.8, 1.0]), torch.tensor([0.5])], [torch.tensor([0.2, 0.0]), torch.tensor([0.5])]
    assert float(discriminator_ls_loss(real, fake)) == pytest.approx(0.5 * ((0.02 + 0.25) / 2 + (0.02 + 0.25) / 2))


@pytest.mark.parametrize("setting", [{"kind": "ssim"}, {"reading": "median"}])
def test_an_unknown_kind_is_refused(setting: dict) -> None:
    with pytest.raises(IslesError, match=r"E-LOSS-32.*no such synthesis loss"):
        SynthesisLoss(**setting)


@pytest.mark.parametrize(("kind", "lacks"), [("w-l2+h1", "encoder"), ("gan", "discriminator")])
def test_a_kind_without_its_network_is_refused(kind: str, lacks: str) -> None:
    with pytest.raises(IslesError, match=rf"E-LOSS-33(?s:.*)no {lacks}"):
        SynthesisLoss(kind)


def test_a_weighted_kind_without_weights_is_refused() -> None:
    with pytest.raises(IslesError, match=r"E-LOSS-34(?s:.*)LesionWeightd"):
        SynthesisLoss("w-l2")(IMAGE, TRUTH)
    assert SynthesisLoss("l2", encoder=Moments()).encoder is None


class Channels(nn.Module):
    """Judge an image by what lies before it: the difference of the last channel and the first."""

    in_channels = 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, -1:] - x[:, :1] + 1


def test_a_conditional_discriminator_sees_the_maps_and_the_weight_counts() -> None:
    maps = IMAGE - 0.5  # last minus first plus 1 is 1.5 everywhere: (1.5 - 1)^2
    loss = SynthesisLoss("gan", discriminator=Channels(), gan_weight=3.0)
    assert float(loss(IMAGE, TRUTH, condition=maps)) == pytest.approx(3 * 0.25)
    both = SynthesisLoss("l2+gan", discriminator=Channels(), gan_weight=3.0)
    assert float(both(IMAGE, TRUTH, condition=maps)) == pytest.approx(L2 + 3 * 0.25)


def test_shuffling_patients_raises_the_loss_of_a_conditional_discriminator_alone() -> None:
    """Each image is its own map; after shuffling both are real, but no longer one patient's."""
    torch.manual_seed(0)
    maps = F.interpolate(torch.rand(32, 1, 4, 4), size=(32, 32), mode="bilinear")
    dwi, other = 1 - maps, (1 - maps).roll(1, dims=0)
    scores = {}
    for channels, steps in ((1, 5), (2, 100)):
        torch.manual_seed(0)
        judge = MultiScaleDiscriminator(channels, base_channels=8, scales=1, layers=2)
        optimizer, loss = torch.optim.Adam(judge.parameters(), lr=5e-3), SynthesisLoss("gan", discriminator=judge)
        for _ in range(steps):
            optimizer.zero_grad()
            discriminator_ls_loss(verdicts(judge, dwi, maps), verdicts(judge, other, maps)).backward()
            optimizer.step()
        with torch.no_grad():
            scores[channels] = [float(loss(image, dwi, condition=maps)) for image in (dwi, other)]
    assert scores[1][0] == pytest.approx(scores[1][1], abs=1e-5)
    assert scores[2][1] > 3 * scores[2][0]


@pytest.mark.parametrize("training", ["fixed", "true_dwi", "segmentation"])
def test_an_encoder_that_the_term_does_not_move_gives_the_same_value(training: str) -> None:
    encoder = Moments()
    loss = SynthesisLoss("w-l2+h1", encoder=encoder, encoder_training=training)
    image = IMAGE.clone().requires_grad_()
    value = loss(image, TRUTH, WEIGHT, lesion=(TRUTH > 0.6).float())
    assert float(value.detach()) == pytest.approx(HAND["w-l2+h1"], abs=1e-6)
    value.backward()
    assert image.grad.any()
    if training == "fixed":
        assert encoder.scale.grad is None


def test_the_encoder_learns_to_describe_the_truth_by_hand() -> None:
    """Two numbers a code, so two fields: the means of the upper and the lower row."""
    codes = [(0.0, 0.0), (0.625, 3.0)]
    for training, rows in (("true_dwi", [(0.0, 0.0), (0.5, 0.75)]), ("segmentation", [(0.0, 0.0), (0.0, 0.5)])):
        encoder = Moments()
        loss = SynthesisLoss("w-l2+h1", gamma=0.0, encoder=encoder, encoder_training=training)
        loss(IMAGE, TRUTH, WEIGHT, lesion=(TRUTH > 0.6).float()).backward()
        slope = 2 * (codes[1][1] - rows[1][1]) * 1.0 / 4  # of the mean of four squares, by the scale of the last pixel
        assert float(encoder.scale.grad) == pytest.approx(slope)


def test_another_training_of_the_encoder_is_refused() -> None:
    with pytest.raises(IslesError, match=r"E-LOSS-37(?s:.*)alone(?s:.*)joint, fixed, true_dwi, segmentation"):
        SynthesisLoss("w-l2+h1", encoder=Moments(), encoder_training="alone")
