"""Dropout masks: the right share, the same for the same window, others for every pass, place and seed."""

from __future__ import annotations

import numpy as np
import torch

from monai_isles.inference.windows import prediction_dropout
from monai_isles.inference.windows_plan import WindowMasks, site_sizes
from monai_isles.networks import AsymmetricResUNet
from monai_isles.networks.blocks import PredictionDropout

SIZES = [(16, 8, 8), (5, 3, 2)]


def masks_at(masks: WindowMasks, starts: list[list[int]], turn: int) -> list[torch.Tensor]:
    sites = [PredictionDropout() for _ in SIZES]
    masks.lay(masks.draw(np.array(starts)), turn, sites)
    return [site.mask for site in sites]


def test_elements_are_zero_at_the_rate_and_scaled_up_otherwise() -> None:
    masks = WindowMasks([(64, 32, 32)], passes=1, rate=0.1, seed=3)
    site = PredictionDropout()
    masks.lay(masks.draw(np.array([[0, 0, 0], [3, 0, 0]])), 0, [site])
    share = float((site.mask == 0).float().mean())
    assert abs(share - 0.1) < 4 * (0.1 * 0.9 / site.mask.numel()) ** 0.5  # four deviations
    torch.testing.assert_close(site.mask[site.mask > 0].unique(), torch.tensor([1 / 0.9]))
    assert abs(float(site.mask.mean()) - 1) < 0.01


def test_neighbouring_elements_channels_and_passes_drop_independently() -> None:
    masks = WindowMasks([(64, 32, 32)], passes=2, rate=0.5, seed=3)
    bits = masks.draw(np.array([[0, 0, 0], [3, 0, 0]]))
    site, drawn = PredictionDropout(), []
    for turn in range(2):
        masks.lay(bits, turn, [site])
        drawn.append(site.mask - 1)
    pairs = [(drawn[0], drawn[1]), (drawn[0][:1], drawn[0][1:])]
    pairs += [(drawn[0].narrow(a, 1, 31), drawn[0].narrow(a, 0, 31)) for a in (1, 2, 3)]
    for a, b in pairs:
        assert abs(float((a * b).mean())) < 5 / a.numel() ** 0.5


def test_a_window_keeps_its_masks_whatever_comes_with_it() -> None:
    masks = WindowMasks(SIZES, passes=3, rate=0.4, seed=0)
    alone, among = masks_at(masks, [[3, 6, 1]], 1), masks_at(masks, [[0, 0, 0], [3, 6, 1], [9, 9, 9]], 1)
    assert all(torch.equal(a[0], b[1]) for a, b in zip(alone, among, strict=True))
    for other in (masks_at(masks, [[6, 3, 1]], 1), masks_at(masks, [[3, 6, 1]], 2)):
        assert not torch.equal(alone[0], other[0])
    assert not torch.equal(alone[0], masks_at(WindowMasks(SIZES, 3, 0.4, seed=1), [[3, 6, 1]], 1)[0])


def test_the_sites_of_a_network_are_measured_on_one_window() -> None:
    network = AsymmetricResUNet(2, 3).eval()
    with torch.no_grad():
        sizes = site_sizes(network, torch.zeros(1, 3, 64, 64))
    assert sizes == [(32, 16, 16), (64, 8, 8), (128, 4, 4), (64, 8, 8), (32, 16, 16)]
    with prediction_dropout(network, 0.2) as sites:
        assert len(sites) == 5
