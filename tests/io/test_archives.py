"""Archives are packed the same way each time, and hostile ones leave nothing behind."""

from __future__ import annotations

import errno
import os
import stat
import zipfile
from pathlib import Path

import pytest

from monai_isles.errors import IslesError
from monai_isles.io.archives import pack_zip, unpack_zip


def make(path: Path, members: dict[str, bytes], *, mode: int = 0o644, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            member = zipfile.ZipInfo(name)
            member.compress_type, member.external_attr = method, mode << 16
            archive.writestr(member, content)
    return path


def refused(path: Path, words: str) -> None:
    before = sorted(os.listdir(path.parent))
    with pytest.raises(IslesError, match=words):
        unpack_zip(path, path.parent / "out")
    assert sorted(os.listdir(path.parent)) == before


@pytest.mark.parametrize("place", ["new", "out", "link", "out/."])
def test_a_folder_comes_back_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "in" / "sub" / "b.txt").write_text("b")
    (tmp_path / "in" / "a.txt").write_text("a")
    for name in ("one.zip", "two.zip"):
        pack_zip(tmp_path / "in", tmp_path / name)
        os.utime(tmp_path / "in" / "a.txt", (0, 0))
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to("out")
    monkeypatch.chdir(tmp_path / "out")
    out = Path(".") if place == "out/." else tmp_path / place
    unpack_zip(tmp_path / "one.zip", out)
    assert (out / "sub" / "b.txt").read_text() == "b" and (out / "a.txt").read_text() == "a"
    assert not list(tmp_path.rglob(".part-*"))


def test_an_empty_folder_is_not_packed(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(IslesError, match=r"E-FILE-16(?s:.*)no files"):
        pack_zip(tmp_path / "in", tmp_path / "a.zip")


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "a/../../x", "C:/x", "..\\x"])
def test_members_that_leave_the_folder_are_refused_and_named(tmp_path: Path, name: str) -> None:
    refused(make(tmp_path / "a.zip", {"good.txt": b"1", name: b"2"}), r"E-SAFE-04(?s:.*)member '")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO])
def test_links_and_special_files_are_refused(tmp_path: Path, kind: int) -> None:
    refused(make(tmp_path / "a.zip", {"link": b"/etc/passwd"}, mode=kind | 0o777), r"E-SAFE-05(?s:.*)member 'link'")


def test_a_bomb_is_refused_by_its_ratio(tmp_path: Path) -> None:
    refused(make(tmp_path / "a.zip", {"big": bytes(20_000_000)}), r"E-SAFE-06(?s:.*)20000000 bytes(?s:.*)ratio 100")


def test_total_size_and_number_of_members_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path / "a.zip", {f"{i}": os.urandom(100) for i in range(5)})
    with monkeypatch.context() as patch:
        patch.setattr("monai_isles.io.archives.MOST_MEMBERS", 4)
        refused(path, r"E-SAFE-06(?s:.*)5 members(?s:.*)limits: 4 members")
    with monkeypatch.context() as patch:
        patch.setattr("monai_isles.io.archives.MOST_BYTES", 400)
        refused(path, r"E-SAFE-06(?s:.*)500 bytes from(?s:.*)limits: 10000 members, 400 bytes")
    unpack_zip(path, tmp_path / "out")


def test_one_name_twice_is_refused(tmp_path: Path) -> None:
    refused(make(tmp_path / "a.zip", {"A.txt": b"1", "a.txt": b"2"}), r"E-SAFE-15(?s:.*)'a.txt'")


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path / "a.zip", {"good.txt": b"1" * 50, "bad.txt": b"hello world" * 20}, method=zipfile.ZIP_STORED)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"hello world", b"hello w0rld", 1))
    refused(path, r"E-FILE-17(?s:.*)Bad CRC-32")
    path.write_bytes(whole[:100])
    refused(path, r"E-FILE-17(?s:.*)not a zip file")


def test_a_full_disk_is_not_a_damaged_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = make(tmp_path / "a.zip", {"x": b"1"})
    monkeypatch.setattr(zipfile.ZipFile, "extractall", fill)
    refused(path, r"E-FILE-10(?s:.*)out\n  found No space left(?s:.*)free space")


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path / "a.zip", {"x": b"1"})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    refused(path, r"E-FILE-18: folder is in use")
