"""The inferer's channels get their names."""

from __future__ import annotations

import torch

from monai_isles.inference import LesionMapsd


def test_two_channels_give_a_probability_and_three_an_uncertainty_too() -> None:
    pred = torch.rand(3, 4, 4, 2)
    out = LesionMapsd()({"pred": pred})
    assert torch.equal(out["probability"], pred[1:2]) and torch.equal(out["uncertainty"], pred[2:3])
    two = LesionMapsd()({"pred": pred[:2]})
    assert "uncertainty" not in two
    two["lesion"].zero_()
    assert two["probability"].any()
