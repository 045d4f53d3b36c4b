from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from monai_isles.errors import IslesError
from monai_isles.perfusion.maps import PerfusionMaps, clock_flags, measured_maps
from monai_isles.perfusion.prepared import prepare_series
from monai_isles.perfusion.timing import arrival_s, arterial_curves, even_frames, frame_times
from monai_isles.phantom import make_case
from monai_isles.phantom.ct.scan import CaseArrays


def test_even_frames_are_returned_as_they_are() -> None:
    series = torch.rand(12, 2, 2, 1)
    out, dt_s, uneven = even_frames(series, np.arange(12) * 1.5)
    assert out is series and dt_s == pytest.approx(1.5) and not uneven


def test_a_dense_first_pass_sets_the_step_and_lines_stay_lines() -> None:
    times = np.concatenate([np.arange(0, 20, 1.0), np.arange(20, 50, 3.0)])
    series = torch.from_numpy(2.0 * times + 5.0)[:, None, None, None].expand(-1, 2, 2, 1)
    out, dt_s, uneven = even_frames(series, times)
    assert uneven and dt_s == 1.0 and len(out) == 48
    assert np.allclose(out[:, 0, 0, 0].numpy(), 2.0 * np.arange(48) + 5.0, atol=1e-5)


def test_times_start_at_zero() -> None:
    assert frame_times(10, None, np.arange(10) * 2.0 + 77.0)[0] == 0.0
    assert frame_times(10, 1.3, None)[-1] == pytest.approx(9 * 1.3)


def test_a_late_phase_a_little_over_15_s_apart_is_read() -> None:
    """Protocols for permeability take a picture every 15 s, and no table is exact."""
    times = np.r_[np.arange(30) * 1.5, 58.6 + 15.1 * np.arange(6)]
    assert frame_times(36, None, times)[-1] == pytest.approx(134.1)
    with pytest.raises(IslesError, match=r"E-PERF-06(?s:.*)at most 20 s apart"):
        frame_times(36, None, np.where(times > 58, times + 7, times))


@pytest.mark.parametrize("times", [np.zeros(12), np.arange(12) * 1000.0, np.arange(11.0), np.full(12, np.nan)])
def test_times_that_cannot_be_are_refused(times: np.ndarray) -> None:
    with pytest.raises(IslesError, match=r"E-PERF-06: frame times cannot be right(?s:.*)for 12 frames"):
        frame_times(12, None, times)


def test_too_few_frames_are_refused() -> None:
    with pytest.raises(IslesError, match=r"E-PERF-07: too few frames for a bolus(?s:.*)4 frames, 10 wanted"):
        frame_times(4, 1.0, None)


@pytest.fixture(scope="module")
def scan() -> CaseArrays:
    """A phantom scan of two slices, every second voxel in plane."""
    one = make_case(1, seed=12, max_slices=2)
    right, front, up = one.spacing_mm
    return replace(one, ctp=one.ctp[:, ::2, ::2], spacing_mm=(2 * right, 2 * front, up))


@pytest.mark.parametrize(("factor", "words"), [
    (1.0, None), (1 / 1.3, None), (1.3, None), (0.5, r"short by about (1\.[7-9]|2\.[0-2]) "),
    (1 / 3, r"short by about 2\."), (2.0, "long by about"), (3.0, "long by about"),
])  # fmt: skip
def test_physiology_tells_a_clock_that_is_off_by_two(scan: CaseArrays, factor: float, words: str | None) -> None:
    times = np.arange(len(scan.ctp)) * scan.dt_s * factor
    prepared = prepare_series(scan.ctp, spacing_mm=scan.spacing_mm, times_s=times, motion=False)
    flags = clock_flags(measured_maps(prepared), prepared.dt_s, where="here")
    assert [(flag.code, flag.severity) for flag in flags] == [("implausible-times", "warning")] * (words is not None)
    assert words is None or re.search(words, flags[0].text)


@pytest.mark.parametrize(("flow", "transit_s", "factor"), [
    (0.0, 0.0, None), (14.0, 0.36, None), (120.0, 1.0, "short by about 3.0"),
])  # fmt: skip
def test_no_factor_is_stated_where_no_contrast_reaches_the_brain(flow: float, transit_s: float, factor: str) -> None:
    """A triangle of 3 frames a side is 3 s wide at half its height of 300; sqrt(3 / 7 * 1 / 3.9) is 1 / 3.0."""
    brain = np.ones((2, 2, 1), bool)
    cbf, mtt, none = (np.full(brain.shape, value, np.float32) for value in (flow, transit_s, 0.0))
    aif = np.array([0, 0, 100, 200, 300, 200, 100, 0, 0], np.float32)
    (flag,) = clock_flags(PerfusionMaps(cbf, cbf * mtt / 60, mtt, none, aif, none, brain), 1.0, where="here")
    assert flag.code == "implausible-times" and "bolus is 3.0 s wide" in flag.text
    assert ("would explain" in flag.text) == (factor is not None)
    assert (factor or "no bolus seems to reach the brain") in flag.text


def test_a_missed_vein_is_no_fault_of_the_clock() -> None:
    """It makes flow and volume too large by one factor, and leaves width and transit, which the clock stretches."""
    brain = np.ones((2, 2, 1), bool)
    cbf, mtt, none = (np.full(brain.shape, value, np.float32) for value in (150.0, 2.5, 0.0))
    aif = np.array([0, 0, 100, 200, 300, 200, 100, 0, 0], np.float32)  # 6 s wide at steps of 2 s
    assert clock_flags(PerfusionMaps(cbf, cbf * mtt / 60, mtt, none, aif, none, brain), 2.0, where="here") == []


def tent(times: np.ndarray, start: float, peak: float, end: float) -> np.ndarray:
    return np.interp(times, [start, peak, end], [0.0, 1.0, 0.0])


def test_arrival_is_a_tenth_of_the_peak_between_frames() -> None:
    artery = np.array([0.0, 0, 0, 5, 20, 8, 2])
    assert arrival_s(artery, 2.0) == pytest.approx(2.0 * (2 + 2 / 5))  # 2 of 20, from 0 to 5 between frames 2 and 3
    assert arrival_s(np.array([3.0, 10, 1]), 1.0) == 0.0


def test_a_line_in_arterial_time_is_the_line_by_hand() -> None:
    artery = np.array([0.0, 0, 10, 0, 0, 0, 0, 0])  # area 10 x 2 s; arrival at 2.2 s
    line = torch.arange(8.0)[:, None] * 2.0  # 1 HU a second
    found = arterial_curves(line, artery, 2.0, [1.0, 2.0, 3.0, 4.0])
    np.testing.assert_allclose(found[:, 0], (2.2 + np.array([1, 2, 3, 4])) * 100 / 20, rtol=1e-5)


def test_beyond_the_frames_the_last_value_holds() -> None:
    artery = np.array([0.0, 10, 0, 0])
    found = arterial_curves(torch.tensor([0.0, 1, 2, 3]), artery, 1.0, [0.0, 10.0, 20.0])
    assert found[-1] == pytest.approx(3 * 100 / 10)


@pytest.mark.parametrize(("dt_s", "frames"), [(0.5, 121), (1.0, 61), (2.0, 31), (1.0, 50)])
def test_step_and_count_of_the_frames_do_not_matter(dt_s: float, frames: int) -> None:
    """Tents with corners at even seconds are straight lines between the frames of every step."""
    times, wanted = np.arange(frames) * dt_s, [2.5 * n for n in range(12)]
    artery, tissue = 30 * tent(times, 8, 14, 24), 4 * tent(times, 10, 22, 44)
    found = arterial_curves(torch.from_numpy(tissue), artery, dt_s, wanted)
    fine = np.arange(0, 60, 0.01)
    arrival = 8 + 0.6
    for value, at in zip(found.tolist(), wanted, strict=True):
        inside = np.abs(fine - arrival - at) <= 1.25
        assert value == pytest.approx(4 * tent(fine, 10, 22, 44)[inside].mean() * 100 / (30 * 8), abs=0.01)
