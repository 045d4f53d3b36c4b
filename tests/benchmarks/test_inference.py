"""The inference benchmark compares the same windows and the same masks, and would notice if they were not."""

from __future__ import annotations

import importlib

import pytest
import torch

from monai_isles.inference.windows_plan import WindowMasks
from monai_isles.networks import AsymmetricResUNet

inference = importlib.import_module("inference")


def network() -> AsymmetricResUNet:
    torch.manual_seed(0)
    return AsymmetricResUNet().eval()


@pytest.mark.parametrize("step", [16, 24])
def test_monai_gives_our_map_when_it_gets_our_masks(step: int) -> None:
    image = torch.randn(10, 200, 200)
    assert inference.difference_to_stock(network(), image, step=step) < 1e-5


def test_other_masks_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "WindowMasks", lambda *given, seed: WindowMasks(*given, seed=seed + 1))
    assert inference.difference_to_stock(network(), torch.randn(10, 200, 200), step=16) > 1e-4


def test_a_tile_holds_the_windows_it_is_counted_with() -> None:
    tile = inference.tile_of(torch.randn(10, 256, 256, 9), 4, 8)
    assert tile.shape == (4, 10, 64 + 3 * 7, 64 + 3 * 7)
    assert inference.stock(network(), tile[:1, :, :67, :67], 3, passes=1).shape == (1, 2, 67, 67)


def test_the_share_of_flipped_voxels_is_of_the_lesion() -> None:
    image, lesion = torch.randn(10, 72, 72), torch.zeros(72, 72, dtype=torch.bool)
    lesion[30:40, 30:40] = True
    share = inference.flipped_share(network(), [(image, lesion)], 16, precision="bf16")
    assert 0 <= share < 0.5
    assert inference.flipped_share(network(), [(image, lesion)], 16) == 0
