"""From a lesion probability to a lesion mask."""

from __future__ import annotations

import importlib

_HOMES = {"Binarised": "chain", "binarise": "components", "drop_small": "components", "search_grid": "components"}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
