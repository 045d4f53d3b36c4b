"""Standard scores are taken where the maps show brain."""

from __future__ import annotations

import pytest
import torch
from monai.transforms import NormalizeIntensity

from monai_isles.errors import IslesError
from monai_isles.transforms import BrainScored, ChannelsScored


def entry() -> dict[str, object]:
    brain = torch.zeros(1, 4, 4, 1)
    brain[0, 1:3, 1:3] = 1
    maps = {key: brain * (number + 1) for number, key in enumerate(("cbf", "cbv", "mtt", "tmax"))}
    frames = torch.full((2, 4, 4, 1), 1000.0)
    frames[:, 1:3, 1:3, 0] = torch.tensor([[30.0, 30, 30, 30], [50.0, 50, 50, 50]]).reshape(2, 2, 2)
    return {"case": "case_1", **maps, "frames": frames}


def test_the_frames_share_one_mean_and_spread_and_the_skull_is_gone() -> None:
    out = BrainScored(("frames", "cbf"))(entry())["frames"]
    assert torch.allclose(out[:, 1, 1, 0], torch.tensor([-1.0, 1.0]))  # mean 40, spread 10
    assert out.abs().sum() == 8


def test_a_map_without_spread_becomes_zero_and_the_mask_comes_from_the_maps_as_they_were() -> None:
    out = BrainScored(("cbf", "cbv", "mtt", "tmax", "frames"))(entry())
    assert not out["cbf"].any() and out["frames"].abs().sum() == 8


def test_maps_without_brain_are_refused() -> None:
    empty = {key: value if isinstance(value, str) else value * 0 for key, value in entry().items()}
    with pytest.raises(IslesError, match=r"E-STRIP-01"):
        BrainScored("frames")(empty)


def test_a_series_without_maps_is_scored_inside_the_skull() -> None:
    frames = torch.full((2, 40, 40, 2), -1000.0)
    frames[:, 5:35, 5:35] = 800.0
    frames[:, 8:32, 8:32] = torch.tensor([30.0, 50.0])[:, None, None, None]
    out = BrainScored(("cbf", "frames"), allow_missing_keys=True)({"case": "case_1", "frames": frames})["frames"]
    assert torch.allclose(out[:, 12:28, 12:28], torch.tensor([-1.0, 1.0])[:, None, None, None], atol=1e-5)
    assert not out[:, :5].any() and not out[:, 6, 6].any()  # air and bone
    with pytest.raises(IslesError, match=r"E-STRIP-01(?s:.*)no skull around the series"):
        BrainScored("frames")({"case": "case_1", "frames": torch.full((2, 20, 20, 1), 30.0)})


def test_a_case_without_maps_passes_when_there_is_nothing_to_score() -> None:
    only_dwi = {"case": "case_1", "dwi": torch.ones(1, 4, 4, 1)}
    out = BrainScored(("cbf", "cbv", "mtt", "tmax"), allow_missing_keys=True)(only_dwi)
    assert out.keys() == only_dwi.keys() and torch.equal(out["dwi"], only_dwi["dwi"])


def volume() -> dict[str, torch.Tensor]:
    image = torch.randn(3, 6, 5, 4, generator=torch.Generator().manual_seed(1)) * 4 + 7
    image[2] = 5.0
    return {"image": image, "foreground": (torch.arange(120) % 3 == 0).float().reshape(1, 6, 5, 4)}


def test_over_the_volume_it_is_monais() -> None:
    theirs = NormalizeIntensity(nonzero=False, channel_wise=True)(volume()["image"])
    assert torch.allclose(ChannelsScored("image")(volume())["image"], theirs, atol=1e-5)


def test_over_the_foreground_air_around_the_head_changes_nothing() -> None:
    first = volume()
    more = {key: torch.nn.functional.pad(value, (0, 0, 2, 3, 4, 1)) for key, value in first.items()}
    near, far = (ChannelsScored("image", over="foreground")(one)["image"] for one in (first, more))
    assert torch.allclose(far[:, 4:10, 2:7], near, atol=1e-5)
    inside = near[:2, first["foreground"][0] > 0]
    assert inside.mean(1).abs().max() < 1e-5 and (inside.std(1, correction=0) - 1).abs().max() < 1e-5
    assert torch.equal(near[2], torch.zeros(6, 5, 4))  # no spread: only moved
    empty = first | {"foreground": torch.zeros(1, 6, 5, 4)}
    without = ChannelsScored("image", over="foreground")(empty)["image"]
    assert torch.equal(without, ChannelsScored("image")(first)["image"])


def test_another_place_is_refused() -> None:
    with pytest.raises(IslesError, match=r"E-STRIP-05(?s:.*)'brain'"):
        ChannelsScored("image", over="brain")
