"""Judge a bundle config without running it: allow-listed targets, short expressions, no repeated keys."""

from __future__ import annotations

import argparse
import ast
import configparser
import importlib.util
import json
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_isles.io.findings import ERROR, Finding, finding

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

ALLOWED = ("monai", "torch.nn", "torch.optim", "torch.utils.data", "ignite", "monai_isles")
DENIED = (
    "monai.apps", "monai.auto3dseg", "monai.bundle", "monai.config", "monai.fl", "monai.utils",
    "monai.data.torchscript_utils", "monai.networks.trt_compiler", "ignite.utils", "torch.utils.data.datapipes",
    "monai_isles.bundle", "monai_isles.cli", "monai_isles.cohort", "monai_isles.crossval", "monai_isles.dicom",
    "monai_isles.export", "monai_isles.io", "monai_isles.papers", "monai_isles.reports", "monai_isles.workflows",
)  # fmt: skip
EXCEPTIONS = frozenset({"monai.utils.set_determinism", "monai_isles.io.LoadVerifiedd", "monai_isles.io.VerifiedReader"})
DENIED_NAMES = frozenset({
    "algo_from_pickle", "convert_to_onnx", "convert_to_trt", "download_url", "load_net_with_metadata", "trt_compile",
})  # fmt: skip


def target_fault(name: str) -> str | None:
    """Return why a ``_target_`` is refused, None when it may be called.

    It must be below ``ALLOWED``, not below ``DENIED``, and defined in the file or package it names: Python finds
    ``monai.data.utils.os.system``, which no file of MONAI defines.
    """
    parts = name.split(".")
    if not all(part.isidentifier() for part in parts):
        return "not a full dotted path"
    if not name.startswith(tuple(f"{root}." for root in ALLOWED)):
        return "outside the allow-list"
    if any(part.startswith("_") for part in parts):
        return "private"
    if name in EXCEPTIONS:
        return None
    if name.startswith(tuple(f"{root}." for root in DENIED)) or parts[-1] in DENIED_NAMES:
        return "on the deny list"
    return None if _is_defined(name) else "not defined by the package it names"


@lru_cache(maxsize=1024)
def _is_defined(name: str) -> bool:
    top, *middle, last = name.split(".")
    spec = importlib.util.find_spec(top)
    home = Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None
    for part in middle:
        home = home / part if home is not None and home.is_dir() else None
        if home is not None and not home.is_dir():
            home = home.with_suffix(".py") if home.with_suffix(".py").is_file() else None
    if home is None:
        return False
    word = re.escape(last)
    pattern = re.compile(
        rf"^(?:(?:async )?def {word}\b|class {word}\b|(?:\w+ = )*{word} = (?:\w+ = )*\w+$)", re.MULTILINE
    )
    files = [home] if home.is_file() else home.rglob("*.py")
    return any(pattern.search(file.read_text(encoding="utf-8", errors="replace")) for file in files)


MAX_LENGTH = 200
_REFERENCE = re.compile(r"@(?:::)?[A-Za-z_][A-Za-z0-9_]*(?:(?:#|::)[A-Za-z0-9_]+)*")
_STAND_IN = "ref_"
_METHODS = frozenset({
    "attach", "children", "eval", "float", "half", "load_state_dict", "named_parameters", "parameters",
    "requires_grad_", "resume", "run", "set_trainer", "state_dict", "to", "train",
})  # fmt: skip
_BUILTINS = frozenset({"bool", "dict", "float", "int", "len", "list", "max", "min", "round", "str", "tuple"})
_COMPOUND = (ast.List, ast.Tuple, ast.Dict, ast.Compare, ast.BoolOp, ast.IfExp)
_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Not, ast.USub)


def expression_fault(text: str) -> str | None:
    """Return why an expression is refused, None when it is of an allowed form.

    Allowed: references and their public attributes; literals; lists, tuples and dictionaries; arithmetic, comparisons,
    ``a if b else c``; calls of the listed methods on references, of harmless built-ins such as ``len``, and of dotted
    names that ``target_fault`` accepts.
    """
    body = text.removeprefix("$").strip()
    if len(body) > MAX_LENGTH:
        return f"longer than {MAX_LENGTH} characters"
    try:
        tree = ast.parse(_REFERENCE.sub(_STAND_IN, body), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "not one Python expression"
    return _fault(tree.body)


def _fault(node: ast.expr) -> str | None:
    if isinstance(node, ast.Constant):
        return None if isinstance(node.value, (str, int, float, bool, type(None))) else "a literal of an unusual kind"
    if isinstance(node, ast.Name):
        return None if node.id == _STAND_IN else f"the name {node.id!r}"
    if isinstance(node, ast.Attribute):
        return f"the private attribute {node.attr!r}" if node.attr.startswith("_") else _fault(node.value)
    if isinstance(node, ast.Call):
        return _call_fault(node)
    plain = isinstance(node, _COMPOUND) or isinstance(getattr(node, "op", None), _OPERATORS)
    if plain or (isinstance(node, ast.Subscript) and isinstance(node.slice, (ast.Constant, ast.UnaryOp))):
        return _first_fault([part for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr)])
    return f"a Python {type(node).__name__}"


def _call_fault(node: ast.Call) -> str | None:
    arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
    if isinstance(node.func, ast.Name):
        return _first_fault(arguments) if node.func.id in _BUILTINS else f"a call of {node.func.id!r}"
    if not isinstance(node.func, ast.Attribute):
        return "a call of something that has no name"
    dotted = ast.unparse(node.func)
    if dotted.split(".")[0] != _STAND_IN and dotted.replace(".", "").isidentifier():
        fault = target_fault(dotted)
        return _first_fault(arguments) if fault is None else f"a call of {dotted!r}, {fault}"
    if node.func.attr not in _METHODS:
        return f"a call of {node.func.attr!r}"
    return _first_fault([node.func.value, *arguments])


def _first_fault(nodes: list[ast.expr]) -> str | None:
    return next((fault for node in nodes if (fault := _fault(node))), None)


_CLASSES = frozenset({
    "StreamHandler", "FileHandler", "NullHandler", "Formatter",
    "logging.StreamHandler", "logging.FileHandler", "logging.NullHandler", "logging.Formatter",
})  # fmt: skip


def logging_findings(path: str | Path) -> list[Finding]:
    """Return the parts of a logging.conf that would run code: other classes, or arguments that are not literals.

    Source: MONAI's rule since 1.6.1 (GHSA-wvpx-5qmp-46g3), made shorter; ``tests/bundle/test_logging_conf.py``.
    """
    path, parser = Path(path), configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except (configparser.Error, UnicodeDecodeError, OSError) as error:
        return [_unreadable(path, error, "logging.conf cannot be read")]
    sections = {"DEFAULT": parser.defaults(), **{name: dict(parser.items(name)) for name in parser.sections()}}
    return [
        finding("E-SAFE-09", ERROR, where=f"{path}: [{section}] {option}", found=repr(value[:120]))
        for section, options in sections.items()
        for option, value in options.items()
        if not _harmless(option, value)
    ]


def _unreadable(path: Path, error: Exception, fault: str) -> Finding:
    return finding("E-FILE-19", ERROR, where=str(path), found=str(error).replace("\n", " "), fault=fault)


def _harmless(option: str, value: str) -> bool:
    if option == "class":
        return value.strip() in _CLASSES
    if option not in ("args", "kwargs"):
        return True
    try:
        tree = ast.parse(value.strip() or "()", mode="eval").body
        parts = tree.elts if isinstance(tree, (ast.Tuple, ast.List)) else [tree]
        for part in (part for part in parts if ast.unparse(part) not in ("sys.stdout", "sys.stderr")):
            ast.literal_eval(part)
    except (ValueError, TypeError, SyntaxError, RecursionError):  # not a literal
        return False
    return True


def judge_config(path: str | Path) -> list[Finding]:
    """Return the unsafe or unreadable parts of one config file; nothing is imported, resolved or evaluated."""
    path = Path(path)
    content, findings = _parse(path)
    for place, value in _walk(content, ""):
        where = f"{path}: {place}"
        keys = [part for part in place.split("#") if not part.isdigit()]
        # MONAI looks up the name of a reader or a writer as a dotted path.
        dotted = keys[-1:] in (["reader"], ["writer"]) and isinstance(value, str) and "." in value
        if place.rpartition("#")[2] == "_target_" or (dotted and str(value)[0] not in "@$%"):
            refusal = target_fault(value) if isinstance(value, str) else "not a name"
            if refusal is not None:
                found = f"{value!r:.160}: {refusal}"
                findings.append(finding("E-SAFE-07", ERROR, where=where, found=found, allowed=", ".join(ALLOWED)))
        elif isinstance(value, str) and value.startswith("$"):
            fault = expression_fault(value)
            if fault:
                findings.append(finding("E-SAFE-08", ERROR, where=where, found=f"{value[:120]!r}: {fault}"))
        elif isinstance(value, str) and value.startswith("%"):
            file = Path(value[1:].split("::")[0])
            if file.is_absolute() or ".." in file.parts:  # leaves the bundle
                findings.append(finding("E-SAFE-13", ERROR, where=where, found=repr(value[:120])))
    return findings


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

    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text, object_pairs_hook=pairs) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        return None, [_unreadable(path, error, "config cannot be read")]
    twice = "the key appears twice; readers differ in which one counts"
    return content, [finding("E-SAFE-10", ERROR, where=f"{path}: {name}", found=twice) for name in repeated]


def setting(word: str) -> tuple[str, object]:
    """Read ``KEY=VALUE`` of a command line; the value is JSON, else text."""
    key, equals, value = word.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{word!r} is not KEY=VALUE")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def case_keys(config: ConfigParser) -> dict[str, Any]:
    """Return the required (``keys``) and the optional modalities of a case."""
    modalities = list(config["modalities"])
    optional = list(config["optional"]) if "optional" in config else []
    return {"keys": [key for key in modalities if key not in optional], "optional": optional}
