from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_isles.errors import IslesError
from monai_isles.perfusion import bolus_arrival, perfusion_maps

SPACING = (0.9, 0.9, 5.0)


def image_of(curves: list[np.ndarray], side: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Strips of one curve each along the first axis, 35 HU before the bolus; returns series and mask."""
    strips = [np.broadcast_to(c[:, None, None, None], (len(c), side, side, 1)) for c in curves]
    series = 35.0 + np.concatenate(strips, axis=1)
    mask = np.ones(series.shape[1:], bool)
    mask[:, 0] = False
    return series.astype(np.float32), mask


@pytest.mark.parametrize(("cbf", "mtt_s"), [(60.0, 4.0), (22.0, 5.5), (12.0, 10.0)], ids=["grey", "white", "penumbra"])
def test_flow_volume_and_transit_time_come_back_within_the_stated_bias(aif, tissue, cbf, mtt_s) -> None:
    series, mask = image_of([tissue(cbf, mtt_s, 1.0)])
    maps = perfusion_maps(
        series, 1.0, mask=mask, spacing_mm=SPACING, aif=aif, baseline_frames=4, smoothing_mm=0.0, truncation=0.05
    )
    assert maps.cbv[6, 6, 0] == pytest.approx(cbf * mtt_s / 60, rel=0.02)
    assert 0.65 * cbf < maps.cbf[6, 6, 0] < 1.05 * cbf  # truncation lowers flow, most where transit is short
    assert maps.mtt[6, 6, 0] == pytest.approx(60 * maps.cbv[6, 6, 0] / maps.cbf[6, 6, 0], rel=1e-4)


@pytest.mark.parametrize("delay_s", [0.0, 3.0, 8.0], ids=lambda d: f"{d:.0f}s")
def test_tmax_is_the_delay_with_a_small_positive_bias(aif, tissue, delay_s) -> None:
    series, mask = image_of([tissue(40, 4, delay_s)])
    tmax = perfusion_maps(series, 1.0, mask=mask, spacing_mm=SPACING, aif=aif, baseline_frames=4).tmax[6, 6, 0]
    assert 1.5 <= tmax - delay_s <= 2.5  # on the scale of the conventional deconvolution, whose peak is never at zero


def test_tissue_ahead_of_the_artery_has_tmax_zero(aif, tissue) -> None:
    series, mask = image_of([np.roll(tissue(40, 4, 0), -3)])
    assert perfusion_maps(series, 1.0, mask=mask, spacing_mm=SPACING, aif=aif, baseline_frames=2).tmax[6, 6, 0] == 0.0


def test_maps_are_zero_outside_the_mask_and_skull_never_leaks_in(aif, tissue) -> None:
    series, mask = image_of([tissue(40, 4, 1), tissue(20, 6, 2)])
    clean = perfusion_maps(series, 1.0, mask=mask, spacing_mm=SPACING, aif=aif, baseline_frames=4)
    series[:, :, 0] = 1000.0 + 500.0 * np.sin(np.arange(len(series)))[:, None, None]
    skull = perfusion_maps(series, 1.0, mask=mask, spacing_mm=SPACING, aif=aif, baseline_frames=4)
    for name in ("cbf", "cbv", "mtt", "tmax"):
        assert not getattr(skull, name)[~mask].any()
        assert np.array_equal(getattr(skull, name), getattr(clean, name))


def test_torch_and_numpy_series_give_the_same_maps(aif, tissue) -> None:
    series, mask = image_of([tissue(40, 4, 1)])
    a = perfusion_maps(series, 1.0, mask=mask, spacing_mm=SPACING, aif=aif)
    b = perfusion_maps(torch.from_numpy(series), 1.0, mask=torch.from_numpy(mask), spacing_mm=SPACING, aif=aif)
    assert np.array_equal(a.cbf, b.cbf) and a.cbf.dtype == np.float32


def test_a_measured_artery_is_scaled_to_the_vein(aif, tissue) -> None:
    vein = np.roll(aif, 5)
    series, mask = image_of([tissue(40, 4, 1), 0.6 * aif, vein])
    mask[12:24] = False
    mask[12:14, 3:10], mask[24:, :] = True, False
    mask[24:26, 3:10] = True
    maps = perfusion_maps(series, 1.0, mask=mask, spacing_mm=SPACING, smoothing_mm=0.0, baseline_frames=4)
    assert maps.aif.sum() == pytest.approx(vein.sum(), rel=0.02)
    assert int(maps.aif.argmax()) == int(aif.argmax())
    unscaled = perfusion_maps(
        series, 1.0, mask=mask, spacing_mm=SPACING, smoothing_mm=0.0, baseline_frames=4, venous_scaling=False
    )
    assert unscaled.aif.sum() == pytest.approx(0.6 * aif.sum(), rel=0.02)


def test_baseline_ends_before_the_bolus(tissue) -> None:
    curve = torch.from_numpy(tissue(40, 4, 0))
    assert 4 <= bolus_arrival(curve) <= 8  # the artery fills from 5 s on


def test_a_series_that_is_not_time_first_is_refused(aif) -> None:
    with pytest.raises(IslesError, match=r"E-PERF-02: series and mask do not fit(?s:.*)\(T, H, W, D\)"):
        perfusion_maps(np.zeros((8, 8, 2, 60)), 1.0, mask=np.ones((8, 8, 2), bool), spacing_mm=SPACING, aif=aif)


def test_an_empty_mask_is_refused(aif) -> None:
    with pytest.raises(IslesError, match=r"E-PERF-04: the mask holds no voxel"):
        perfusion_maps(np.zeros((60, 8, 8, 2)), 1.0, mask=np.zeros((8, 8, 2), bool), spacing_mm=SPACING, aif=aif)


def test_truncation_alone_asks_for_the_conventional_deconvolution(aif, tissue) -> None:
    series, mask = image_of([tissue(60, 4, 1)])
    place = {"mask": mask, "spacing_mm": SPACING, "aif": aif, "baseline_frames": 4, "smoothing_mm": 0.0}
    conventional = perfusion_maps(series, 1.0, **place, method="bcsvd", truncation=0.1)
    assert np.array_equal(perfusion_maps(series, 1.0, **place, truncation=0.1).cbf, conventional.cbf)
    model = perfusion_maps(series, 1.0, **place)
    assert conventional.cbf[6, 6, 0] < 0.7 * 60 < 0.8 * 60 < model.cbf[6, 6, 0] < 60  # truth 60, transit of 4 s


def test_tmax_never_passes_25_s(aif, tissue) -> None:
    late = np.concatenate([np.zeros(30, np.float32), tissue(40, 4, 0)[:-30]])
    series, mask = image_of([late])
    for method in ("bcsvd", "osvd", "tikhonov", "bayes", "learned"):
        maps = perfusion_maps(
            series, 1.0, mask=mask, spacing_mm=SPACING, aif=aif, baseline_frames=4, method=method, smoothing_mm=0.0
        )
        assert 0.0 <= maps.tmax.min() and maps.tmax.max() <= 25.0
