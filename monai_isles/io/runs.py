"""Hold a run folder: writable, used by one run at a time, complete once ``run.json`` exists."""

from __future__ import annotations

import json
import os
import platform
import shutil
import time
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from monai_isles import __version__
from monai_isles.errors import IslesError, refused
from monai_isles.io import locks
from monai_isles.io.publish import PART, publish_json

RECORD, PREVIOUS = "run.json", "run.previous.json"
_PACKAGES = ("monai", "torch", "numpy", "nibabel", "pytorch-ignite", "scipy")


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
            self._lock = locks.take(self.path)
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
    locks.require_free(path)


def _unwritable(path: Path, found: str) -> IslesError:
    return refused("E-RUN-02", where=str(path), found=found)


def _check_names(path: Path, outputs: tuple[str, ...]) -> None:
    for name in ("", *outputs):
        full = path.absolute() / name
        long = next((part for part in full.parts if len(os.fsencode(part)) > 255), None)
        if long is not None or len(os.fsencode(full)) > 4000:
            result = f"{len(os.fsencode(long or str(full)))} bytes; at most {255 if long else 4000} allowed"
            raise refused("E-RUN-03", where=f"{str(full)[:200]}...", found=result)
