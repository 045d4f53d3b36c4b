"""``case.yml``: one small file in a case folder that says which file is which modality."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from monai_isles.data.folder import walk
from monai_isles.data.scans import TRAINING, Scan, no_case, section_in
from monai_isles.errors import IslesError, refused
from monai_isles.modalities import LABEL, MODALITIES

NAMES = ("case.yml", "case.yaml")
MAX_BYTES, MAX_BRACKETS = 16384, 100
_KNOWN = {"images", "label", "label_values", "subject", "name", "resample"}
_EXAMPLE = "images: {ct: a.nii.gz, cbf: b.nii.gz}, and if wanted label, label_values, subject, name, resample"


def scan_case_files(folder: str | Path, target: str | None = None) -> list[Scan]:
    """Return one case for every ``case.yml`` in a folder and below it, training first, then by name.

    What ``read_case_file`` refuses is the ``fault`` of its case.

    Raises:
        IslesError: ``E-LIST-01`` there is none.
    Source: ours; ``tests/data/test_case_file.py``.
    """
    root = Path(folder).absolute()
    scans = []
    for path in walk(root):
        if path.name.lower() in NAMES:
            section = section_in(root, path)
            try:
                scans.append(read_case_file(path, section))
            except IslesError as error:
                scans.append(Scan(section, path.parent.name, fault=error))
    if not scans:
        raise no_case(root)
    return sorted(scans, key=lambda scan: (scan.section != TRAINING, scan.name))


def read_case_file(path: str | Path, section: str = TRAINING) -> Scan:
    """Return the case that one ``case.yml`` describes; the folder names it where the file does not.

    Raises:
        IslesError: ``E-LIST-63`` not YAML or not as described, ``E-LIST-64`` an unknown word, ``E-LIST-65`` a path
            outside the folder, ``E-LIST-66`` a file that is not there.
    """
    path = Path(path).absolute()
    content = _content(path)
    strange = sorted(map(str, set(content) - _KNOWN))
    images = content.get("images")
    if not isinstance(images, Mapping) or not images:
        raise _wrong(path, "images", f"{type(images).__name__}, a list of modality and file wanted")
    strange += [f"images: {key}" for key in images if key not in MODALITIES]
    if strange:
        raise refused(
            "E-LIST-64",
            where=str(path),
            found=", ".join(strange[:8]),
            example=_EXAMPLE,
            modalities=", ".join(MODALITIES),
        )
    scan = Scan(section, _word(path, content, "name") or path.parent.name)
    scan.subject = _word(path, content, "subject")
    scan.label_values = _values(path, content.get("label_values"))
    scan.resample = content.get("resample", False)
    if not isinstance(scan.resample, bool):
        raise _wrong(path, "resample", f"{scan.resample!r}, true or false wanted")
    for key, name in {**images, **({LABEL: content[LABEL]} if content.get(LABEL) is not None else {})}.items():
        scan.add(str(key), _inside(path, str(key), name))
    return scan


def _content(path: Path) -> Mapping:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise _wrong(path, "the file", f"{size} bytes, at most {MAX_BYTES}")
        text = path.read_text(encoding="utf-8")
        if sum(map(text.count, "[{")) > MAX_BRACKETS:
            raise _wrong(path, "the file", f"more than {MAX_BRACKETS} brackets")
        content = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError, ValueError) as error:
        raise _wrong(path, "the file", f"not YAML: {' '.join(str(error).split())[:160]}") from error
    if not isinstance(content, Mapping):
        raise _wrong(path, "the file", f"{type(content).__name__}, words with values wanted")
    return content


def _word(path: Path, content: Mapping, key: str) -> str | None:
    value = content.get(key)
    if value is None:
        return None
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not text or any(mark in text for mark in "/\\\n") or text.startswith("."):
        raise _wrong(path, key, f"{str(value)[:40]!r}, a plain name wanted")
    return text


def _values(path: Path, values: object) -> tuple[int, ...] | None:
    if values is None:
        return None
    if not isinstance(values, list) or not values or not all(type(one) is int and one > 0 for one in values):
        raise _wrong(path, "label_values", f"{str(values)[:40]!r}, a list of whole numbers above 0 wanted")
    return tuple(values)


def _inside(path: Path, key: str, name: object) -> Path:
    if not isinstance(name, str) or not name:
        raise _wrong(path, key, f"{str(name)[:40]!r}, a file name wanted")
    folder = path.parent.resolve()
    full = folder / name
    if Path(name).is_absolute() or not full.resolve().is_relative_to(folder):
        raise refused("E-LIST-65", where=f"{path}: {key}", found=name[:120])
    if not full.is_file():
        raise refused("E-LIST-66", where=f"{path}: {key}", found=f"no file {name}")
    return path.parent / name


def _wrong(path: Path, what: str, found: str) -> IslesError:
    return refused("E-LIST-63", where=f"{path}: {what}", found=found, example=_EXAMPLE)
