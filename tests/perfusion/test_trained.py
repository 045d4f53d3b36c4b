"""Maps made as a network's training maps were: equal to the simulated data set's, other settings refused."""

from __future__ import annotations

import numpy as np
import pytest

from monai_isles.errors import IslesError
from monai_isles.perfusion import maps_as_trained, require_settings
from monai_isles.phantom import make_case

SETTINGS = {"function": "perfusion_maps", "smoothing_mm": 5.0, "truncation": 0.15, "venous_scaling": True}


def test_maps_are_those_of_the_data_set_voxel_by_voxel() -> None:
    scan = make_case(1, seed=5, max_slices=2)
    times = np.arange(len(scan.ctp)) * scan.dt_s
    maps = maps_as_trained(scan.ctp.astype(np.float32), spacing_mm=scan.spacing_mm, times_s=times, settings=SETTINGS)
    for key in ("cbf", "cbv", "mtt", "tmax"):
        np.testing.assert_allclose(getattr(maps, key), scan.images[key], rtol=1e-5, atol=1e-5, err_msg=key)


@pytest.mark.parametrize(
    "change",
    [{"function": "measured_maps"}, {"truncation": 2}, {"truncation": True}, {"venous_scaling": 1}, {"gain": 1}],
)
def test_settings_that_are_not_known_are_refused(change: dict) -> None:
    with pytest.raises(
        IslesError, match=r"E-PERF-30: the bundle's training maps cannot be made(?s:.*)exactly function"
    ):
        require_settings(SETTINGS | change)


def test_settings_must_be_whole() -> None:
    with pytest.raises(IslesError, match="E-PERF-30"):
        require_settings({"function": "perfusion_maps"})
    with pytest.raises(IslesError, match="E-PERF-30"):
        require_settings(["perfusion_maps"])
