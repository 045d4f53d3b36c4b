"""Save and load weights and checkpoints: verified tensors and plain values only, never a pickle."""

from __future__ import annotations

import pickle
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import torch

from monai_isles.errors import refused
from monai_isles.io.payload import sha256_of
from monai_isles.io.publish import publish

# what flipped bits in the directory of an archive make zipfile and torch raise
_DAMAGE = (
    RuntimeError, ValueError, LookupError, TypeError, AttributeError, OSError, EOFError, OverflowError, struct.error,
    zlib.error,
)  # fmt: skip
_PLAIN = (bool, int, float, str, bytes, type(None), torch.Tensor, torch.Size, torch.dtype)


def publish_state(path: str | Path, state: Mapping[str, object]) -> None:
    """Save a state dictionary of tensors and plain values, whole or not at all.

    Raises: ``E-SAFE-12`` when something else is in it, ``E-FILE-10`` when it cannot be written.
    """
    stranger = _stranger(state, "state")
    if stranger:
        raise refused("E-SAFE-12", where=str(path), found=stranger)

    def write(tmp: Path) -> None:
        try:
            with tmp.open("wb") as file:  # torch would store the random name of a path
                torch.save(dict(state), file)
        except RuntimeError as error:
            raise OSError(f"{str(error).splitlines()[0]}") from error
        _check_archive(tmp)

    publish(path, write)


def load_state(path: str | Path, *, sha256: str | None = None) -> dict:
    """Load a file of ``publish_state`` on the CPU, after a check of the archive's checksums.

    Args:
        sha256: the expected checksum of the file, where one is known.
    Raises: ``E-FILE-15`` damaged, ``E-SAFE-01`` holds code, ``E-SAFE-03`` another checksum than expected, and others.

    >>> publish_state("model.pt", {"weight": torch.ones(2)})
    >>> load_state("model.pt", sha256="0" * 64)
    Traceback (most recent call last):
    ...
    monai_isles.errors.IslesError: E-SAFE-03: ...
    """
    path = Path(path)
    if not path.is_file():
        raise refused("E-FILE-01", where=str(path), found="no such file", fix="give the weights file, or train first")
    if sha256 is not None and (result := sha256_of(path)) != sha256.lower():
        raise refused("E-SAFE-03", where=str(path), found=f"SHA-256 {result}, expected {sha256}")
    _check_archive(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = [line.strip() for line in str(error).splitlines() if "GLOBAL" in line or "Unsupported" in line]
        words = named[0].split("WeightsUnpickler error: ")[-1].split(" was not an allowed global")[0] if named else ""
        found = words or "instructions that are not allowed in a state dictionary"
        raise refused("E-SAFE-01", where=str(path), found=found) from error
    except _DAMAGE as error:
        raise refused("E-FILE-15", where=str(path), found=f"it cannot be loaded ({type(error).__name__})") from error


def _check_archive(path: Path) -> None:
    try:
        whole = zipfile.is_zipfile(path)
    except zipfile.BadZipFile:
        whole = False
    if not whole:
        with path.open("rb") as file:
            start = file.read(4)
        if start == b"PK\x03\x04":
            raise refused("E-FILE-14", where=str(path), found=f"archive without an end, {path.stat().st_size} bytes")
        raise refused("E-SAFE-02", where=str(path), found=f"starts with {start!r}; old pickles are not read")
    try:
        with zipfile.ZipFile(path) as archive:
            # torch would skip a member that is marked as a folder
            folders = [item.filename for item in archive.infolist() if item.is_dir() or item.external_attr & 0x10]
            damaged = archive.testzip() or next(iter(folders), None)
            graph = any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, *_DAMAGE) as error:
        damaged = str(error) or type(error).__name__
    if damaged:
        raise refused("E-FILE-15", where=str(path), found=f"archive check failed at {damaged}")
    if graph:
        raise refused("E-SAFE-02", where=str(path), found="a TorchScript graph, as model.ts of an export")


def _stranger(value: object, name: str) -> str | None:
    if not isinstance(value, (Mapping, list, tuple)):
        return None if isinstance(value, _PLAIN) else f"{name} is a {type(value).__module__}.{type(value).__qualname__}"
    parts = value.items() if isinstance(value, Mapping) else enumerate(value)
    return next((result for key, part in parts if (result := _stranger(part, f"{name}[{key!r}]"))), None)
