from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import BorderPad

from monai_isles.errors import IslesError
from monai_isles.transforms import CropBorderd


def image() -> MetaTensor:
    affine = torch.tensor([[0.9, 0, 0, -100], [0, 0.9, 0, -90], [0, 0, 5, 12], [0, 0, 0, 1.0]], dtype=torch.float64)
    return MetaTensor(torch.rand(2, 10, 8, 3), affine=affine)


def test_cropping_undoes_the_pad_and_the_affine() -> None:
    before = image()
    padded = BorderPad([4, 3, 0])(before)
    after = CropBorderd("pred", (4, 3, 0))({"pred": padded})["pred"]
    assert torch.equal(after, before) and torch.allclose(after.affine, before.affine)
    assert not torch.allclose(padded.affine, before.affine)


def test_a_voxel_keeps_its_place_in_the_world() -> None:
    before = image()
    after = CropBorderd("pred", (2, 1, 1))({"pred": before})["pred"]
    assert after.shape == (2, 6, 6, 1) and after[1, 0, 0, 0] == before[1, 2, 1, 1]
    place = before.affine @ torch.tensor([2, 1, 1, 1], dtype=torch.float64)
    assert torch.allclose(after.affine[:, 3], place)


def test_plain_tensors_are_cropped_too() -> None:
    assert CropBorderd("x", (1, 1, 0))({"x": torch.zeros(1, 5, 5, 2)})["x"].shape == (1, 3, 3, 2)


@pytest.mark.parametrize("border", [(5, 0, 0), (1, 1)])
def test_a_border_that_leaves_nothing_or_lacks_an_axis_is_refused(border: tuple[int, ...]) -> None:
    with pytest.raises(IslesError, match=r"E-PAD-01.*not larger.*\n.*pred(?s:.*)\(10, 8, 3\)"):
        CropBorderd("pred", border)({"pred": image()})
