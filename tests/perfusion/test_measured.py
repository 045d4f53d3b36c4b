"""Maps of a prepared series against curves whose flow, volume, transit time and delay are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from monai_isles.errors import IslesError
from monai_isles.perfusion import measured_maps
from monai_isles.perfusion.prepared import PreparedSeries, prepare_series

SHAPE = (12, 10, 2)


@pytest.fixture
def prepared(aif: np.ndarray, tissue: Callable[..., np.ndarray]) -> PreparedSeries:
    """Healthy brain (60, 4 ml) below, ischaemic and 3 s late (20, 2.7 ml) above, a vessel voxel at a corner."""
    rise = np.zeros((len(aif), *SHAPE), np.float32)
    rise[:, :6] = tissue(60, 4, 0)[:, None, None, None]
    rise[:, 6:] = tissue(20, 8, 3)[:, None, None, None]
    rise[:, 0, 0, 0] = aif
    inside = np.ones(SHAPE, bool)
    return PreparedSeries(
        torch.from_numpy(rise),
        np.full(SHAPE, 35.0, np.float32),
        1.0,
        (1.0, 1.0, 5.0),
        inside,
        inside,
        4,
        None,
        False,
        (),
    )


@pytest.mark.parametrize("method", ["bcsvd", "osvd", "tikhonov"])
def test_flow_volume_transit_and_delay_come_back(prepared: PreparedSeries, aif: np.ndarray, method: str) -> None:
    maps = measured_maps(prepared, method=method, smoothing_mm=0, aif=aif)
    healthy, late = maps.brain.copy(), maps.brain.copy()
    healthy[6:], late[:6] = False, False
    assert np.median(maps.cbv[healthy]) == pytest.approx(4.0, rel=0.05)
    assert 0.6 * 60 < np.median(maps.cbf[healthy]) < 1.1 * 60
    assert np.median(maps.cbf[late]) == pytest.approx(20, rel=0.25)
    assert np.median(maps.tmax[late]) - np.median(maps.tmax[healthy]) == pytest.approx(3.0, abs=1.0)
    np.testing.assert_allclose(maps.mtt[healthy], 60 * maps.cbv[healthy] / maps.cbf[healthy], rtol=1e-4)


def test_vessels_are_left_out_of_the_brain_and_everything_outside_is_zero(
    prepared: PreparedSeries, aif: np.ndarray
) -> None:
    maps = measured_maps(prepared, smoothing_mm=0, aif=aif)
    assert not maps.brain[0, 0, 0] and maps.brain.sum() == maps.brain.size - 1
    assert maps.cbf[0, 0, 0] == maps.cbv[0, 0, 0] == maps.tmax[0, 0, 0] == 0


def test_a_voxel_that_bone_passed_by_is_left_out_where_the_head_was_moved_back(
    prepared: PreparedSeries, aif: np.ndarray
) -> None:
    rise = prepared.rise_hu + torch.from_numpy(np.random.default_rng(0).normal(0, 2, prepared.rise_hu.shape)).float()
    rise[::3, 3, 3, 1] -= 30.0
    noisy = replace(prepared, rise_hu=rise)
    left, moved = (
        measured_maps(replace(noisy, moved_back=back), smoothing_mm=0, aif=aif).brain for back in (False, True)
    )
    assert left[3, 3, 1] and not moved[3, 3, 1]
    assert (left & ~moved).sum() == 1


@pytest.mark.parametrize(("rise_of_noise", "width_mm"), [(8.0, 5.0), (10 / 3, 7.5), (1.5, 10.0)])
def test_a_noisy_scan_is_smoothed_wider_until_tissue_stands_out_of_it(
    aif: np.ndarray, tissue: Callable[..., np.ndarray], rise_of_noise: float, width_mm: float
) -> None:
    """White noise falls by 2 sqrt(pi) sigma where a Gaussian of 5 mm has sigma = 2.12 voxels; so does its ratio."""
    shape, curve = (48, 48, 2), tissue(60, 4, 0)
    level_hu = float(curve.max()) / rise_of_noise * 2 * np.sqrt(np.pi) * 5 / np.sqrt(8 * np.log(2))
    white = np.random.default_rng(3).normal(0, level_hu, (len(aif), *shape)).astype(np.float32)
    inside = np.ones(shape, bool)
    scan = PreparedSeries(
        torch.from_numpy(curve[:, None, None, None] + white), np.full(shape, 35.0, np.float32), 1.0, (1.0, 1.0, 5.0),
        inside, inside, 4, None, False, (),
    )  # fmt: skip
    maps = measured_maps(scan, aif=aif, method="bcsvd")
    assert maps.smoothing_mm == pytest.approx(width_mm, rel=0.06)
    assert maps.noise_hu < 1.2 * float(curve.max()) / rise_of_noise * 5 / width_mm
    assert measured_maps(scan, aif=aif, method="bcsvd", smoothing_mm=4.0).smoothing_mm == 4.0


def test_an_artery_half_as_tall_doubles_volume_and_flow(prepared: PreparedSeries, aif: np.ndarray) -> None:
    whole, half = (measured_maps(prepared, smoothing_mm=0, aif=part * aif) for part in (1.0, 0.7))
    brain = whole.brain & half.brain
    np.testing.assert_allclose(half.cbv[brain], whole.cbv[brain] / 0.7, rtol=1e-4)
    np.testing.assert_allclose(half.cbf[brain], whole.cbf[brain] / 0.7, rtol=1e-3)
    np.testing.assert_allclose(half.tmax[brain], whole.tmax[brain], atol=1e-3)


def test_an_artery_by_which_all_brain_is_vessel_is_refused(prepared: PreparedSeries, aif: np.ndarray) -> None:
    with pytest.raises(IslesError, match=r"E-PERF-03(?s:.*)all 240 voxels of brain have more than 9 ml/100 g"):
        measured_maps(prepared, aif=0.1 * aif)


@pytest.mark.parametrize(("method", "level"), [("svd", None), ("bcsvd", 1.5), ("osvd", "gcv"), ("bcsvd", True)])
def test_an_unknown_method_or_setting_is_refused(prepared: PreparedSeries, method: str, level: object) -> None:
    with pytest.raises(
        IslesError,
        match=r"E-PERF-08: method or truncation of the deconvolution is not valid(?s:.*)bcsvd, osvd, tikhonov",
    ):
        measured_maps(prepared, method=method, truncation=level)


def test_a_truncation_may_be_a_number_of_numpy(prepared: PreparedSeries, aif: np.ndarray) -> None:
    by = [measured_maps(prepared, aif=aif, truncation=kind(0.25)).tmax for kind in (float, np.float32, np.float64)]
    np.testing.assert_array_equal(by[0], by[1])
    np.testing.assert_array_equal(by[0], by[2])


def test_the_baseline_ends_before_the_artery_fills() -> None:
    """The artery reaches a tenth of its peak at 11 - 3 sqrt(2 ln 10) = 4.6 s, the tissue four seconds later."""
    time_s, r = np.arange(40.0), np.hypot(*np.mgrid[-32:32, -32:32])[..., None]
    head = np.select([r < 23, r < 26], [35.0, 1000.0], -1000.0)
    bolus = np.exp(-0.5 * ((time_s[:, None, None, None] - np.where(r < 3, 11, 15)) / 3) ** 2)
    series = (head + np.where(r < 3, 300, 8) * bolus * (r < 23)).astype(np.float32)
    prepared = prepare_series(series, spacing_mm=(3.0, 3.0, 5.0), dt_s=1.0)
    assert prepared.baseline_frames == 4
    artery = 300 * np.exp(-0.5 * ((time_s - 11) / 3) ** 2)
    np.testing.assert_allclose(measured_maps(prepared).aif, artery, atol=3.4)  # 3.36 HU before the fifth frame


@pytest.mark.parametrize("kind", [">i2", "u2", "f8"])
def test_a_series_in_any_order_of_bytes_and_axes_is_the_same(kind: str) -> None:
    """As nibabel and NumPy give them: big-endian, unsigned, flipped views."""
    time_s, r = np.arange(30.0), np.hypot(*np.mgrid[-32:32, -32:32])[..., None]
    head = np.select([r < 23, r < 26], [35.0, 1000.0], 0.0)
    bolus = np.exp(-0.5 * ((time_s[:, None, None, None] - 12) / 3) ** 2)
    series = np.rint(head + np.where(r < 3, 300, 8) * bolus * (r < 23)).astype(np.float32)
    usual: dict = {"spacing_mm": (3.0, 3.0, 5.0), "dt_s": 1.0, "motion": False}
    wanted, other = prepare_series(series, mask=r < 23, **usual), series[:, ::-1].astype(kind)[:, ::-1]
    found = prepare_series(other, mask=(r < 23)[::-1][::-1], **usual)
    torch.testing.assert_close(found.rise_hu.float(), wanted.rise_hu, atol=1e-4, rtol=0)
    flipped = prepare_series(series[:, ::-1], mask=(r < 23)[::-1], **usual)
    torch.testing.assert_close(flipped.rise_hu.flip(1), wanted.rise_hu, atol=1e-4, rtol=0)
