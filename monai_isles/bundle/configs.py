"""Judge a bundle config without running it: allow-listed targets, short expressions, no repeated keys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from monai_isles.io.expressions import expression_fault
from monai_isles.io.findings import ERROR, WARNING, Finding
from monai_isles.io.logging_conf import logging_findings
from monai_isles.io.targets import ALLOWED, target_fault

_CONFIGS = (".json", ".yaml", ".yml")
_NOT_RUN = ("metadata.json", "data_list.json")


def judge_bundle(folder: str | Path) -> list[Finding]:
    """Return the findings about every config and logging.conf of a bundle, flat or in the specification's layout.

    Source: ours; cases I9 to I12 of the reliability list, ``tests/bundle/test_configs.py``.
    """
    folder = Path(folder)
    if folder.is_file():
        return judge_config(folder)
    roots = [root for root in (folder, folder / "configs") if root.is_dir()]
    files = sorted(p for root in roots for p in root.iterdir() if p.is_file())
    configs = [p for p in files if p.suffix in _CONFIGS and p.name not in _NOT_RUN]
    found = [finding for path in configs for finding in judge_config(path)]
    found += [finding for p in files if p.name == "logging.conf" for finding in logging_findings(p)]
    found += [_scripts(path) for path in sorted(folder.rglob("*.py"))[:1]]
    if not configs:
        found.append(
            Finding(
                "E-FILE-19",
                ERROR,
                str(folder),
                "no .json or .yaml config",
                "give the folder of a bundle",
                "no bundle here",
            )
        )
    return found


def judge_config(path: str | Path) -> list[Finding]:
    """Return what is unsafe or unreadable in one config file; an empty list means it may run.

    Allowed: ``_target_`` names that ``io.targets`` accepts; ``@`` references; the short expressions of
    ``io.expressions``.
    Nothing is imported, resolved or evaluated.
    """
    path = Path(path)
    content, found = _parse(path)
    for place, value in _walk(content, ""):
        where = f"{path}: {place}"
        if place.rpartition("#")[2] == "_target_":
            found += _target_findings(value, where)
        elif _names_a_class(place, value):
            found += _target_findings(value, where)
        elif isinstance(value, str) and value.startswith("$"):
            fault = expression_fault(value)
            if fault:
                found.append(
                    Finding(
                        "E-SAFE-08",
                        ERROR,
                        where,
                        f"{value[:120]!r}: {fault}",
                        "target a function of the package by its dotted path instead",
                        "expression is outside the allowed forms",
                    )
                )
        elif isinstance(value, str) and value.startswith("%") and _leaves(value[1:].split("::")[0]):
            found.append(
                Finding(
                    "E-SAFE-13",
                    ERROR,
                    where,
                    repr(value[:120]),
                    "keep included files inside the bundle",
                    "macro reads a file outside the bundle",
                )
            )
    return found


def _target_findings(value: object, where: str) -> list[Finding]:
    fault = target_fault(value) if isinstance(value, str) else "not a name"
    if fault is None:
        return []
    return [
        Finding(
            "E-SAFE-07",
            ERROR,
            where,
            f"{value!r:.160}: {fault}",
            f"use the full dotted path of something defined below {', '.join(ALLOWED)}",
            "target is outside the allow-list",
        )
    ]


def _names_a_class(place: str, value: object) -> bool:
    """Tell whether MONAI would look up this string as a dotted path: readers and writers may be named so."""
    keys = [part for part in place.split("#") if not part.isdigit()]
    return (
        bool(keys)
        and keys[-1] in ("reader", "writer")
        and isinstance(value, str)
        and "." in value
        and value[0] not in "@$%"
    )


def _leaves(name: str) -> bool:
    return bool(name) and (Path(name).is_absolute() or ".." in Path(name).parts)


def _walk(value: object, place: str) -> Iterator[tuple[str, object]]:
    """Yield every leaf, every key that is an expression, and every ``_target_``, with its ``#`` path."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        yield place, value
        return
    for key, part in items:
        inner = f"{place}#{key}" if place else str(key)
        if isinstance(key, str) and key.startswith("$"):
            yield f"{inner} (key)", key
        if key == "_target_" and not isinstance(part, str):
            yield inner, part
        yield from _walk(part, inner)


def _parse(path: Path) -> tuple[object, list[Finding]]:
    repeated: list[str] = []

    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        names = [name for name, _ in items]
        repeated.extend(name for name in dict.fromkeys(names) if names.count(name) > 1)
        return dict(items)

    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text, object_pairs_hook=pairs) if path.suffix == ".json" else _safe_yaml(text)
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        return None, [
            Finding(
                "E-FILE-19",
                ERROR,
                str(path),
                str(error).replace("\n", " "),
                "correct the file",
                "config cannot be read",
            )
        ]
    twice = "the key appears twice; readers differ in which one counts"
    return content, [
        Finding("E-SAFE-10", ERROR, f"{path}: {name}", twice, "keep one", "key is repeated") for name in repeated
    ]


def _safe_yaml(text: str) -> object:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _scripts(path: Path) -> Finding:
    return Finding(
        "E-SAFE-14",
        WARNING,
        str(path),
        "Python files are part of this bundle",
        "read them before running the bundle",
        "bundle brings its own code",
    )
