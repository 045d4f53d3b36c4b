"""The projection along time is equation (1)."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from monai_isles.errors import IslesError
from monai_isles.transforms import TemporalMIPd


def test_each_voxel_keeps_its_highest_value_and_its_place() -> None:
    series = MetaTensor(torch.zeros(45, 3, 4, 2, dtype=torch.int16), affine=torch.diag(torch.tensor([2.0, 2, 5, 1])))
    series[7, 1, 2, 0], series[40, 1, 2, 0], series[:, 0, 0, 0] = 90, 50, -1000
    out = TemporalMIPd("ctp")({"ctp": series})
    expected = torch.zeros(1, 3, 4, 2)
    expected[0, 1, 2, 0], expected[0, 0, 0, 0] = 90, -1000
    assert torch.equal(out["mip"].as_tensor(), expected) and out["mip"].dtype == torch.float32
    assert torch.equal(out["mip"].affine, series.affine) and out["ctp"] is series


@pytest.mark.parametrize("shape", [(1, 3, 4, 2), (3, 4, 2)])
def test_a_single_volume_has_no_time_to_project(shape: tuple[int, ...]) -> None:
    with pytest.raises(IslesError, match=r"E-TPW-04.*needs a series.*\n.*case_2: ctp"):
        TemporalMIPd("ctp")({"ctp": torch.zeros(shape), "case": "case_2"})
