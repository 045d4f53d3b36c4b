"""What decides the result of a preprocessing: every setting of every transform, and the code that runs them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from enum import Enum
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from monai.transforms import Compose, RandomizableTrait

import monai_isles
from monai_isles.errors import IslesError

_ROOMS = ("io", "data", "transforms")
_LEFT_OUT = frozenset({"cache_dir", "cache_gb", "log_stats", "R", "_tracing"})


def settings_key(transform: Callable) -> str:
    """Return the SHA-256 of a preprocessing: its transforms with their settings, our code, the versions below it.

    Raises:
        IslesError: ``E-CACHE-01`` for a transform that draws at random, ``E-CACHE-03`` for a setting that cannot be
            written down.
    Source: ours; ``tests/transforms/test_settings_key.py``.
    """
    versions = {name: version(name) for name in ("monai", "torch", "numpy", "nibabel", "scipy")}
    facts = {"settings": described(transform), "code": code_fingerprint(), "versions": versions}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


@lru_cache(maxsize=1)
def code_fingerprint() -> str:
    """Return the SHA-256 of the source of the rooms that a preprocessing runs through."""
    digest = hashlib.sha256()
    home = Path(monai_isles.__file__).parent
    for path in sorted(path for room in _ROOMS for path in (home / room).rglob("*.py")):
        digest.update(path.relative_to(home).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def described(thing: object, seen: tuple[int, ...] = ()) -> object:
    """Return ``thing`` as JSON takes it, the same in every process, without addresses in memory.

    Raises:
        IslesError: ``E-CACHE-01``, ``E-CACHE-03``; see ``settings_key``.
    """
    if isinstance(thing, RandomizableTrait) and type(thing) is not Compose:
        raise IslesError(
            "E-CACHE-01",
            "a random transform cannot be kept",
            where="preprocessing",
            found=type(thing).__name__,
            fix="move it behind the preprocessing, or leave the cache out",
        )
    if thing is None or isinstance(thing, (bool, int, float, str)) and not isinstance(thing, Enum):
        return thing
    if isinstance(thing, Enum):
        return f"{type(thing).__name__}.{thing.name}"
    if isinstance(thing, Path):
        return str(thing)
    if isinstance(thing, (np.ndarray, np.generic, torch.Tensor)):
        array = np.ascontiguousarray(torch.as_tensor(thing).numpy() if isinstance(thing, torch.Tensor) else thing)
        return [str(array.dtype), list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]
    if id(thing) in seen:
        return "itself"
    inside = (*seen, id(thing))
    if isinstance(thing, Mapping):
        return {str(key): described(value, inside) for key, value in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [described(value, inside) for value in thing]
    if isinstance(thing, (set, frozenset)):
        return sorted(json.dumps(described(value, inside), sort_keys=True) for value in thing)
    return _named(thing, inside)


def _named(thing: object, seen: tuple[int, ...]) -> object:
    if isinstance(thing, (torch.dtype, torch.device)):
        return str(thing)
    name = getattr(thing, "__qualname__", None)
    if name is not None:
        if "<" in name:
            raise _unwritten(f"{thing.__module__}.{name}")
        return f"{thing.__module__}.{name}"
    if not hasattr(thing, "__dict__"):
        raise _unwritten(type(thing).__qualname__)
    own = {key: described(value, seen) for key, value in vars(thing).items() if key not in _LEFT_OUT}
    return {"class": f"{type(thing).__module__}.{type(thing).__qualname__}", **own}


def _unwritten(found: str) -> IslesError:
    return IslesError(
        "E-CACHE-03",
        "a setting of the preprocessing cannot be written down",
        where="preprocessing",
        found=found,
        fix="use a function of a module instead, or leave the cache out",
    )
