"""Squeeze and excitation weighs channels by what all channels show on average."""

from __future__ import annotations

import numpy as np
import torch

from monai_isles.networks import SqueezeExcitation


def test_channels_are_weighed_as_written_in_the_paper() -> None:
    torch.manual_seed(0)
    block, x = SqueezeExcitation(6), torch.randn(2, 6, 5, 4)
    first, first_bias, second, second_bias = (p.detach().numpy().squeeze() for p in block.parameters())
    squeezed = x.numpy().mean(axis=(2, 3))
    hidden = np.maximum(squeezed @ first.T + first_bias, 0)
    gate = 1 / (1 + np.exp(-(hidden @ second.T + second_bias)))
    np.testing.assert_allclose(block(x).detach().numpy(), x.numpy() * gate[:, :, None, None], rtol=1e-4, atol=1e-6)


def test_five_levels_cost_what_separates_slnet_from_the_unet() -> None:
    count = sum(p.numel() for w in (64, 128, 256, 512, 1024) for p in SqueezeExcitation(w).parameters())
    assert count == 2_797_440  # Table 3: 33.84 - 31.04 M
