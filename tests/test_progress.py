"""A progress bar needs no terminal, nor any standard error."""

from __future__ import annotations

import sys

import pytest

from monai_isles.progress import progress


def test_a_closed_standard_error_shows_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert list(progress([1, 2], "cases")) == [1, 2]
