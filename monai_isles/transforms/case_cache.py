"""Preprocess a case once: the result is kept by the content of its files and every setting, and found again."""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Callable, Hashable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Transform
from torch import Tensor

from monai_isles.io.checksums import sha256_of
from monai_isles.io.cache import Cache
from monai_isles.modalities import LABEL, MODALITIES
from monai_isles.transforms.settings_key import settings_key

log = logging.getLogger(__name__)
_FILES, _NAMES = (*MODALITIES, LABEL), ("case", "subject", "fold", "rule_maps", "sha256")
_PLAIN = (bool, int, float, str, bytes, type(None))


class KeptPreparation(Transform):
    """Apply a preprocessing, or give back what it gave for the same content before.

    The key is the SHA-256 of the bytes of every file of the entry, of its other values that may matter, and of
    ``settings_key``. Names and paths of a case are not part of it: they are put in again when an entry is read. Folds,
    runs and processes share the folder (``monai_isles.io.cache.Cache``).

    Args:
        transform: deterministic, from an entry of paths to tensors.
        cache_dir: folder of the cache; None applies ``transform`` every time.
        cache_gb: bound of the folder in 10^9 bytes; None for no bound.
    Raises:
        IslesError: ``E-CACHE-01`` and ``E-CACHE-03`` when ``transform`` cannot be kept, ``E-CACHE-02`` a bound that
            holds nothing, ``E-FILE-10`` the folder cannot be written, and what ``transform`` raises.
    Source: ours; ``tests/transforms/test_case_cache.py``.
    """

    def __init__(
        self,
        transform: Callable[[Mapping[Hashable, Any]], Mapping[Hashable, Any]],
        *,
        cache_dir: str | Path | None = None,
        cache_gb: float | None = 100.0,
    ) -> None:
        self.transform = transform
        self.cache = None if cache_dir is None else Cache(cache_dir, "case", limit_gb=cache_gb)
        self.settings = None if self.cache is None else settings_key(transform)

    @property
    def transforms(self) -> tuple:
        """Return the transforms inside, as a chain of transforms has them."""
        return tuple(getattr(self.transform, "transforms", (self.transform,)))

    def __call__(self, data: Mapping[Hashable, Any]) -> Mapping[Hashable, Any]:
        if self.cache is None:
            return self.transform(data)
        key = self.key(data)
        kept = self.cache.read(key)
        if kept is not None:
            return _unpacked(kept, data)
        with self.cache.making(key):
            kept = self.cache.read(key)
            if kept is not None:
                return _unpacked(kept, data)
            made = self.transform(data)
            packed = _packed(made, data)
            if packed is not None:
                self.cache.write(key, packed)
        return made

    def key(self, data: Mapping[Hashable, Any]) -> str:
        """Return the key of a case: every file of the entry counts, read or not."""
        files = {str(key): sha256_of(Path(str(data[key]))) for key in _FILES if data.get(key) is not None}
        other = {str(key): value for key, value in data.items() if key not in (*_FILES, *_NAMES)}
        facts = {"files": files, "other": other, "settings": self.settings}
        return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def _packed(made: Mapping[Hashable, Any], entry: Mapping[Hashable, Any]) -> bytes | None:
    """Return a preprocessed case as bytes, the entry's own texts replaced by their keys; None when it holds code."""
    names = {value: key for key, value in entry.items() if isinstance(value, str)}
    try:
        plain = _plain(dict(made), names)
    except TypeError as error:
        log.warning("a preprocessed case is not kept: %s", error)
        return None
    buffer = io.BytesIO()
    torch.save(plain, buffer)
    return buffer.getvalue()


def _unpacked(payload: bytes, entry: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
    return _restored(torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True), entry)


def _plain(value: Any, names: Mapping[str, Hashable]) -> Any:
    if isinstance(value, MetaTensor):
        parts = {"tensor": value.as_tensor().contiguous(), "meta": value.meta, "operations": value.applied_operations}
        return ("meta", _plain(parts, names))
    if isinstance(value, Tensor):
        return value.detach().contiguous().clone()
    if isinstance(value, np.ndarray):
        return ("array", torch.from_numpy(np.ascontiguousarray(value)))
    if isinstance(value, np.generic):
        return _plain(value.item(), names)
    if isinstance(value, Enum) and isinstance(value, str):
        return str(value.value)
    if isinstance(value, str) and value in names:
        return ("entry", str(names[value]))
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Mapping):
        return ("dict", {_plain(k, {}): _plain(v, names) for k, v in value.items()})
    if isinstance(value, (list, tuple)):
        return (type(value).__name__ if type(value) in (list, tuple) else "tuple", [_plain(v, names) for v in value])
    raise TypeError(f"it holds a {type(value).__module__}.{type(value).__qualname__}")


def _restored(value: Any, entry: Mapping[Hashable, Any]) -> Any:
    if not isinstance(value, tuple):
        return value
    kind, content = value
    if kind == "meta":
        parts = _restored(content, entry)
        return MetaTensor(parts["tensor"], meta=parts["meta"], applied_operations=parts["operations"])
    if kind == "array":
        return content.numpy()
    if kind == "entry":
        return entry[content]
    if kind == "dict":
        return {key: _restored(one, entry) for key, one in content.items()}
    items = [_restored(one, entry) for one in content]
    return items if kind == "list" else tuple(items)
