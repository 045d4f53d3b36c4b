"""Read data folders that are URLs: fetch whole files into a local mirror on demand, and check them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import cast
from urllib.parse import unquote, urlsplit

from monai_isles.case import CHECKSUMS
from monai_isles.errors import refused
from monai_isles.io.cache import drop_oldest
from monai_isles.io.payload import sha256_of
from monai_isles.io.publish import PART, publish, publish_json
from monai_isles.io.runs import read_record
from monai_isles.modalities import LABEL, MODALITIES

HOME, BOUND_GB = "MONAI_ISLES_REMOTE", "MONAI_ISLES_REMOTE_GB"
_SOURCE, _DATA = "source.json", "data"


def is_url(place: str | Path) -> bool:
    """Return whether a data folder or a path in a list is a URL (``s3://``, ``https://``, ``file://``, ...)."""
    return isinstance(place, str) and "://" in place


def local_root(dataset_dir: str | Path) -> Path:
    """Return the folder to read from: ``dataset_dir`` itself, or the local mirror of a URL, made if need be.

    Mirrors lie in the folder named by the environment variable ``MONAI_ISLES_REMOTE``, else in
    ``~/.cache/monai_isles/remote``. Inside a mirror the files have the same relative paths as below the URL.
    """
    if not is_url(dataset_dir):
        return Path(dataset_dir).absolute()
    url = str(dataset_dir).rstrip("/")
    mirror = _home() / hashlib.sha256(url.encode()).hexdigest()[:16]
    if not (mirror / _SOURCE).is_file():
        publish_json(mirror / _SOURCE, {"url": url})
    (mirror / _DATA).mkdir(exist_ok=True)
    return mirror / _DATA


def require_here(place: str | Path) -> None:
    """Refuse to list a URL or its mirror: only a data list names its files."""
    source = str(place) if is_url(place) else _source_of(Path(place))
    if source is not None:
        raise refused("E-LIST-71", where=source, found="a URL without a list of its cases")


def require_kept(entries: Sequence[Mapping[str, object]]) -> None:
    """Refuse a mirror too small for all cases: it has dropped files of the first ones."""
    gone = [e for e in entries for key in (*MODALITIES, LABEL) if key in e and not Path(str(e[key])).is_file()]
    if gone:
        result = f"{len(gone)} files fetched and dropped again, {BOUND_GB}={os.environ.get(BOUND_GB, '')}"
        raise refused("E-LIST-75", where=str(_home()), found=result, bound_gb=BOUND_GB)


def relative_path(root: Path, path: str) -> str:
    """Return a path of a data list relative to its data folder; a URL must lie below the folder."""
    if not is_url(path):
        return path
    source = _source_of(root)
    below = path.removeprefix(f"{source}/") if source is not None and path.startswith(f"{source}/") else None
    url = urlsplit(path)
    if source is None and url.scheme == "file" and url.netloc in ("", "localhost"):
        with suppress(ValueError):
            below = Path(unquote(url.path)).relative_to(root).as_posix()
    if below is None or ".." in PurePosixPath(unquote(below)).parts:
        raise refused("E-LIST-70", where=source or str(root), found=path[:120])
    return below


def fetch_entry(entry: Mapping[str, object]) -> dict[str, object]:
    """Return an entry with all files present: fetch those of a mirror, check those with a checksum."""
    stated = entry.get(CHECKSUMS)
    known = stated if isinstance(stated, Mapping) else {}
    for key in (*MODALITIES, LABEL):
        if isinstance(entry.get(key), str):
            _provide(Path(str(entry[key])), known.get(key), str(entry["case"]))
    return dict(entry)


def can_be_fetched(path: Path) -> bool:
    """Return whether a missing file belongs to a mirror."""
    return _source_of(path) is not None


def _provide(path: Path, sha256: str | None, case: str) -> None:
    source, present = _source_of(path), path.is_file()
    if present and source is not None:
        with suppress(OSError):
            os.utime(path)
    if present and (sha256 is None or sha256_of(path) == sha256.lower()):
        return
    if source is not None:
        mirror = cast(Path, _mirror_of(path))
        folder, chain, archive = source.partition("::")  # a file in an archive is named before it: zip://a::s3://b.zip
        url = f"{folder}{'' if folder.endswith('/') else '/'}{path.relative_to(mirror).as_posix()}{chain}{archive}"
        publish(path, lambda tmp: _get(url, tmp, case))
        _trim(mirror.parent.parent, keep=path.parent.parent)
    if sha256 is not None and path.is_file() and (result := sha256_of(path)) != sha256.lower():
        if source is not None:
            path.unlink()
        raise refused("E-LIST-72", where=f"{case}: {path.name}", found=f"SHA-256 {result}, the list has {sha256}")


def _get(url: str, target: Path, case: str) -> None:
    try:
        import fsspec

        files, inside = fsspec.core.url_to_fs(url)
        files.get_file(inside, str(target))
    except (ImportError, ValueError) as error:
        raise refused("E-LIST-73", where=f"{case}: {url}", found=str(error)) from error
    except OSError as error:
        raise refused("E-LIST-74", where=f"{case}: {url}", found=f"{type(error).__name__}: {error}") from error


def _home() -> Path:
    return Path(os.environ.get(HOME) or Path.home() / ".cache/monai_isles/remote").absolute()


def _mirror_of(path: Path) -> Path | None:
    """Return the data folder of the mirror that a path lies in; only folders of our own home are mirrors."""
    with suppress(ValueError):
        name, data, *_ = path.absolute().relative_to(_home()).parts
        return _home() / name / _DATA if data == _DATA else None
    return None


def _source_of(path: Path) -> str | None:
    mirror = _mirror_of(path)
    return None if mirror is None else read_record(mirror.parent / _SOURCE).get("url")


def _trim(home: Path, *, keep: Path) -> None:
    """Delete the least recently used files while the mirrors exceed ``MONAI_ISLES_REMOTE_GB`` (no limit without it)."""
    bound = os.environ.get(BOUND_GB)
    if not bound:
        return
    files = [p for p in home.glob(f"*/{_DATA}/**/*") if p.is_file() and not p.name.startswith(PART)]
    most = float(bound) * 1e9 - sum(p.stat().st_size for p in files if keep in p.parents)
    drop_oldest((p for p in files if keep not in p.parents), most, down_to=most)
