"""What a process builds once and uses for all its cases."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar

Thing = TypeVar("Thing")
_KEPT: dict[Hashable, object] = {}


def kept(key: Hashable, build: Callable[[], Thing]) -> Thing:
    """Return what ``build`` makes, the same object for the same ``key`` as long as this process lives.

    Only the last key is kept: networks of another bundle would fill the memory beside it.

    Source: ours; ``tests/cohort/test_kept.py``.
    """
    if key not in _KEPT:
        _KEPT.clear()
        _KEPT[key] = build()
    return _KEPT[key]
