"""The residual U-Net comes as near to Table 3 as its reading says."""

from __future__ import annotations

import pytest
import torch

from monai_isles.networks import WangResUNet
from monai_isles.networks.unets import ResidualUnit


def test_the_best_reading_is_a_quarter_million_below_table_3() -> None:
    with torch.device("meta"):
        network = WangResUNet(4)
    count = sum(p.numel() for p in network.parameters()) / 1e6
    assert count == pytest.approx(81.67, abs=0.01)
    assert 81.91 - count == pytest.approx(0.24, abs=0.01)


def test_a_unit_with_a_silent_path_passes_positive_input_through() -> None:
    unit, x = ResidualUnit(2).eval(), torch.rand(1, 2, 5, 5)
    torch.nn.init.zeros_(unit.path[-1].weight)
    torch.testing.assert_close(unit(x), x)


@pytest.mark.parametrize("size", [(240, 200), (33, 17), (1, 1)])
def test_any_slice_alone_in_its_batch_gives_logits_of_its_size(size: tuple[int, int]) -> None:
    logits = WangResUNet(4, base_channels=2)(torch.randn(1, 4, *size))
    assert logits.shape == (1, 2, *size) and logits.isfinite().all()


def test_the_network_survives_torchscript() -> None:
    network, x = WangResUNet(2, base_channels=2).eval(), torch.randn(2, 2, 30, 40)
    torch.testing.assert_close(torch.jit.script(network)(x), network(x))
