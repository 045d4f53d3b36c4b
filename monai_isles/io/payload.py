"""Read all bytes of an image file once, after a check of its size; compute SHA-256 of files."""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from pathlib import Path

from monai_isles.errors import IslesError, refused

GZIP_MAGIC = b"\x1f\x8b"
NIFTI_STARTS = {b"\x5c\x01\0\0", b"\0\0\x01\x5c", b"\x1c\x02\0\0", b"\0\0\x02\x1c"}
HEADER_BYTES = 544
SPARE_BYTES = 2**26
_BLOCK = 2**22
COPY_AGAIN = "copy the file again from its source, and compare checksums"


def check_file(path: Path, where: str) -> None:
    """Refuse a path that cannot be an image file, before reading it."""
    if path.is_symlink() and not path.exists():
        result = f"a link to {path.readlink()}, which is not there"
        raise refused("E-FILE-01", where=where, found=result, fix="fetch its content: git annex get, datalad get")
    if not path.exists():
        raise refused("E-FILE-01", where=where, found="no such file", fix="correct the path or restore the file")
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise refused("E-FILE-08", where=where, found=str(error.strerror)) from error
    if not start:
        raise refused("E-FILE-02", where=where, found="0 bytes", fix=COPY_AGAIN)
    name = path.name.lower()
    zipped, gzip_bytes = name.endswith(".nii.gz"), start.startswith(GZIP_MAGIC)
    if not zipped and not name.endswith(".nii"):
        result, fix = f"suffix {path.suffix or 'none'}", "convert it to .nii or .nii.gz"
        raise refused("E-FILE-03", where=where, found=result, fix=fix)
    if (gzip_bytes and not zipped) or (zipped and start in NIFTI_STARTS):
        was, should = ("gzip bytes", ".nii.gz") if gzip_bytes else ("uncompressed NIfTI bytes", ".nii")
        raise refused("E-FILE-04", where=where, found=f"{was} under {path.name}", should=should)


def peek(path: Path, where: str) -> bytes:
    """Return the first bytes of the (uncompressed) file, enough for any NIfTI header."""
    try:
        with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
            return file.read(HEADER_BYTES)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _damage_error(error, where, path) from error


def read_payload(path: Path, where: str, *, limit: int) -> tuple[bytes, str]:
    """Return the uncompressed bytes and the SHA-256 of the file as stored."""
    if path.stat().st_size > limit + SPARE_BYTES:
        result = f"{path.stat().st_size} bytes in the file, at most {limit} wanted"
        raise refused("E-FILE-20", where=where, found=result)
    stored = path.read_bytes()
    digest = hashlib.sha256(stored).hexdigest()
    if not path.name.lower().endswith(".gz"):
        return stored, digest
    try:
        raw = gzip.GzipFile(fileobj=io.BytesIO(stored)).read(limit + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _damage_error(error, where, path) from error
    if len(raw) > limit:
        result = f"more than {limit} bytes once uncompressed, from a file of {len(stored)} bytes"
        raise refused("E-FILE-20", where=where, found=result)
    return raw, digest


def same_but_packed(file: Path, other: Path) -> bool:
    """Return whether one file is the gzipped other one, as ``gunzip -k`` leaves them; False if one is unreadable."""
    names = [path.name.lower() for path in (file, other)]
    if file.parent != other.parent or sorted(names)[0] + ".gz" != sorted(names)[1]:
        return False
    plain, packed = (file, other) if names[1].endswith(".gz") else (other, file)
    try:
        with plain.open("rb") as first, gzip.open(packed) as second:
            while (block := first.read(_BLOCK)) == second.read(_BLOCK):
                if not block:
                    return True
    except (OSError, EOFError, zlib.error):
        return False
    return False


def _damage_error(error: Exception, where: str, path: Path) -> IslesError:
    size = path.stat().st_size
    if isinstance(error, EOFError):
        result = f"the gzip stream ends early, after {size} bytes"
        return refused("E-FILE-05", where=where, found=result, fix=COPY_AGAIN)
    with path.open("rb") as file:
        start = file.read(24)
    if "Not a gzipped file" in str(error) and not start.startswith(GZIP_MAGIC):
        result, fix = f"neither gzip nor NIfTI: starts with {start!r}", "give a .nii or .nii.gz file"
        return refused("E-FILE-03", where=where, found=result, fix=fix)
    return refused("E-FILE-06", where=where, found=f"gzip check failed ({error}) in {size} bytes", fix=COPY_AGAIN)


def sha256_of(path: str | Path) -> str:
    """Return the hexadecimal SHA-256 of the bytes of ``path``."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
