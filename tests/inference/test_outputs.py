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


def test_named_maps_lie_between_the_classes_and_the_uncertainty() -> None:
    channels = torch.arange(4.0).reshape(4, 1, 1, 1).expand(4, 2, 2, 1)
    maps = LesionMapsd(extras=("pseudo_dwi",))({"pred": channels})
    assert [float(maps[key].mean()) for key in ("probability", "pseudo_dwi", "uncertainty")] == [1, 2, 3]
    assert "uncertainty" not in LesionMapsd(extras=("pseudo_dwi",))({"pred": channels[:3]})
