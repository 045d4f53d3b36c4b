"""Empty and torn frames: found by their content, left out at the ends, interpolated inside."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from monai_isles.errors import IslesError
from monai_isles.perfusion.frames import repair_frames
from monai_isles.perfusion.maps import perfusion_maps
from monai_isles.perfusion.thresholds import ischaemia
from monai_isles.phantom.ct.scan import CaseArrays

FRAMES, TIMES = 20, np.arange(20) * 1.5


def head() -> torch.Tensor:
    """A noisy ring of bone with tissue inside, in air, whose tissue rises by 2 HU a frame; (20, 48, 48, 3)."""
    x, y = np.mgrid[:48, :48] - 23.5
    r = np.hypot(x, y)
    still = np.where(r < 16, 40.0, np.where(r < 20, 900.0, -1000.0))[None, :, :, None].repeat(3, axis=3)
    rise = 2.0 * np.arange(FRAMES)[:, None, None, None] * (r < 16)[None, :, :, None]
    noise = np.random.default_rng(0).normal(0, 10, (FRAMES, 48, 48, 3))
    return torch.from_numpy((still + rise + noise).astype(np.float32))


def between(series: torch.Tensor, n: int) -> torch.Tensor:
    """The cubic in time through two frames on either side, at even steps."""
    return (4 * (series[n - 1] + series[n + 1]) - series[n - 2] - series[n + 2]) / 6


def test_a_whole_series_is_returned_as_it_is() -> None:
    series = head()
    out, times, flags = repair_frames(series, TIMES)
    assert out is series and times is TIMES and flags == []


@pytest.mark.parametrize("value", [0.0, -1024.0, -3024.0, 3071.0], ids=str)
def test_an_empty_last_frame_is_left_out(value: float) -> None:
    series = head()
    series[-1] = value
    out, times, flags = repair_frames(series, TIMES)
    assert torch.equal(out, series[:-1]) and times.tolist() == TIMES[:-1].tolist()
    assert [flag.text for flag in flags] == ["frame 20 is empty or torn: left out"]
    assert flags[0].severity == "warning"


def test_lines_flat_in_some_of_their_values_are_not_torn_and_flat_ones_are() -> None:
    series = head()
    series[7, ::6, 10:15, 1] = 300.0  # every sixth value of five lines, as many as are looked at first
    assert repair_frames(series, TIMES)[2] == []
    series[7, :, 10:15, 1] = 300.0
    flags = repair_frames(series, TIMES)[2]
    assert [flag.text for flag in flags] == [
        "frame 8 is torn in 1 of 3 slices (2): interpolated between its neighbours"
    ]


def test_two_empty_first_frames_are_left_out_and_time_begins_anew() -> None:
    series = head()
    series[:2] = 0
    out, times, flags = repair_frames(series, TIMES)
    assert torch.equal(out, series[2:]) and times.tolist() == TIMES[2:].tolist() and len(flags) == 2


def test_an_empty_frame_inside_is_interpolated_at_its_own_time() -> None:
    """Frames at 12, 13.5, 16.5 and 18 s: the cubic through them at 14 s, by hand."""
    series, times = head(), TIMES.copy()
    times[10], times[11] = 14.0, 16.5
    wanted = (-10 * series[8] + 80 * series[9] + 16 * series[11] - 5 * series[12]) / 81
    series[10] = 0
    out, _, flags = repair_frames(series, times)
    torch.testing.assert_close(out[10], wanted, atol=1e-3, rtol=0)
    assert len(out) == FRAMES and flags[0].text.startswith("frame 11 is empty or torn: interpolated")


@pytest.mark.parametrize("axis", [1, 2])
def test_a_slice_that_breaks_off_is_torn_and_its_neighbours_stay(axis: int) -> None:
    """The last 12 of 48 lines of one slice are 0, as when its file was cut; the other slices keep their numbers."""
    series = head()
    series.select(0, 7).select(2, 1).narrow(axis - 1, 36, 12).fill_(0)
    out, _, flags = repair_frames(series, TIMES)
    torch.testing.assert_close(out[7, ..., 1], between(series[..., 1], 7), atol=1e-3, rtol=0)
    assert torch.equal(out[7, ..., 0], series[7, ..., 0])
    assert "frame 8 is torn in 1 of 3 slices (2)" in flags[0].text


def test_numbers_of_the_first_frame_kept_count_from_the_file() -> None:
    series = head()
    series[0], series[5] = 0, 0
    assert [flag.text.split(" is ")[0] for flag in repair_frames(series, TIMES)[2]] == ["frame 1", "frame 6"]


def test_contrast_motion_and_padding_are_no_fault() -> None:
    series = head()
    series[:, :4] = -3024  # outside the field of view in every frame
    series[10:] = torch.roll(series[10:], 2, dims=2)
    series[12:15, 20:28, 20:28] += 250
    assert repair_frames(series, TIMES)[2] == []


def test_a_lost_third_and_a_long_gap_are_refused() -> None:
    series = head()
    series[:8] = 0
    with pytest.raises(IslesError, match=r"E-PERF-11(?s:.*)8 of 20 frames are empty(?s:.*)first is 1"):
        repair_frames(series, TIMES)
    series = head()
    series[5:11] = 0
    with pytest.raises(IslesError, match=r"E-PERF-11(?s:.*)slice 1 is empty or torn for 10.5 s from frame 5 to 12"):
        repair_frames(series, TIMES)


def lopsided(frames: int = FRAMES) -> torch.Tensor:
    """An oval head off the middle of 48 x 40 x 6 that shrinks from slice to slice, with a bolus and noise of 5 HU."""
    x, y = np.mgrid[:48, :40] - np.array([19.0, 22.0])[:, None, None]
    radii = [np.hypot(x / 15, y / 12) * 14 / (14 - 1.5 * k) for k in range(6)]
    still = np.stack([np.where(r < 0.85, 40.0, np.where(r < 1, 900.0, -1000.0)) for r in radii], -1)
    bolus = 30 * np.exp(-(((np.arange(frames) - 8) / 3.0) ** 2))
    noise = np.random.default_rng(0).normal(0, 5, (frames, *still.shape))
    return torch.from_numpy((still + bolus[:, None, None, None] * (still == 40) + noise).astype(np.float32))


TURNS = {
    "is mirrored left to right": lambda v: v.flip(0), "is mirrored front to back": lambda v: v.flip(1),
    "is turned upside down": lambda v: v.flip(0, 1), "has its slices in reverse order": lambda v: v.flip(2),
}  # fmt: skip


@pytest.mark.parametrize("name", TURNS)
@pytest.mark.parametrize("frame", [0, 9])
def test_a_turned_frame_is_found_by_its_content(name: str, frame: int) -> None:
    series = lopsided()
    wanted = between(series, 9) if frame else series[1]
    series[frame] = TURNS[name](series[frame])
    out, _, flags = repair_frames(series, TIMES)
    done = "interpolated between its neighbours" if frame else "left out"
    assert [flag.text for flag in flags] == [f"frame {frame + 1} {name}: {done}"]
    torch.testing.assert_close(out[frame], wanted, atol=1e-3, rtol=0)


@pytest.mark.parametrize(("by", "name"), [(1, "lies one slice too low"), (-1, "lies one slice too high")])
def test_a_frame_that_is_one_slice_off_is_found(by: int, name: str) -> None:
    """Of six slices the middle four were taken, in one frame those next to them: too low shows what lies above."""
    whole = lopsided()
    series = whole[..., 1:5].clone()
    series[9] = whole[9, ..., 1 + by : 5 + by]
    assert [flag.text for flag in repair_frames(series, TIMES)[2]] == [
        f"frame 10 {name}: interpolated between its neighbours"
    ]


def test_two_mirrored_frames_in_a_row_are_found_and_moved_heads_are_none() -> None:
    series = lopsided()
    series[9:11] = series[9:11].flip(1)
    assert len(repair_frames(series, TIMES)[2]) == 2
    moved = lopsided()
    moved[5] = torch.roll(moved[5], (4, -3), dims=(0, 1))
    moved[12:] = torch.roll(moved[12:], 6, dims=2)
    moved[15, ..., 1:] = 0.55 * moved[15, ..., 1:] + 0.45 * moved[15, ..., :-1]  # nearly half a slice
    assert repair_frames(moved, TIMES)[2] == []


@pytest.fixture(scope="module")
def scan(scan: CaseArrays) -> CaseArrays:
    """A phantom scan of two slices with a large core, every second voxel in plane."""
    right, front, up = scan.spacing_mm
    return replace(scan, ctp=scan.ctp[:, ::2, ::2], spacing_mm=(2 * right, 2 * front, up))


def volumes_ml(series: np.ndarray, scan: CaseArrays) -> tuple[float, float]:
    """Return core and Tmax > 6 s of a series of the scan."""
    maps = perfusion_maps(series, scan.dt_s, spacing_mm=scan.spacing_mm)
    core_ml = ischaemia(maps.cbf, maps.tmax, maps.brain, scan.spacing_mm).core_ml
    return core_ml, float((maps.tmax > 6.0).sum()) * float(np.prod(scan.spacing_mm)) / 1000


@pytest.fixture(scope="module")
def untouched_ml(scan: CaseArrays) -> tuple[float, float]:
    torch.set_num_threads(1)
    found = volumes_ml(scan.ctp, scan)
    assert found[0] > 40 and found[1] > 80
    return found


def test_a_mirrored_frame_moves_no_volume_by_a_tenth(scan, untouched_ml) -> None:
    """At the height of the tissue's curve it cost more than a fifth of the core before it was found."""
    series = scan.ctp.copy()
    series[18] = series[18, ::-1]
    assert volumes_ml(series, scan) == pytest.approx(untouched_ml, rel=0.1)


@pytest.mark.parametrize("frame", [0, 11, 14, 22, -1], ids=["first", "arterial peak", "outflow", "middle", "last"])
@pytest.mark.parametrize("part", [slice(None), slice(64, None)], ids=["empty", "torn"])
@pytest.mark.parametrize("value", [-1024, 0])
def test_a_lost_frame_moves_no_volume_by_a_tenth(scan, untouched_ml, frame: int, part: slice, value: int) -> None:
    series = scan.ctp.copy()
    series[frame, :, part] = value
    assert volumes_ml(series, scan) == pytest.approx(untouched_ml, rel=0.1)
