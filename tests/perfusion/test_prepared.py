"""Preparing and measuring: one small phantom scan with its truth, and hand-made refusals."""

from __future__ import annotations

import numpy as np
import pytest
from true_perfusion import case_with_truth

from monai_isles.errors import IslesError
from monai_isles.perfusion import PerfusionMaps, measured_maps
from monai_isles.perfusion.prepared import PreparedSeries, prepare_series


@pytest.fixture(scope="module")
def scan():
    """A simulated two-slice scan, its truth, and the series prepared."""
    case, true = case_with_truth(1, seed=2018, max_slices=2)
    return case, true, prepare_series(case.ctp, spacing_mm=case.spacing_mm, dt_s=case.dt_s)


@pytest.fixture(scope="module")
def measured(scan) -> PerfusionMaps:
    """The maps of ``scan`` by the usual settings; not to be changed."""
    return measured_maps(scan[2])


def brain_of(maps, true) -> np.ndarray:
    return maps.brain & (true.matter > 0.9) & (true.artery + true.vein < 0.01)


def test_movement_is_found_and_the_brain_with_it(scan) -> None:
    case, true, prepared = scan
    wanted = true.path_mm - true.path_mm[:3].mean(0)
    assert np.abs(prepared.motion.path[:, :2] - wanted).max() < 0.05 and prepared.moved_back
    assert prepared.rise_hu.shape == case.ctp.shape and (prepared.cranial | prepared.tissue).mean() < 0.5
    assert {flag.code for flag in prepared.flags} == {"few-slices"}


def test_movement_is_named_by_the_frames_given_where_the_first_are_left_out(scan) -> None:
    case, _, prepared = scan
    torn = case.ctp.copy()
    torn[:2] = 0
    found = prepare_series(torn, spacing_mm=case.spacing_mm, dt_s=case.dt_s)
    assert len(found.rise_hu) == len(case.ctp) - 2 and found.motion.after_hu.shape == prepared.motion.after_hu.shape


def test_volume_is_true_where_a_vein_is_wide_enough_and_the_artery_alone_is_too_small(scan, measured) -> None:
    _, true, prepared = scan
    scaled, plain = measured, measured_maps(prepared, venous_scaling=False)
    brain = brain_of(scaled, true)
    assert np.median(scaled.cbv[brain]) == pytest.approx(np.median(true.cbv[brain]), rel=0.15)
    assert scaled.aif.sum() == pytest.approx(true.blood_hu.sum(), rel=0.15)
    assert np.median(plain.cbv[brain]) > 1.5 * np.median(true.cbv[brain])


@pytest.mark.parametrize("method", ["bcsvd", "osvd", "tikhonov"])
def test_maps_follow_the_truth(scan, method: str) -> None:
    _, true, prepared = scan
    maps = measured_maps(prepared, method=method)
    brain = brain_of(maps, true)
    r = {key: np.corrcoef(getattr(maps, key)[brain], getattr(true, key)[brain])[0, 1] for key in ("cbf", "cbv")}
    assert r["cbf"] > 0.8 and r["cbv"] > 0.75
    assert np.corrcoef(maps.tmax[brain], true.delay[brain])[0, 1] > 0.9
    assert 0.6 < np.median(maps.cbf[brain]) / np.median(true.cbf[brain]) < 1.05
    assert not maps.cbf[~maps.brain].any() and maps.ttp[maps.brain].min() > 0 and len(maps.vof) == len(maps.aif)


def test_vessels_are_left_out_of_the_brain(scan, measured) -> None:
    _, true, prepared = scan
    maps = measured
    assert not (maps.brain & ~prepared.tissue).any()
    wide = prepared.tissue & (true.artery > 0.4)
    assert wide.any() and maps.brain[wide].mean() < 0.1


def test_a_given_artery_is_used_as_it_is(scan) -> None:
    _, true, prepared = scan
    maps = measured_maps(prepared, aif=true.blood_hu)
    assert np.array_equal(maps.aif, true.blood_hu.astype(np.float32)) and maps.vof is None


def test_uneven_times_are_told_and_maps_stay_near(scan, measured) -> None:
    case, true, _ = scan
    kept = [*range(30), *range(30, len(case.ctp), 2)]
    uneven = prepare_series(case.ctp[kept], spacing_mm=case.spacing_mm, times_s=np.array(kept) * case.dt_s)
    assert "uneven-frames" in {flag.code for flag in uneven.flags} and uneven.dt_s == pytest.approx(case.dt_s)
    assert len(uneven.motion.path) == len(uneven.rise_hu) > len(kept)  # the page draws it at even steps
    a, b = measured_maps(uneven), measured
    brain = brain_of(a, true) & b.brain
    assert np.median(a.cbv[brain]) == pytest.approx(np.median(b.cbv[brain]), rel=0.1)


@pytest.mark.parametrize(("method", "level"), [("svd", None), ("bcsvd", 0.0), ("bcsvd", "gcv"), ("osvd", 1.5)])
def test_unknown_methods_and_truncations_are_refused(scan, method, level) -> None:
    with pytest.raises(
        IslesError,
        match=r"E-PERF-08: method or truncation of the deconvolution is not valid(?s:.*)bcsvd, osvd, tikhonov",
    ):
        measured_maps(scan[2], method=method, truncation=level)


def test_a_volume_and_a_series_without_a_head_are_refused() -> None:
    with pytest.raises(IslesError, match=r"E-PERF-02: not a series of volumes"):
        prepare_series(np.zeros((8, 8, 2)), spacing_mm=(1, 1, 5), dt_s=1.0)
    for value in (np.nan, np.inf):
        with pytest.raises(IslesError, match=r"E-PERF-02: voxels without a number(?s:.*)-1024 HU"):
            prepare_series(np.full((12, 8, 8, 1), value, np.float32), spacing_mm=(1, 1, 5), dt_s=1.0)
    with pytest.raises(IslesError, match=r"E-PERF-04(?s:.*)no brain inside a skull"):
        prepare_series(np.zeros((12, 64, 64, 1), np.float32), spacing_mm=(1, 1, 5), dt_s=1.0)


def test_a_prepared_series_can_be_made_by_hand(aif, tissue) -> None:
    import torch

    curve = tissue(40, 6, 2)
    rise = np.broadcast_to(curve[:, None, None, None], (len(curve), 20, 20, 1)).copy()
    everywhere = np.ones((20, 20, 1), bool)
    hand = PreparedSeries(
        torch.from_numpy(rise), np.full((20, 20, 1), 35.0), 1.0, (1, 1, 5), everywhere, everywhere, 4, None, False, ()
    )
    maps = measured_maps(hand, aif=aif, truncation=0.05)
    assert maps.cbv[9, 9, 0] == pytest.approx(4.0, rel=0.03) and maps.cbf[9, 9, 0] == pytest.approx(40, rel=0.3)
    assert 2.0 <= maps.tmax[9, 9, 0] <= 4.5
