"""DWI goes to 0..1 by its minimum and 99th percentile; maps by what healthy tissue has."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_isles.errors import IslesError
from monai_isles.transforms import HealthyScaled, ScaleDWId


def test_minimum_and_99th_percentile_become_zero_and_one() -> None:
    image = torch.arange(100.0, 301.0).reshape(1, 201, 1, 1)  # 99th percentile 298
    out = ScaleDWId("dwi")({"dwi": image})["dwi"]
    assert out.min() == 0 and out.max() == 1 and float(out[0, 99, 0, 0]) == pytest.approx(99 / 198)
    assert (out == 1).sum() == 3


def test_numpy_agrees_on_noise() -> None:
    image = np.random.default_rng(0).gamma(2, 50, (1, 40, 30, 3)).astype(np.float32)
    low, high = image.min(), np.percentile(image, 99)
    out = ScaleDWId("dwi")({"dwi": torch.from_numpy(image)})["dwi"]
    assert np.allclose(out, np.minimum((image - low) / (high - low), 1), atol=1e-5)


def test_a_large_volume_is_scaled_too() -> None:
    image = torch.rand(1, 512, 512, 70)
    out = ScaleDWId("dwi")({"dwi": image})["dwi"]
    assert float((out == 1).float().mean()) == pytest.approx(0.01, abs=1e-3)


def test_an_image_without_contrast_is_refused() -> None:
    with pytest.raises(IslesError, match=r"E-TPW-05.*no contrast.*\n.*case_4: dwi"):
        ScaleDWId("dwi")({"dwi": torch.ones(1, 8, 8, 2), "case": "case_4"})


def test_maps_are_relative_to_healthy_tissue_by_hand() -> None:
    ramp = torch.arange(1.0, 12.0)  # eleven voxels of brain: quantile 0.7 is the eighth, quantile 0.3 the fourth
    image = torch.cat([torch.zeros(1), ramp]).reshape(1, 12, 1, 1)
    apart = np.diag([100.0, 100.0, 100.0, 1.0])  # mm: too far for the smoothing to mix them
    case = {key: MetaTensor(image, affine=apart) for key in ("cbf", "cbv", "mtt", "tmax")}
    case["ct"] = torch.full((1, 12, 1, 1), 55.0)
    out = HealthyScaled()(case)
    flat = {key: out[key].flatten() for key in (*case, "brain", "head")}
    assert flat["cbf"][1:].tolist() == pytest.approx([(v - 8) / 8 for v in range(1, 12)])
    assert flat["mtt"][1:].tolist() == pytest.approx([min((v - 4) / 4, 5) for v in range(1, 12)])
    assert flat["tmax"][1:].tolist() == pytest.approx([(v - 4) / 6 for v in range(1, 12)])
    assert flat["ct"].tolist() == [0.0] + [2.0] * 11 and flat["head"].tolist() == [55.0] * 12
    assert all(float(flat[key][0]) == 0 for key in ("cbf", "cbv", "mtt", "tmax", "brain"))


def test_each_set_of_maps_has_its_own_scale_and_the_first_masks_the_ct() -> None:
    rng = torch.Generator().manual_seed(0)
    case = {key: torch.rand(1, 8, 8, 2, generator=rng) + 0.1 for key in ("cbf", "cbv", "mtt", "tmax")}
    case |= {f"{key}_own": 3 * value for key, value in case.items() if key != "tmax"} | {"tmax_own": case["tmax"]}
    for key in ("cbf_own", "cbv_own", "mtt_own", "tmax_own"):
        case[key][:, 0] = 0  # the second set knows a smaller brain
    case["ct"] = torch.full((1, 8, 8, 2), 55.0)
    out = HealthyScaled(suffixes=("", "_own"))(case)
    own = HealthyScaled()({key.removesuffix("_own"): value for key, value in case.items() if "_own" in key})
    assert torch.equal(out["cbf_own"], own["cbf"]) and torch.equal(out["cbf"], HealthyScaled()(case)["cbf"])
    assert (out["ct"] == 2).all() and out["brain"].all()
    lone = HealthyScaled(suffixes=("", "_own"))({key: case[key] for key in case if "_own" in key or key == "ct"})
    assert not lone["ct"][:, 0].any() and not lone["brain"][:, 0].any() and (lone["ct"][:, 1:] == 2).all()


def test_noise_does_not_move_the_scale() -> None:
    rng = np.random.default_rng(0)
    grain = rng.gamma(0.5, 2.0, (1, 64, 64, 1))  # of mean 1; its 30th percentile is 0.15
    noisy = {key: torch.from_numpy(6.0 * grain).float() for key in ("cbf", "cbv", "mtt", "tmax")}
    out = HealthyScaled()(noisy)
    # What is cut at six times the scale, 1 in 70 voxels, lowers the mean by 0.03.
    assert all(float(out[key].mean()) == pytest.approx(0.0, abs=0.12) for key in ("cbf", "cbv", "mtt"))


def test_voxels_without_a_transit_time_do_not_set_its_scale() -> None:
    whole = {key: torch.full((1, 120, 40, 1), 6.0) for key in ("cbf", "cbv", "mtt", "tmax")}
    part = {**whole, "mtt": whole["mtt"].clone()}
    part["mtt"][:, :60] = 0
    out = HealthyScaled()(part)["mtt"]
    assert torch.allclose(out[:, 60:], torch.tensor(0.0), atol=1e-3) and (out[:, :60] == -1).all()


def test_a_software_s_own_scale_cancels() -> None:
    rng = torch.Generator().manual_seed(0)
    case = {key: torch.rand(1, 8, 8, 2, generator=rng) + 0.1 for key in ("cbf", "cbv", "mtt", "tmax")}
    other = {key: value * 3 if key in ("cbf", "cbv", "mtt") else value for key, value in case.items()}
    one, two = HealthyScaled()(case), HealthyScaled()(other)
    assert all(torch.allclose(one[key], two[key], atol=1e-5) for key in case)
