"""Compute SHA-256 checksums of files."""

from __future__ import annotations

import hashlib
from pathlib import Path


def sha256_of(path: str | Path) -> str:
    """Return the hexadecimal SHA-256 of the bytes of ``path``.

    >>> from monai_isles.io import publish_text
    >>> publish_text("note.txt", "abc")
    >>> sha256_of("note.txt")[:8]
    'ba7816bf'
    """
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
