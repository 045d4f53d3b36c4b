"""Cache preprocessed cases under a key of the content of their files and of every setting."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import re
from collections.abc import Callable, Hashable, Mapping
from enum import Enum
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, RandomizableTrait, Transform
from torch import Tensor

from monai_isles import __version__
from monai_isles.errors import IslesError, refused
from monai_isles.io.cache import Cache
from monai_isles.io.clock import sidecar_sha256
from monai_isles.io.findings import Finding, collect_remarks, tell
from monai_isles.io.payload import sha256_of
from monai_isles.modalities import LABEL, MODALITIES

_LEFT_OUT = frozenset({"log_stats", "R", "_tracing"})


def settings_key(transform: Callable) -> str:
    """Return the SHA-256 of a preprocessing: its transforms with their settings, and the library versions."""
    versions = {name: version(name) for name in ("monai", "torch", "numpy", "nibabel", "scipy")}
    facts = {"settings": describe(transform), "versions": {"monai_isles": __version__, **versions}}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def describe(thing: object, seen: tuple[int, ...] = ()) -> object:
    """Return ``thing`` as JSON data that is equal in every process, without memory addresses."""
    if isinstance(thing, RandomizableTrait) and type(thing) is not Compose:
        raise refused("E-CACHE-01", where="preprocessing", found=type(thing).__name__)
    if isinstance(thing, Enum):
        return f"{type(thing).__name__}.{thing.name}"
    if thing is None or isinstance(thing, (bool, int, float, str)):
        return thing
    if isinstance(thing, (Path, torch.dtype, torch.device)):
        return str(thing)
    if isinstance(thing, (np.ndarray, np.generic, torch.Tensor)):
        array = np.ascontiguousarray(torch.as_tensor(thing).numpy() if isinstance(thing, torch.Tensor) else thing)
        return [str(array.dtype), list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]
    if id(thing) in seen:
        return "itself"
    inside = (*seen, id(thing))
    if isinstance(thing, Mapping):
        return {str(key): describe(value, inside) for key, value in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [describe(value, inside) for value in thing]
    if isinstance(thing, (set, frozenset)):
        return sorted(json.dumps(describe(value, inside), sort_keys=True) for value in thing)
    name = getattr(thing, "__qualname__", None)
    if name is not None and "<" not in name:
        return f"{thing.__module__}.{name}"
    if name is not None or not hasattr(thing, "__dict__"):
        result = type(thing).__qualname__ if name is None else f"{thing.__module__}.{name}"
        raise refused("E-CACHE-03", where="preprocessing", found=result)
    own = {key: describe(value, inside) for key, value in vars(thing).items() if key not in _LEFT_OUT}
    return {"class": f"{type(thing).__module__}.{type(thing).__qualname__}", **own}


log = logging.getLogger(__name__)
_FILES, _NAMES = (*MODALITIES, LABEL), ("case", "subject", "fold", "sha256")
_PLAIN = (bool, int, float, str, bytes, type(None))
_REMARKS, _FIELDS = "remarks of the preparation", ("code", "severity", "where", "found", "fix", "fault")


class KeptPreparation(Transform):
    """Apply a preprocessing, or return its cached result for the same content.

    The key is the SHA-256 of the bytes of every file of the entry, of its other values that may matter, and of
    ``settings_key``. Names and paths of a case are not part of it; they are restored when an entry is read. Folds,
    runs and processes share the folder (``monai_isles.io.cache.Cache``).

    Args:
        transform: deterministic, from an entry of paths to tensors.
        cache_dir: folder of the cache; None applies ``transform`` every time.
        cache_gb: limit of the folder in 10^9 bytes; None for no limit.
    Raises: ``E-CACHE-01`` when ``transform`` cannot be cached, ``E-CACHE-02`` a limit that is not positive, and others.

    >>> prepare = KeptPreparation(lambda case: {"image": 2 * case["image"]}, cache_dir=None)  # without a cache
    >>> prepare({"image": torch.ones(1)})
    {'image': tensor([2.])}
    """

    def __init__(
        self,
        transform: Callable[[Mapping[Hashable, Any]], Mapping[Hashable, Any]],
        *,
        cache_dir: str | Path | None = None,
        cache_gb: float | None = 100.0,
    ) -> None:
        self.transform = transform
        self.cache = None if cache_dir is None else Cache(cache_dir, limit_gb=cache_gb)
        self.settings = None if self.cache is None else settings_key(transform)

    def __repr__(self) -> str:
        try:
            return f"KeptPreparation({json.dumps(describe(self.transform), sort_keys=True)})"
        except IslesError:  # a transform that cannot be described, which no cache takes
            return "KeptPreparation"

    @property
    def transforms(self) -> tuple:
        """Return the transforms inside, like the attribute of MONAI's ``Compose``."""
        return tuple(getattr(self.transform, "transforms", (self.transform,)))

    def __call__(self, data: Mapping[Hashable, Any]) -> Mapping[Hashable, Any]:
        if self.cache is None:
            return self.transform(data)
        key = self.key(data)
        kept = self.cache.read(key)
        if kept is None:
            with self.cache.making(key):
                kept = self.cache.read(key)  # another process may have made it meanwhile
                if kept is None:
                    with collect_remarks() as remarks:
                        made = self.transform(data)
                    packed = _pack({**made, _REMARKS: _without_names(remarks, data)}, data)
                    if packed is not None:
                        self.cache.write(key, packed)
                    return made
        return _unpack(kept, data)

    def key(self, data: Mapping[Hashable, Any]) -> str:
        """Return the key of a case: every file of the entry counts, read or not."""
        files = {str(key): sha256_of(Path(str(data[key]))) for key in _FILES if data.get(key) is not None}
        files |= sidecar_sha256(data)
        other = {str(key): value for key, value in data.items() if key not in (*_FILES, *_NAMES)}
        facts = {"files": files, "other": other, "settings": self.settings}
        return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def _pack(made: Mapping[Hashable, Any], entry: Mapping[Hashable, Any]) -> bytes | None:
    """Return a preprocessed case as bytes, the entry's own texts replaced by their keys; None when it holds code."""
    # of equal texts the first key counts: ``case`` before ``subject``, which may differ when the case is read again
    names = {value: key for key, value in reversed(list(entry.items())) if isinstance(value, str)}
    try:
        plain = _plain(dict(made), names)
    except TypeError as error:
        log.warning("a preprocessed case is not kept: %s", error)
        return None
    buffer = io.BytesIO()
    torch.save(plain, buffer)
    return buffer.getvalue()


def _unpack(payload: bytes, entry: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
    """Return a cached case, and repeat the remarks made when it was prepared."""
    case = _restore(torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True), entry)
    for fields in case.pop(_REMARKS, ()):
        remark = dict(zip(_FIELDS, fields, strict=True))
        remark["where"] = re.sub(r"<(\w+)>", lambda key: str(entry.get(key[1], key[0])), remark["where"])
        tell(Finding(**remark))
    return case


def _without_names(remarks: list[Finding], entry: Mapping[Hashable, Any]) -> list[list[str]]:
    """Return remarks as lists, the entry's own texts in ``where`` replaced by their keys."""
    keys = {value: key for key, value in reversed(list(entry.items())) if isinstance(value, str) and value}
    # Whole words, the longest first, in one pass: a case may be named ``c``, or ``case``.
    words = "|".join(re.escape(text) for text in sorted(keys, key=len, reverse=True)) or "(?!)"
    kept = []
    for remark in remarks:
        where = re.sub(rf"(?<!\w)({words})(?!\w)", lambda text: f"<{keys[text[0]]}>", remark.where)
        kept.append([where if name == "where" else getattr(remark, name) for name in _FIELDS])
    return kept


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


def _restore(value: Any, entry: Mapping[Hashable, Any]) -> Any:
    if not isinstance(value, tuple):
        return value
    kind, content = value
    if kind == "meta":
        parts = _restore(content, entry)
        return MetaTensor(parts["tensor"], meta=parts["meta"], applied_operations=parts["operations"])
    if kind == "array":
        return content.numpy()
    if kind == "entry":
        return entry[content]
    if kind == "dict":
        return {key: _restore(item, entry) for key, item in content.items()}
    items = [_restore(item, entry) for item in content]
    return items if kind == "list" else tuple(items)
