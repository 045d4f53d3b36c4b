"""A folder of registrations already done, so that a head is registered once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from monai_isles.data.remote import is_url, local_root
from monai_isles.io.cache import Cache
from monai_isles.transforms.mirror import Mirror
from monai_isles.transforms.mirror_volume import VolumeMirror
from monai_isles.transforms.registration import Registration

ALGORITHM = 1
FOLDER = ".monai_isles_cache"


def cache_folder(beside: str | Path) -> Path:
    """Return the cache's folder inside the folder of the data, or ``beside`` itself when it is one already.

    That of a URL lies in its local mirror.
    """
    folder = local_root(beside) if is_url(beside) else Path(beside)
    return folder if folder.name == FOLDER else folder / FOLDER


def cache_key(head: np.ndarray, affine: np.ndarray, settings: Mapping[str, object]) -> str:
    """Return the SHA-256 of everything a registration depends on: voxels, shape, affine, settings, algorithm version.

    Source: ours; ``tests/transforms/test_mirror_cache.py``.
    """
    facts = {"algorithm": ALGORITHM, "shape": head.shape, **settings}
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    digest.update(np.ascontiguousarray(affine, "<f8").tobytes())
    digest.update(np.ascontiguousarray(head, "<f4").tobytes())
    return digest.hexdigest()


def stored(folder: Path, key: str) -> Registration | None:
    """Return the registration kept under ``key``; None when there is none, or when its file is damaged and was dropped.

    Source: ours; ``tests/transforms/test_mirror_cache.py``.
    """
    payload = _cache(folder).read(key)
    if payload is None:
        return None
    fields = json.loads(payload)
    matrix, shift_mm = np.array(fields.pop("matrix"), float), np.array(fields.pop("shift_mm"), float)
    mirror = Mirror(matrix, shift_mm) if len(shift_mm) == 2 else VolumeMirror(matrix, shift_mm)
    return Registration(mirror=mirror, **fields)


def store(folder: Path, key: str, registration: Registration) -> None:
    """Keep a registration under ``key``; processes that share the folder see the whole entry or none.

    Raises:
        IslesError: ``E-FILE-10`` when the folder cannot be written.

    Source: ours; ``tests/transforms/test_mirror_cache.py``.
    """
    fields = asdict(registration)
    mirror = fields.pop("mirror")
    result = {"matrix": mirror["matrix"].tolist(), "shift_mm": mirror["shift_mm"].tolist(), **fields}
    _cache(folder).write(key, json.dumps(result).encode())


def _cache(folder: Path) -> Cache:
    return Cache(folder, "mirror")
