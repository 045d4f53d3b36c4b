"""Hold a run folder: writable, used by one run at a time, complete once ``run.json`` exists.

A file that names its holder locks the folder; a dead holder on this machine loses the lock.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import shutil
import socket
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from uuid import uuid4

from monai_isles import __version__
from monai_isles.errors import IslesError, refused
from monai_isles.io.findings import WARNING, finding, tell
from monai_isles.io.publish import PART, publish_json

RECORD, PREVIOUS = "run.json", "run.previous.json"
_PACKAGES = ("monai", "torch", "numpy", "nibabel", "pytorch-ignite", "scipy")
LOCK = "run.lock"
_NO_LINKS = {errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EIO, errno.EINVAL}
_WRITTEN_AFTER_S = 5.0


class RunFolder:
    """Hold a folder for one run; ``with RunFolder(out) as run: ...; run.finish({...})``.

    Entering makes the folder, takes its lock, sweeps the parts a killed run left, tries to write, and sets the record
    of an earlier run aside as ``run.previous.json``. ``finish`` writes ``run.json``, so its presence means done.

    Args:
        outputs: relative names the run will write, judged for length now rather than after hours of work.
    Raises: ``E-RUN-01`` held by another run, ``E-RUN-02`` not writable, ``E-RUN-03`` a name too long.
    """

    def __init__(self, path: str | Path, *, outputs: Iterable[str] = ()) -> None:
        self.path, self.outputs = Path(path), tuple(outputs)
        self._lock: Path | None = None
        self._started = 0.0

    def __enter__(self) -> RunFolder:
        _check_names(self.path, self.outputs)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            probe = self.path / f"{PART}probe-{os.getpid()}"
            probe.write_bytes(b"0")
            probe.unlink()
            self._lock = take(self.path)
        except OSError as error:
            raise _unwritable(self.path, error.strerror or str(error)) from error
        sweep_parts(self.path)
        if (self.path / RECORD).exists():
            os.replace(self.path / RECORD, self.path / PREVIOUS)
        self._started = time.monotonic()
        return self

    def __exit__(self, *error: object) -> None:
        if self._lock is not None:
            self._lock.unlink(missing_ok=True)
            self._lock = None

    def finish(self, record: Mapping[str, object]) -> Path:
        """Write ``run.json``: versions and seconds are added to ``record`` (settings, seeds, inputs, cases)."""
        head = {"versions": versions(), "seconds": round(time.monotonic() - self._started, 3)}
        publish_json(self.path / RECORD, {**head, **record})
        return self.path / RECORD


def done_before(record: Path, stamp: Mapping[str, object], files: Iterable[Path] = ()) -> dict[str, Any] | None:
    """Return the record of earlier work with the same settings and complete files, else None."""
    content = read_record(record)
    same = content and all(content.get(key) == value for key, value in stamp.items())
    return content if same and all(path.is_file() for path in files) else None


def tell_replaced(record: Path, key: str, source: object) -> None:
    """Add a remark if earlier work was on another source, by a key of its record: its results will be replaced."""
    former = read_record(record).get(key, source)
    if isinstance(source, Mapping) and isinstance(former, dict):  # another bundle may read other images of the scan
        former = {**source, **{name: former[name] for name in former.keys() & source.keys()}}
    if former != source:
        tell(finding("E-RUN-04", WARNING, where=str(record.parent), found=f"another {key} in {record.name}"))


def read_record(path: Path) -> dict[str, Any]:
    """Return the object of a JSON file, empty where the file is missing or broken."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def versions() -> dict[str, str]:
    """Return the versions that affect a result, without importing the packages."""
    result = {"monai_isles": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            result[name] = version(name)
        except PackageNotFoundError:
            result[name] = "not installed"
    return result


def sweep_parts(folder: Path) -> None:
    """Delete the unfinished files and folders below ``folder`` that a killed run left."""
    for part in list(folder.rglob(f"{PART}*")):
        if part.is_dir() and not part.is_symlink():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)


def judge_folder(path: str | Path, *, outputs: Iterable[str] = ()) -> None:
    """Refuse a folder that ``RunFolder`` would refuse, without writing."""
    path = Path(path)
    _check_names(path, tuple(outputs))
    existing = next(folder for folder in (path.absolute(), *path.absolute().parents) if os.path.lexists(folder))
    if not existing.is_dir():
        raise _unwritable(path, f"{existing} is not a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise _unwritable(path, f"no permission to write into {existing}")
    require_free(path)


def _unwritable(path: Path, found: str) -> IslesError:
    return refused("E-RUN-02", where=str(path), found=found)


def _check_names(path: Path, outputs: tuple[str, ...]) -> None:
    for name in ("", *outputs):
        full = path.absolute() / name
        long = next((part for part in full.parts if len(os.fsencode(part)) > 255), None)
        if long is not None or len(os.fsencode(full)) > 4000:
            result = f"{len(os.fsencode(long or str(full)))} bytes; at most {255 if long else 4000} allowed"
            raise refused("E-RUN-03", where=f"{str(full)[:200]}...", found=result)


def take(folder: Path) -> Path:
    """Create the lock of ``folder`` for this process, taking over one whose process has ended on this host."""
    lock = folder / LOCK
    mine = folder / f"{PART}{uuid4().hex[:8]}-lock"
    mine.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "born": _born(os.getpid())}))
    try:
        for _ in range(3):
            with suppress(FileExistsError):
                _claim(mine, lock)
                return lock
            holder = _holder(lock)
            if holder is not None and not _has_ended(holder):
                break
            _remove_stale(lock, holder)
    finally:
        mine.unlink(missing_ok=True)
    raise _held_error(lock, _holder(lock) or {})


def require_free(folder: Path) -> None:
    """Refuse a folder that a living run holds; nothing is written."""
    holder = _holder(folder / LOCK)
    if holder is not None and not _has_ended(holder):
        raise _held_error(folder / LOCK, holder)


def _claim(mine: Path, lock: Path) -> None:
    """Give the content of ``mine`` the name ``lock``, or raise FileExistsError; never replace another's."""
    # A link appears whole or not at all. Where the file system has none (exFAT, many SMB shares, FUSE), the file is
    # made exclusively and written after.
    try:
        os.link(mine, lock)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with open(lock, "xb") as file:
            file.write(mine.read_bytes())


def _held_error(lock: Path, holder: dict) -> IslesError:
    result = f"held by process {holder.get('pid', 'unknown')} on {holder.get('host', 'unknown')}"
    return refused("E-RUN-01", where=str(lock), found=result)


def _remove_stale(lock: Path, seen: dict | None) -> None:
    aside = lock.with_name(f"{PART}{uuid4().hex[:8]}-stale")
    with suppress(FileNotFoundError):
        os.rename(lock, aside)
        if _holder(aside) != seen:  # somebody took it over between our look and our move
            with suppress(FileExistsError):
                _claim(aside, lock)
        aside.unlink(missing_ok=True)


def _holder(lock: Path) -> dict | None:
    with suppress(OSError):
        about = lock.stat()
        if not about.st_size and time.time() - about.st_mtime < _WRITTEN_AFTER_S:
            return {"host": "another process, just starting"}
    return read_record(lock) or None


def _has_ended(holder: dict) -> bool:
    if holder.get("host") != socket.gethostname():
        return False
    pid = holder.get("pid")
    if not isinstance(pid, int) or pid <= 0:
        return True
    born = holder.get("born")
    return not is_alive(pid) or (born is not None and born != _born(pid))


def is_alive(pid: int) -> bool:
    """Return whether a process of this machine runs."""
    try:
        with suppress(PermissionError):  # it runs for another user
            os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _born(pid: int) -> str | None:
    """Return the start time of a process in system ticks, None if it is unknown."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None
