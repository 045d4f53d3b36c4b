"""A channel is hidden and asked for; groups of channels are stacked with a mark each, and dropped by it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_isles.errors import IslesError
from monai_isles.transforms import DropGroupsd, GroupedImaged, HideChanneld

NAMES = ("ct", "cbf", "tmax")


def test_the_hidden_channel_is_zero_and_its_z_score_is_the_target() -> None:
    image = MetaTensor(torch.rand(3, 6, 5, 2) + 1, affine=torch.diag(torch.tensor([2.0, 2, 6, 1])))
    image[:, :2] = 0
    inside = np.asarray(image[1, 2:])
    out = HideChanneld("image", names=NAMES, hide="cbf")({"image": image, "label": torch.ones(1, 6, 5, 2)})
    assert not out["image"][1].any() and torch.equal(out["image"][[0, 2]], image[[0, 2]])
    assert tuple(out["label"].shape) == (1, 6, 5, 2) and not out["label"][:, :2].any()
    np.testing.assert_allclose(out["label"][0, 2:], (inside - inside.mean()) / inside.std(), atol=1e-5)
    assert torch.equal(out["label"].affine, image.affine) and image[1].any()


def test_an_empty_channel_gives_an_empty_target() -> None:
    out = HideChanneld("image", names=NAMES, hide="tmax", target="goal")({"image": torch.zeros(3, 4, 4, 1)})
    assert not out["goal"].any() and out["goal"].isfinite().all()


def test_an_unknown_channel_is_refused() -> None:
    with pytest.raises(IslesError, match="E-AUG-20: no such channel to hide(?s:.*)'dwi'; channels ct, cbf, tmax"):
        HideChanneld("image", names=NAMES, hide="dwi")


GROUPS = {"ct": {"ct": 1}, "maps": {"cbf": 1, "tmax": 1}, "series": {"curves": 3}, "mirror": {}}


@pytest.mark.parametrize("remark", ["", "E-REG-03: no match"])
def test_absent_groups_are_zero_and_marked(remark: str) -> None:
    case = {"cbf": torch.full((1, 4, 3, 2), 5.0), "tmax": torch.full((1, 4, 3, 2), 7.0)}
    groups = {"ct": "absent", "maps": "given", "series": "absent"}
    about = {"groups": groups, "mirror": {"remark": remark, "method": "m"}}
    out = GroupedImaged(GROUPS)(case | about)
    assert out["image"].shape == (1 + 2 + 3 + 4, 4, 3, 2)
    assert out["image"][:, 0, 0, 0].tolist() == [0, 5, 7, 0, 0, 0, 0, 1, 0, float(not remark)]
    assert out["groups"]["mirror"] == ("absent" if remark else "m") and "mirror" not in about["groups"]


def test_a_group_is_marked_only_where_all_its_entries_are() -> None:
    case = {"curves": torch.full((3, 1, 1, 1), 4.0), "cbf": torch.ones(1, 1, 1, 1)}
    about = {"groups": {"maps": "measured from the series", "series": "given"}, "mirror": {"remark": "", "method": "m"}}
    out = GroupedImaged(GROUPS)(case | about)
    assert out["image"].flatten().tolist() == [0, 1, 0, 4, 4, 4, 0, 0, 1, 1]
    assert out["groups"]["maps"] == "measured from the series"


def test_one_of_maps_and_series_always_stays() -> None:
    drop = DropGroupsd("image", chances={"ct": 1.0, "maps": 1.0, "series": 1.0, "mirror": 0.0}, slices=3)
    image = torch.ones(3 * 10, 4, 4)
    out = drop({"image": image})["image"].reshape(3, 10, 4, 4)
    assert out[:, -4:, 0, 0].tolist() == [[0, 1, 0, 1]] * 3 and (out[:, :6] == 1).all() and image.all()
    lone = image.clone().reshape(3, 10, 4, 4)
    lone[:, -3] = 0  # no maps: the series stays
    assert drop({"image": lone.flatten(0, 1)})["image"].reshape(3, 10, 4, 4)[1, -4:, 0, 0].tolist() == [0, 0, 1, 1]


def test_groups_are_dropped_as_often_as_asked_and_again_by_the_seed() -> None:
    drop = DropGroupsd("image", chances={"ct": 0.2, "maps": 0.3, "series": 0.4, "mirror": 0.1}, slices=1)
    seen = []
    for seed in range(400):
        drop.set_random_state(seed)
        seen.append(drop({"image": torch.ones(5, 1, 1)})["image"][-4:, 0, 0].tolist())
    assert np.abs(1 - np.mean(seen, axis=0) - [0.2, 0.3 - 0.3 * 0.4, 0.4, 0.1]).max() < 0.06
    drop.set_random_state(399)
    assert drop({"image": torch.ones(5, 1, 1)})["image"][-4:, 0, 0].tolist() == seen[-1]
