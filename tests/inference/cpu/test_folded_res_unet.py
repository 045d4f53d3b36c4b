"""The folded network gives the trained one's numbers, with and without prediction dropout."""

from __future__ import annotations

import pytest
import torch

from monai_isles.errors import IslesError
from monai_isles.inference.cpu.folded_res_unet import FoldedResUNet
from monai_isles.inference.windows import prediction_dropout
from monai_isles.networks import AsymmetricResUNet
from monai_isles.networks.blocks import PredictionDropout


def trained(dims: int, base: int, levels: int) -> AsymmetricResUNet:
    """Return a network whose norms and slopes are not those it starts with, some of them negative."""
    torch.manual_seed(base)
    network = AsymmetricResUNet(dims, 3, base_channels=base, levels=levels)
    with torch.no_grad():
        for name, value in [*network.named_parameters(), *network.named_buffers()]:
            if "running_var" in name:
                value.uniform_(0.3, 3.0)
            elif "running_mean" in name or (value.dim() == 1 and "path" in name):
                value.normal_(0.1, 0.5)
    return network.eval()


@pytest.mark.parametrize(
    ("dims", "base", "levels", "size"),
    [(2, 8, 5, (32, 48)), (2, 3, 2, (8, 6)), (3, 4, 4, (16, 8, 8)), (3, 32, 2, (4, 6, 8))],
)
def test_it_equals_the_network_it_was_made_from(dims: int, base: int, levels: int, size: tuple[int, ...]) -> None:
    network, x = trained(dims, base, levels), torch.randn(2, 3, *size)
    with torch.no_grad():
        plain, before = network(x), {k: v.clone() for k, v in network.state_dict().items()}
        folded = FoldedResUNet(network)(x)
    torch.testing.assert_close(folded, plain, atol=1e-5 * float(plain.abs().max()), rtol=1e-5)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_with_the_same_masks_it_drops_the_same() -> None:
    network, x = trained(2, 8, 5), torch.randn(2, 3, 32, 32)
    folded, sizes = FoldedResUNet(network), [(2, 32, 8, 8), (2, 64, 4, 4), (2, 128, 2, 2), (2, 64, 4, 4), (2, 32, 8, 8)]
    masks = [(torch.rand(size) > 0.3) / 0.7 for size in sizes]
    results = []
    for one in (network, folded):
        with prediction_dropout(one, 0.3) as sites, torch.no_grad():
            for site, mask in zip(sites, masks, strict=True):
                site.mask = mask
            results.append(one(x))
    with torch.no_grad():
        assert float((results[0] - network(x)).abs().max()) > 1e-2
    torch.testing.assert_close(results[1], results[0], atol=1e-5 * float(results[0].abs().max()), rtol=1e-5)
    assert all(s.mask is None and not s.active for s in folded.modules() if isinstance(s, PredictionDropout))


def test_sixteen_bits_stay_near() -> None:
    network, x = trained(2, 8, 5), torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        plain, half = network(x), FoldedResUNet(network, torch.bfloat16)(x)
    assert half.dtype == torch.float32
    assert 0 < float((plain - half.float()).abs().max()) < 0.05 * float(plain.abs().max())


def test_an_input_that_cannot_be_halved_is_refused_as_by_the_original() -> None:
    with pytest.raises(IslesError, match="E-NET-02"):
        FoldedResUNet(trained(2, 8, 5))(torch.zeros(1, 3, 24, 32))
