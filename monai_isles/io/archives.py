"""Pack reproducible zip archives, and unpack only harmless ones."""

from __future__ import annotations

import errno
import shutil
import stat
import zipfile
from collections import Counter
from pathlib import Path, PurePosixPath

from monai_isles.errors import refused
from monai_isles.io.publish import PART, folder_aside, publish

_EPOCH = (1980, 1, 1, 0, 0, 0)
MOST_MEMBERS, MOST_BYTES, MOST_PER_BYTE = 10_000, 8 * 2**30, 100.0  # unpacked, and per byte packed


def pack_zip(folder: str | Path, path: str | Path) -> None:
    """Pack the files below ``folder``, sorted and without dates, so that equal folders give equal archives."""
    folder, path = Path(folder), Path(path)
    files = sorted(
        (p.relative_to(folder).as_posix(), p)
        for p in folder.rglob("*")
        if p.is_file() and not p.is_symlink() and not p.name.startswith(PART) and p.resolve() != path.resolve()
    )
    if not files:
        raise refused("E-FILE-16", where=str(folder), found="no files")

    def write(tmp: Path) -> None:
        with zipfile.ZipFile(tmp, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, file in files:
                member = zipfile.ZipInfo(name, _EPOCH)
                member.compress_type, member.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                with file.open("rb") as source, archive.open(member, "w", force_zip64=True) as target:
                    shutil.copyfileobj(source, target)

    publish(path, write, inputs=[file for _, file in files])


def unpack_zip(path: str | Path, folder: str | Path) -> None:
    """Unpack aside, then move to ``folder``; nothing stays behind when a member is refused."""
    path, folder = Path(path), Path(folder).absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise refused("E-FILE-18", where=str(folder), found="it exists and is not empty")
    try:
        with folder_aside(folder) as aside, zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _judge(members, path)
            aside.mkdir(parents=True)
            archive.extractall(aside)
            if folder.exists():  # a link, a disk or the current folder cannot be replaced
                for part in aside.iterdir():
                    shutil.move(part, folder)
            else:
                aside.rename(folder)
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise refused("E-FILE-10", where=str(folder), found=str(error.strerror)) from error
        raise refused("E-FILE-17", where=str(path), found=str(error)) from error


def _judge(members: list[zipfile.ZipInfo], path: Path) -> None:
    for member in members:
        _judge_member(member, path)
    total, packed = sum(m.file_size for m in members), max(1, path.stat().st_size)
    ratios = [m.file_size / max(1, m.compress_size) for m in members if m.file_size > 2**20]
    ratio = max(total / packed, *ratios, 0.0)
    if len(members) > MOST_MEMBERS or total > MOST_BYTES or ratio > MOST_PER_BYTE:
        held = f"{len(members)} members, {total} bytes from {packed} (ratio {ratio:.0f})"
        allowed = f"{MOST_MEMBERS} members, {MOST_BYTES} bytes, ratio {MOST_PER_BYTE:g}"
        raise refused("E-SAFE-06", where=str(path), found=f"{held}; limits: {allowed}")
    counts = Counter(member.filename.casefold().rstrip("/") for member in members)
    twice = next((name for name, count in counts.items() if count > 1), None)
    if twice is not None:
        raise refused("E-SAFE-15", where=str(path), found=repr(twice))


def _judge_member(member: zipfile.ZipInfo, path: Path) -> None:
    name, where = member.filename, f"{path}: member {member.filename!r}"
    if name.startswith("/") or any(sign in name for sign in "\\:\0") or ".." in PurePosixPath(name).parts:
        raise refused("E-SAFE-04", where=where, found="an absolute path, a drive or '..'")
    mode = member.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise refused("E-SAFE-05", where=where, found=f"mode {stat.filemode(mode)}")
