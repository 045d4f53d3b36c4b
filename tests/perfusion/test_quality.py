from __future__ import annotations

import numpy as np
import pytest

from monai_isles.perfusion.quality import (
    artery_flags,
    coverage_flags,
    frame_flags,
    motion_flags,
    noise_flags,
    vessel_flags,
    volume_flags,
    wanted_scan_s,
)

GOOD_VEIN = 1.3


def vein(aif: np.ndarray, *, late: int = 5) -> np.ndarray:
    return GOOD_VEIN * np.concatenate([np.full(late, aif[0]), aif[: len(aif) - late]])


def codes(flags) -> set[str]:
    flags = list(flags)
    assert all(flag.severity in ("info", "warning") and len(flag.text) > 20 for flag in flags)
    return {flag.code for flag in flags}


def test_a_good_artery_and_vein_raise_nothing(aif) -> None:
    assert not codes(vessel_flags(aif, vein(aif), 1.0, baseline_frames=5, scale=GOOD_VEIN))


def test_a_vein_that_is_too_low_or_comes_with_the_artery_is_told_with_its_numbers(aif) -> None:
    low = list(vessel_flags(aif, 0.5 * vein(aif), 1.0, baseline_frames=5, scale=GOOD_VEIN))
    assert "weak-vof" in codes(low) and "peaks at 50 % of the arterial one and comes 5.0 s after it" in low[0].text
    assert "weak-vof" in codes(vessel_flags(aif, vein(aif, late=0), 1.0, baseline_frames=5, scale=GOOD_VEIN))


def test_a_low_or_noisy_artery_is_weak(aif) -> None:
    assert "weak-aif" in codes(vessel_flags(0.2 * aif, 0.2 * vein(aif), 1.0, baseline_frames=5, scale=GOOD_VEIN))
    noisy = aif + np.random.default_rng(0).normal(0, 25, len(aif))
    assert "weak-aif" in codes(vessel_flags(noisy, vein(aif), 1.0, baseline_frames=5, scale=GOOD_VEIN))


def test_a_bolus_that_is_still_there_at_the_end_is_truncated_and_the_series_short(aif) -> None:
    found = codes(vessel_flags(aif[:12], GOOD_VEIN * aif[:12], 1.0, baseline_frames=5, scale=GOOD_VEIN))
    assert {"truncated-bolus", "short-series"} <= found


def test_an_artery_as_large_as_the_vein_and_a_short_baseline_are_told(aif) -> None:
    assert codes(vessel_flags(aif, aif, 1.0, baseline_frames=2)) == {"weak-vof", "partial-volume", "short-baseline"}


def test_a_scan_should_last_the_arrival_and_1_6_widths_of_the_vein() -> None:
    """A triangle from 20 to 40 s is 10 s wide at half its height; contrast arrives after 5 frames of 2 s."""
    vein = np.interp(np.arange(30) * 2.0, [20, 30, 40], [0.0, 100.0, 0.0])
    assert wanted_scan_s(vein, 2.0, 5) == pytest.approx(10 + 1.6 * 10)


def test_thin_slabs_uneven_frames_and_movement_are_told() -> None:
    assert codes(coverage_flags(2, 10.0)) == {"few-slices"} and codes(coverage_flags(8, 4)) == {"low-coverage"}
    assert not codes(coverage_flags(16, 5.0))
    uneven = list(frame_flags(np.array([0.0, 1.0, 2.0, 8.0]), 1.0, uneven=True))
    assert codes(uneven) == {"uneven-frames"} and uneven[0].severity == "warning"
    assert not codes(frame_flags(np.arange(4.0), 1.0, uneven=False))
    assert codes(motion_flags(3.0, applied=True)) == {"motion"} and not codes(motion_flags(0.4, applied=True))


def test_an_artery_that_follows_the_tissue_or_is_cut_off_is_told() -> None:
    assert not codes(artery_flags(1.5, 0.5))
    (late,) = artery_flags(-2.4, 0.0)
    assert late.code == "late-artery" and "2.4 s after the tissue" in late.text and "no volume" in late.text
    assert codes(artery_flags(0.8, 0.6)) == {"late-artery", "saturated-artery"}


def test_a_thin_vein_and_noise_are_told(aif) -> None:
    known = {"baseline_frames": 5, "scale": GOOD_VEIN}
    assert codes(vessel_flags(aif, vein(aif), 1.0, **known, fullness=0.3)) == {"partial-volume"}
    assert not codes(vessel_flags(aif, vein(aif), 1.0, **known, fullness=0.9))
    assert codes(noise_flags(4.0, 8.0, 10.0)) == {"noise"} and not codes(noise_flags(1.0, 8.0, 5.0))


def test_a_brain_full_of_blood_is_remarked() -> None:
    assert not codes(volume_flags(4.0))
    (flag,) = volume_flags(5.2)
    assert (flag.code, flag.severity) == ("high-volume", "warning") and "5.2 ml/100 g" in flag.text
