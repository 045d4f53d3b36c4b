"""bfloat16 is asked for, and what comes back is single precision."""

from __future__ import annotations

import torch
from monai.inferers import SimpleInferer

from monai_isles.networks import AsymmetricResUNet, PseudoDWINet
from monai_isles.training import AutocastInferer


def test_without_it_the_bits_are_those_of_a_plain_call() -> None:
    torch.manual_seed(0)
    network, image = AsymmetricResUNet(2, 2, base_channels=4).eval(), torch.randn(2, 2, 32, 32)
    assert torch.equal(AutocastInferer()(image, network), SimpleInferer()(image, network))


def test_with_it_the_answer_is_near_and_in_single_precision_and_gradients_come() -> None:
    torch.manual_seed(0)
    network, image = AsymmetricResUNet(2, 2, base_channels=4).eval(), torch.randn(2, 2, 32, 32)
    half, single = AutocastInferer(bf16=True)(image, network), network(image)
    assert half.dtype == torch.float32 and not torch.equal(half, single)
    assert (half - single).abs().mean() < 0.05 * single.abs().mean()
    half.sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in network.parameters())


def test_every_field_of_several_outputs_comes_back_in_single_precision() -> None:
    network = PseudoDWINet(base_channels=2, return_aux=True)
    output = AutocastInferer(bf16=True)(torch.randn(1, 11, 32, 32), network)
    assert all(part is None or part.dtype == torch.float32 for part in output)
