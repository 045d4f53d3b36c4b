"""Keep results in a folder under the content they were made from: shared, checked, limited in size."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from monai_isles.errors import refused
from monai_isles.io.publish import PART, publish

log = logging.getLogger(__name__)
_SLACK, _LOW, _DEAD_S = 0.02, 0.9, 3600.0


class Cache:
    """Keep bytes under keys in files ``case-<key>.entry``; the first line of a file is its checksum.

    Processes share the folder. An entry appears complete or not at all. A damaged one is deleted with a warning and
    made again. The least recently used entries are deleted when the folder exceeds its limit.

    Args:
        folder: made with the first entry.
        limit_gb: bytes that the entries may take, in 10^9 (a few percent more while several processes write); None for
            no bound.
    """

    def __init__(self, folder: str | Path, *, limit_gb: float | None = None) -> None:
        if limit_gb is not None and not limit_gb > 0:
            raise refused("E-CACHE-02", where=str(folder), found=f"{limit_gb:g} GB")
        self.folder = Path(folder)
        self._limit = None if limit_gb is None else limit_gb * 1e9
        self._unseen = float("inf")

    def read(self, key: str) -> bytes | None:
        """Return the entry of ``key``; None if there is none, or if it was damaged and was deleted."""
        path = self.path(key)
        try:
            content = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        text, _, payload = content.partition(b"\n")
        if text != _checksum(key, payload):
            log.warning("dropped a damaged cache entry, it is made again: %s", path.name)
            path.unlink(missing_ok=True)
            return None
        with suppress(OSError):
            os.utime(path)
        return payload

    def write(self, key: str, payload: bytes) -> None:
        """Store ``payload`` under ``key``, then delete the oldest entries beyond the limit."""
        size = len(payload) + 65
        if self._limit is not None and size > self._limit:
            log.warning("an entry of %.1f GB does not fit into the cache %s", size / 1e9, self.folder)
            return
        publish(self.path(key), lambda tmp: tmp.write_bytes(b"%s\n%s" % (_checksum(key, payload), payload)))
        self._unseen += size
        if self._limit is not None and self._unseen > _SLACK * self._limit:
            self._trim(self._limit)

    @contextmanager
    def making(self, key: str) -> Iterator[None]:
        """Hold ``key`` while its entry is made, so that other processes wait for it instead of making it too.

        The system gives the hold back when a process dies. Where a file system has no locks, all of them make it.

        Raises: ``E-RUN-02`` where the folder cannot be written; entries of a read-only folder can be read.
        """
        lock = self.folder / f"case-{key}.lock"
        try:
            import fcntl
        except ImportError:
            yield
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = lock.open("wb")
        except OSError as error:
            fault, fix = "cache cannot be written", "choose a writable folder for the cache, or leave it out"
            found = error.strerror or str(error)
            raise refused("E-RUN-02", where=str(self.folder), found=found, fault=fault, fix=fix) from error
        with file:
            with suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)

    def path(self, key: str) -> Path:
        """Return where the entry of ``key`` lies."""
        return self.folder / f"case-{key}.entry"

    def _trim(self, limit: float) -> None:
        for part in self.folder.glob(f"{PART}*"):
            with suppress(FileNotFoundError):
                if time.time() - part.stat().st_mtime > _DEAD_S:
                    part.unlink()
        self._unseen = 0
        drop_oldest(self.folder.glob("*.entry"), limit, down_to=_LOW * limit)


def drop_oldest(files: Iterable[Path], limit: float, *, down_to: float) -> None:
    """Delete the least recently used files if all of them take more than ``limit`` bytes, until they take less."""
    facts = []
    for file in files:
        with suppress(FileNotFoundError):
            facts.append((file.stat().st_mtime_ns, file.stat().st_size, file))
    total = sum(size for _, size, _ in facts)
    for _, size, file in sorted(facts) if total > limit else ():
        file.unlink(missing_ok=True)
        total -= size
        if total <= down_to:
            return


def _checksum(key: str, payload: bytes) -> bytes:
    digest = hashlib.sha256(f"{key}\n".encode())
    digest.update(payload)
    return digest.hexdigest().encode()
