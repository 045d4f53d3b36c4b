"""Lock a folder with a file that names its holder; a dead holder on this machine loses the lock."""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from monai_isles.errors import IslesError, refused
from monai_isles.io.publish import PART

Made = TypeVar("Made")


def in_turn(make: Callable[[], Made]) -> Made:
    """Call ``make`` in the first process of this machine, then in the others, which find its result."""
    dist = sys.modules.get("torch.distributed")
    if dist is None or not dist.is_available() or not dist.is_initialized():
        return make()
    if os.environ.get("LOCAL_RANK", "0") != "0":
        dist.barrier()
        return make()
    made = make()
    dist.barrier()
    return made


LOCK = "run.lock"
_NO_LINKS = {errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EIO, errno.EINVAL}
_WRITTEN_AFTER_S = 5.0


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
    try:
        text = lock.read_text()
        if not text and time.time() - lock.stat().st_mtime < _WRITTEN_AFTER_S:
            return {"host": "another process, just starting"}
        content = json.loads(text)
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


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
