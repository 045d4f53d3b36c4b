"""Check the content of a data list before a run."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path, PurePosixPath, PureWindowsPath

from monai_isles.case import RESAMPLE
from monai_isles.errors import refused
from monai_isles.io.findings import Finding
from monai_isles.modalities import LABEL, LABEL_VALUES, MODALITIES

SECTIONS = ("training", "test")
PATH_KEYS = (*MODALITIES, LABEL)
_FINDING = {field.name for field in fields(Finding)}


def require_sound(content: object, where: str) -> None:
    """Refuse a data list that is malformed, empty, leaks a subject between folds, or points outside its folder."""
    if not isinstance(content, dict) or not any(isinstance(content.get(name), list) for name in SECTIONS):
        raise refused("E-LIST-04", where=where, found=_kind(content))
    if not any(content.get(name) for name in SECTIONS):
        text = {"fault": "data list is empty", "fix": "make the list again from the data"}
        raise refused("E-LIST-05", where=where, found="no case in training or test", **text)
    values = content.get(LABEL_VALUES, [1])
    if not are_labels(values):
        fix = "give the mask values that mean lesion as a list of whole numbers above 0, or leave it out"
        raise refused("E-LIST-04", where=f"{where}: {LABEL_VALUES}", found=f"{values!r:.80}", fix=fix)
    for name in SECTIONS:
        _require_entries(content.get(name, []), f"{where}: {name}")
    _require_no_leak(content, where)


def plainly_written(content: object, root: Path | None = None) -> object:
    """Return a data list in plain form: what other programs write differently, but with one meaning.

    Modalities in lower case, slashes in paths, those below ``root`` (the data folder) relative to it; numbers for text
    and text or 1.0 for a fold, as tables give them; no empty values (null, NaN, ""), no ``left_out`` of another form.
    """
    if not isinstance(content, dict):
        return content
    content = {key: value for key, value in content.items() if value is not None}
    if not content.get("test") and isinstance(content.get("testing"), list):
        content["test"] = content.pop("testing")  # as MONAI names it
    left_out = content.get("left_out", [])
    if not isinstance(left_out, list) or any(not isinstance(x, dict) or {*x} != _FINDING for x in left_out):
        del content["left_out"]
    sections = {name: content[name] for name in SECTIONS if isinstance(content.get(name), list)}
    return content | {name: [_plain_entry(entry, root) for entry in entries] for name, entries in sections.items()}


def _plain_entry(entry: object, root: Path | None) -> object:
    if not isinstance(entry, dict):
        return entry
    known = (*PATH_KEYS, "case", "subject", "fold")
    names = {key: key.lower() if key.lower() in known and key.lower() not in entry else key for key in entry}
    there = {names[key]: value for key, value in entry.items() if value is not None and value != "" and value == value}
    return {key: _plain_value(key, value, root) for key, value in there.items()}


def _plain_value(key: str, value: object, root: Path | None) -> object:
    if isinstance(value, float) and value.is_integer() and key in ("case", "subject", "fold"):
        value = int(value)
    if key in ("case", "subject") and type(value) is int:
        return str(value)
    if key == "fold" and isinstance(value, str) and value.isdecimal():
        return int(value)
    if key not in PATH_KEYS or not isinstance(value, str):
        return value
    if root is not None and Path(value).is_relative_to(root):
        value = Path(value).relative_to(root).as_posix()
    return value if _leaves(value) else value.replace("\\", "/")


def _require_entries(entries: object, where: str) -> None:
    if not isinstance(entries, list):
        raise refused("E-LIST-04", where=where, found=_kind(entries), fix="give a list of cases")
    seen: set[str] = set()
    for number, entry in enumerate(entries, start=1):
        here = f"{where} entry {number}"
        fault = _entry_fault(entry)
        if fault:
            fix = 'give "case" (no slash, no dot at its start) and "subject" as text, "fold" as whole number, paths'
            raise refused("E-LIST-04", where=here, found=fault, fix=fix)
        if entry["case"] in seen:
            raise refused("E-LIST-11", where=here, found=entry["case"], fix="keep one entry for each case")
        seen.add(entry["case"])
        for key in PATH_KEYS:
            if key in entry and _leaves(entry[key]):
                raise refused("E-LIST-08", where=f"{here} ({entry['case']}): {key}", found=entry[key])


def _entry_fault(entry: object) -> str | None:
    if not isinstance(entry, dict):
        return _kind(entry)
    for key in ("case", "subject"):
        if not isinstance(entry.get(key), str) or not entry[key]:
            return f"{key} is {entry.get(key)!r}"
    if entry["case"].startswith(".") or {"/", "\\"} & {*entry["case"]}:  # it names the folder of the results
        return f"case is {entry['case']!r}"
    if not isinstance(entry.get("fold", 0), int) or isinstance(entry.get("fold"), bool) or entry.get("fold", 0) < 0:
        return f"fold is {entry['fold']!r}"
    if not isinstance(entry.get(RESAMPLE, False), bool):
        return f"{RESAMPLE} is {entry[RESAMPLE]!r}"
    if not are_labels(entry.get(LABEL_VALUES, [1])):
        return f"{LABEL_VALUES} is {entry[LABEL_VALUES]!r:.80}"
    if not _checksums(entry.get("sha256", {})):
        return f"sha256 is {entry['sha256']!r:.80}"
    paths = {key: entry[key] for key in PATH_KEYS if key in entry}
    return next((f"{key} is {path!r}" for key, path in paths.items() if not isinstance(path, str) or not path), None)


def are_labels(values: object) -> bool:
    """Return whether these are mask values: whole numbers above 0, at least one."""
    return isinstance(values, list) and bool(values) and all(type(value) is int and value > 0 for value in values)


def _checksums(value: object) -> bool:
    return isinstance(value, dict) and all(
        key in PATH_KEYS and isinstance(item, str) and len(item) == 64 and set(item.lower()) <= set("0123456789abcdef")
        for key, item in value.items()
    )


def _require_no_leak(content: dict, where: str) -> None:
    home: dict[str, tuple[object, str]] = {}
    for entry in content.get("training", []):
        fold, first = home.setdefault(entry["subject"], (entry.get("fold"), entry["case"]))
        if fold != entry.get("fold"):
            result = f"{first} in fold {fold}, {entry['case']} in fold {entry.get('fold')}"
            raise refused("E-LIST-07", where=f"{where}: subject {entry['subject']}", found=result)
    for entry in content.get("test", []):
        if entry["subject"] in home:
            result = f"{home[entry['subject']][1]} in training, {entry['case']} in test"
            fault, fix = "a subject is in training and test", "keep all cases of one subject in one section"
            here = f"{where}: subject {entry['subject']}"
            raise refused("E-LIST-07", where=here, found=result, fault=fault, fix=fix)


def _leaves(path: str) -> bool:
    posix, windows = PurePosixPath(path), PureWindowsPath(path)
    return posix.is_absolute() or bool(windows.drive or windows.root) or ".." in windows.parts


def _kind(value: object) -> str:
    names = {dict: "an object without these sections", list: "a list", type(None): "null"}
    return names.get(type(value), f"a {type(value).__name__}")
