"""Read, verify and publish files; nothing comes in unchecked and nothing appears under its name before it is whole."""

from __future__ import annotations

import importlib

_HOMES = {
    "Image": "read", "read_image": "read", "inspect_image": "read", "Header": "read", "read_header": "read",
    "Finding": "findings", "refuse": "findings",
    "Displacement": "grid", "same_grid": "grid", "require_same_grid": "grid", "require_same_affines": "grid",
    "publish_text": "publish", "publish_json": "publish", "publish_image": "publish",
    "planned_image": "publish", "publish_together": "publish",
    "VerifiedReader": "reader", "LoadVerifiedd": "reader",
    "publish_state": "weights", "load_state": "weights", "sha256_of": "checksums",
    "Limits": "archives", "pack_zip": "archives", "unpack_zip": "archives",
    "RunFolder": "runs", "in_turn": "turns",
    "judge_config": "configs", "judge_bundle": "configs",
}  # fmt: skip
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = importlib.import_module(f"{__name__}.{_HOMES[name]}")
    value = getattr(home, name)
    globals()[name] = value
    return value
