"""The synthetic images are turned on where there are any."""

from __future__ import annotations

import torch

from monai_isles.networks import PseudoDWINet, SLNet, with_aux
from monai_isles.networks.blocks import PseudoDWIOutput


def test_a_network_that_makes_images_returns_them() -> None:
    network = PseudoDWINet(base_channels=2, high_level=False)
    assert isinstance(network(torch.zeros(1, 5, 16, 16)), torch.Tensor)
    assert with_aux(network) is network
    assert isinstance(network(torch.zeros(1, 5, 16, 16)), PseudoDWIOutput)


def test_another_network_stays_as_it_is() -> None:
    network = with_aux(SLNet(4, base_channels=2))
    assert isinstance(network(torch.zeros(1, 4, 16, 16)), torch.Tensor)
