"""A channel is hidden and asked for, in its own mean and spread."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_isles.errors import IslesError
from monai_isles.transforms import HideChanneld

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
