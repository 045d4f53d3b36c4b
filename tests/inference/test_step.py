"""A step on the command line: one number for all axes, one an axis, or the bundle's coarser one."""

from __future__ import annotations

from pathlib import Path

import pytest

from monai_isles.bundle import Bundle
from monai_isles.errors import IslesError
from monai_isles.inference.predictor import Choices
from monai_isles.io import findings

WINDOWS = {"step": [4, 4, 1], "fast_step": [12, 12, 8]}


def test_one_number_counts_for_every_axis_and_none_leaves_the_bundle_alone() -> None:
    assert Choices(step=(8,)).chosen_step(WINDOWS) == [8, 8, 8]
    assert Choices(step=(8, 8, 2)).chosen_step(WINDOWS) == [8, 8, 2]
    assert Choices().chosen_step(WINDOWS) is None and Choices().chosen_step({}) is None
    assert Choices(fast=True).chosen_step(WINDOWS) == [12, 12, 8]


def test_a_step_for_a_bundle_without_windows_is_refused() -> None:
    with pytest.raises(IslesError, match=r"(?s)E-INF-13.*--step.*no step"):
        Choices(step=(4,)).chosen_step({"threshold": 0.5})


def test_fast_on_a_bundle_without_a_coarser_step_is_remarked_and_changes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    findings.say_once.cache_clear()
    assert all(Choices(fast=True).chosen_step(config) is None for config in ({"step": [3, 3]}, {}))
    assert [record.message for record in caplog.records] == [
        "--fast changes nothing: this bundle has no larger step between windows"
    ]


def test_a_wrong_number_of_numbers_and_both_options_at_once_are_refused() -> None:
    with pytest.raises(IslesError, match=r"(?s)E-INF-14.*\[4, 4\].*\[4, 4, 1\]"):
        Choices(step=(4, 4)).chosen_step(WINDOWS)
    with pytest.raises(IslesError, match=r"(?s)E-INF-14.*beside --fast"):
        Choices(step=(4,), fast=True).chosen_step(WINDOWS)


def test_an_option_that_would_change_nothing_is_refused() -> None:
    config, bundle = {"threshold": 0.5}, Bundle(Path("bundles/x"))
    assert Choices(threshold=0.2).changes(config, bundle) == {"threshold": 0.2}
    with pytest.raises(IslesError, match=r"(?s)E-INF-15.*bundles/x.*mc_passes"):
        Choices(mc_passes=3).changes(config, bundle)


@pytest.mark.parametrize(("given", "said"), [({"step": (4,)}, "--step 4"), ({"fast": True}, "--fast")])
def test_whole_slices_beside_a_step_are_refused(given: dict, said: str) -> None:
    with pytest.raises(IslesError, match=rf"E-INF-43: whole slices have no step(?s:.*)beside {said}"):
        Choices(**given, whole_slices=True).chosen_step(WINDOWS)
