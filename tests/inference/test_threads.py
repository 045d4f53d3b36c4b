"""The thread count follows the quota."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from monai_isles.errors import IslesError
from monai_isles.inference.malloc import allowed_threads, use_threads


def test_a_quota_below_the_processors_counts(tmp_path: Path) -> None:
    quota = tmp_path / "cpu.max"
    quota.write_text("100000 100000\n")
    assert allowed_threads(quota) == 1
    quota.write_text("50000 100000\n")
    assert allowed_threads(quota) == 1
    quota.write_text("max 100000\n")
    assert allowed_threads(quota) == len(os.sched_getaffinity(0)) == allowed_threads(tmp_path / "none")


def test_the_wish_wins_and_nonsense_is_refused() -> None:
    assert use_threads(1) == 1
    with pytest.raises(IslesError, match="E-USE-10"):
        use_threads(0)
