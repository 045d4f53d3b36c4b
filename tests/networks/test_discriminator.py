"""The discriminator judges patches at three scales."""

from __future__ import annotations

import pytest
import torch

from monai_isles.errors import IslesError
from monai_isles.networks import MultiScaleDiscriminator


def test_each_scale_scores_patches_an_eighth_of_its_size() -> None:
    scores = MultiScaleDiscriminator(base_channels=2)(torch.randn(2, 1, 256, 256))
    assert [s.shape[:2] for s in scores] == [(2, 1)] * 3
    for score, side in zip(scores, (256, 128, 64), strict=True):
        assert abs(score.shape[-1] - side / 8) <= 3


def test_the_network_is_that_of_the_cited_paper() -> None:
    with torch.device("meta"):
        judge = MultiScaleDiscriminator(1, scales=1)
    # 4x4 convolutions 1-64-128-256-512-1 with biases, counted by hand
    assert sum(p.numel() for p in judge.parameters()) == 1_088 + 131_200 + 524_544 + 2_097_664 + 8_193


def test_a_score_sees_a_patch_of_seventy_pixels() -> None:
    judge = MultiScaleDiscriminator(base_channels=2, scales=1).eval()
    for index, layer in enumerate(judge.judges[0]):
        if isinstance(layer, torch.nn.InstanceNorm2d):  # its statistics see the whole image
            judge.judges[0][index] = torch.nn.Identity()
    image = torch.randn(1, 1, 160, 160, requires_grad=True)
    score = judge(image)[0]
    score[0, 0, score.shape[2] // 2, score.shape[3] // 2].backward()
    rows = image.grad[0, 0].abs().sum(dim=1).nonzero().flatten()
    assert int(rows[-1] - rows[0]) + 1 == 70


def test_gradients_reach_all_scales_and_the_image() -> None:
    judge, image = MultiScaleDiscriminator(base_channels=2), torch.randn(1, 1, 40, 33, requires_grad=True)
    sum(((score - 1) ** 2).mean() for score in judge(image)).backward()
    assert image.grad.any() and all(p.grad is not None for p in judge.parameters())


def test_an_impossible_discriminator_is_refused() -> None:
    with pytest.raises(
        IslesError, match="E-NET-45: sizes of the discriminator are not valid\n.*MultiScaleDiscriminator"
    ):
        MultiScaleDiscriminator(scales=0)
