"""DICOM dates and times in whole microseconds."""

from __future__ import annotations

import pytest

from monai_isles.dicom.frames import instant_us
from monai_isles.io.clock import DAY_US, clock_us, unwrap_midnight, unwrap_summer_time


@pytest.mark.parametrize(("text", "seconds"), [
    ("10", 36000), ("1001", 36060), ("100102", 36062), ("100102.5", 36062.5), ("10:01:02.000001", 36062.000001),
    ("000000", 0), ("100102.5 ", 36062.5), ("100102.5000000", 36062.5),
    ("90102.5", 32462.5), ("9:01:02.5", 32462.5), ("90102", 32462),
])  # fmt: skip
def test_a_clock_is_read(text: str, seconds: float) -> None:
    assert clock_us(text) == round(seconds * 1e6)


@pytest.mark.parametrize("text", ["", "x", "1", "100102.", "1001021"])
def test_what_is_no_clock_is_none(text: str) -> None:
    assert clock_us(text) is None


def test_dates_are_days_apart() -> None:
    assert instant_us("20240301000000") - instant_us("20240228000000.0+0100") == 2 * DAY_US  # a leap year
    assert instant_us("20241301000000") is None and instant_us("2024") is None


def test_only_times_across_midnight_are_moved() -> None:
    assert unwrap_midnight([DAY_US - 5, 3]) == [DAY_US - 5, DAY_US + 3]
    assert unwrap_midnight([10, 20]) == [10, 20] and unwrap_midnight([]) == []


def test_dates_more_than_a_day_apart_are_left_out() -> None:
    assert unwrap_midnight([DAY_US - 5, 40 * DAY_US - 4, 90 * DAY_US + 3]) == [DAY_US - 5, DAY_US - 4, DAY_US + 3]


def test_one_date_on_both_sides_of_midnight_is_two_days() -> None:
    day = 730_000 * DAY_US
    assert unwrap_midnight([day + DAY_US - 5, day + 3]) == [day + DAY_US - 5, day + DAY_US + 3]
    assert unwrap_midnight([day + DAY_US - 5, day + DAY_US + 3]) == [day + DAY_US - 5, day + DAY_US + 3]


@pytest.mark.parametrize("day", [0, 730_000 * DAY_US])
def test_a_clock_set_by_an_hour_during_the_scan_goes_on(day: int) -> None:
    scan = [day + 7_190_000_000 + 1_300_000 * n for n in range(20)]
    forward = [time + 3_600_000_000 * (time >= day + 7_200_000_000) for time in scan]
    back = [time - 3_600_000_000 * (time >= day + 7_200_000_000) for time in scan]
    assert unwrap_summer_time(scan) == scan
    first = scan[0]
    assert [time - first for time in unwrap_summer_time(forward)] == [time - first for time in scan]
    assert unwrap_summer_time(back) == scan


@pytest.mark.parametrize("late_s", [3595, 3605, 1800, 7200])
def test_a_clock_set_by_anything_else_is_left_alone(late_s: int) -> None:
    times = [1_000_000 * (n + late_s * (n > 9)) for n in range(20)]
    assert unwrap_summer_time(times) == times and unwrap_summer_time([0, 3_600_000_000]) == [0, 3_600_000_000]
