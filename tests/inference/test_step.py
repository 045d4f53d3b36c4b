"""A step on the command line: one number for all axes, one an axis, or the bundle's coarser one."""

from __future__ import annotations

from pathlib import Path

import pytest

from monai_isles.bundle import Bundle
from monai_isles.errors import IslesError
from monai_isles.inference.predictor import Choices, chosen_step
from monai_isles.io import findings

WINDOWS = {"step": [4, 4, 1], "fast_step": [12, 12, 8]}


def test_one_number_counts_for_every_axis_and_none_leaves_the_bundle_alone() -> None:
    assert chosen_step(WINDOWS, [8]) == [8, 8, 8] and chosen_step(WINDOWS, [8, 8, 2]) == [8, 8, 2]
    assert chosen_step(WINDOWS, None) is None and chosen_step({}, None) is None
    assert chosen_step(WINDOWS, None, fast=True) == [12, 12, 8]


def test_a_step_for_a_bundle_without_windows_is_refused() -> None:
    with pytest.raises(IslesError, match=r"(?s)E-INF-13.*--step.*no step"):
        chosen_step({"threshold": 0.5}, [4])


def test_fast_on_a_bundle_without_a_coarser_step_is_remarked_and_changes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    findings.say_once.cache_clear()
    assert chosen_step({"step": [3, 3]}, None, fast=True) is None and chosen_step({}, None, fast=True) is None
    assert [record.message for record in caplog.records] == [
        "--fast changes nothing: this bundle has no larger step between windows"
    ]


def test_a_wrong_number_of_numbers_and_both_options_at_once_are_refused() -> None:
    with pytest.raises(IslesError, match=r"(?s)E-INF-14.*\[4, 4\].*\[4, 4, 1\]"):
        chosen_step(WINDOWS, [4, 4])
    with pytest.raises(IslesError, match=r"(?s)E-INF-14.*beside --fast"):
        chosen_step(WINDOWS, [4], fast=True)


def test_an_option_that_would_change_nothing_is_refused() -> None:
    config, bundle = {"threshold": 0.5}, Bundle(Path("bundles/x"))
    assert Choices(threshold=0.2).changes(config, bundle) == {"threshold": 0.2}
    with pytest.raises(IslesError, match=r"(?s)E-INF-15.*bundles/x.*mc_passes"):
        Choices(mc_passes=3).changes(config, bundle)


@pytest.mark.parametrize(("given", "said"), [({"step": [4]}, "--step 4"), ({"step": None, "fast": True}, "--fast")])
def test_whole_slices_beside_a_step_are_refused(given: dict, said: str) -> None:
    with pytest.raises(IslesError, match=rf"E-INF-43: whole slices have no step(?s:.*)beside {said}"):
        chosen_step(WINDOWS, given["step"], fast=given.get("fast", False), whole_slices=True)
