"""The weight map is equation (9), slice by slice."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_isles.errors import IslesError
from monai_isles.transforms import LesionWeightd, lesion_weight


def test_one_lesion_voxel_by_hand() -> None:
    mask = np.zeros((5, 6), np.uint8)
    mask[1, 1] = 1
    weight = lesion_weight(mask)
    e = np.exp(-5 / 50)  # (4, 5) is 3 and 4 away
    assert weight[1, 1] == 1.5 and weight[4, 5] == pytest.approx(0.5 + e / (e + 1))
    assert weight.dtype == np.float32 and weight[1, 2] > weight[1, 3] > weight[1, 4] and weight[1, 2] < 1


def test_brute_force_distances_agree() -> None:
    rng = np.random.default_rng(1)
    mask = rng.random((20, 17)) > 0.97
    points = np.argwhere(mask)
    grid = np.stack(np.meshgrid(range(20), range(17), indexing="ij"), -1)
    near = np.exp(-np.linalg.norm(grid[:, :, None] - points, axis=-1).min(-1) / 10)
    expected = np.where(mask, 3.0, 0.5 + near / (near + 1))
    assert np.allclose(lesion_weight(mask, inside=3.0, decay_vox=10), expected, atol=1e-6)


def test_slices_do_not_see_each_other_and_an_empty_one_is_far_from_any_lesion() -> None:
    mask = torch.zeros(1, 8, 8, 3)
    mask[0, 4, 4, 1] = 1
    out = LesionWeightd()({"label": mask})
    assert torch.equal(out["weight"][..., 0], torch.full((1, 8, 8), 0.5)) and (out["weight"][..., 2] == 0.5).all()
    assert np.array_equal(out["weight"][0, :, :, 1], lesion_weight(mask[0, :, :, 1].numpy()))


@pytest.mark.parametrize("setting", [{"inside": 0.9}, {"decay_vox": 0.0}])
def test_settings_that_make_no_sense_are_refused(setting: dict) -> None:
    with pytest.raises(IslesError, match=r"E-TPW-06.*is not valid"):
        LesionWeightd(**setting)
