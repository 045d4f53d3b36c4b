"""Freed memory is kept where the C library can be told so."""

from __future__ import annotations

import sys

from monai_isles.inference.malloc import keep_memory


def test_a_linux_process_keeps_its_memory_and_others_are_left_alone(monkeypatch) -> None:
    assert keep_memory.__wrapped__() in (True, False)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_memory.__wrapped__() is False
