"""The context encoder describes an image of any size by 16 numbers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from monai_isles.errors import IslesError
from monai_isles.networks import ContextEncoder


def test_it_has_the_papers_five_convolutions_and_two_poolings() -> None:
    layers = list(ContextEncoder().layers)
    convolutions = [m for m in layers if isinstance(m, nn.Conv2d)]
    assert [(c.kernel_size, c.stride) for c in convolutions] == [((3, 3), (2, 2))] * 5
    assert sum(isinstance(m, nn.AdaptiveAvgPool2d) for m in layers) == 2


@pytest.mark.parametrize("size", [(256, 256), (240, 200), (31, 17), (8, 8)])
def test_any_image_becomes_a_vector_of_16(size: tuple[int, int]) -> None:
    vector = ContextEncoder()(torch.randn(2, 1, *size))
    assert vector.shape == (2, 16) and vector.isfinite().all()


def test_images_are_described_one_by_one_and_told_apart() -> None:
    torch.manual_seed(0)
    encoder, images = ContextEncoder(), torch.randn(3, 1, 64, 64)
    together = encoder(images)
    for image, vector in zip(images, together, strict=True):
        torch.testing.assert_close(encoder(image[None])[0], vector, rtol=1e-4, atol=1e-6)
    assert (together[0] - together[1]).abs().max() > 1e-4


def test_gradients_reach_image_and_weights() -> None:
    encoder, image = ContextEncoder(), torch.randn(1, 1, 64, 64, requires_grad=True)
    encoder(image).abs().sum().backward()
    assert image.grad.any() and all(p.grad is not None and p.grad.any() for p in encoder.parameters())


def test_an_impossible_encoder_is_refused() -> None:
    with pytest.raises(IslesError, match="E-NET-44: sizes of the encoder are not valid\n.*ContextEncoder"):
        ContextEncoder(length=0)
