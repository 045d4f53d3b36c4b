"""Every public name has an example, and the examples of the docstrings print what they say."""

from __future__ import annotations

import ast
import doctest
import importlib
import os
import re
from pathlib import Path
from typing import Any

import pytest

import monai_isles

ROOT = Path(__file__).parents[1]
WITH_EXAMPLES = [path for path in sorted((ROOT / "monai_isles").rglob("*.py")) if ">>> " in path.read_text("utf-8")]
MODULES = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in WITH_EXAMPLES]
ASSUMED = re.findall(r"```python\n(.*?)```", (ROOT / "docs/api/index.md").read_text("utf-8"), re.DOTALL)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which all examples run, so that they share the small data sets that they make."""
    return tmp_path_factory.mktemp("examples")


@pytest.fixture(scope="session")
def assumed(folder: Path) -> dict[str, Any]:
    """Return the names that docs/api/index.md makes for the examples, made in their folder."""
    known: dict[str, Any] = {}
    here = os.getcwd()
    try:
        os.chdir(folder)
        exec("\n".join(ASSUMED), known)
    finally:
        os.chdir(here)
    return known


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_of_a_module_run(
    module: str, folder: Path, assumed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    result = doctest.testmod(importlib.import_module(module), extraglobs=assumed, optionflags=doctest.ELLIPSIS)
    assert result.attempted and not result.failed


def public_names() -> list[tuple[str, str]]:
    """Return module and name of everything that a ``__init__.pyi`` or the package itself offers."""
    names = [(f"monai_isles.{file}", name) for file, offered in monai_isles._FUNCTIONS.items() for name in offered]
    for stub in sorted((ROOT / "monai_isles").rglob("__init__.pyi")):
        room = ".".join(stub.parent.relative_to(ROOT).parts)
        for node in ast.parse(stub.read_text("utf-8")).body:
            if isinstance(node, ast.ImportFrom):
                names += [(f"{room}.{node.module}" if node.level else str(node.module), a.name) for a in node.names]
    return names


def test_every_public_name_has_an_example() -> None:
    names = public_names()
    sources = {module: (ROOT / module.replace(".", "/")).with_suffix(".py") for module, _ in names}
    trees = {module: ast.parse(source.read_text("utf-8")) for module, source in sources.items()}
    lacking = []
    for module, name in names:
        docs = [ast.get_docstring(node) for node in trees[module].body if getattr(node, "name", None) == name]
        lacking += [] if docs and ">>> " in (docs[0] or "") else [f"{module}.{name}"]
    assert len(names) > 150 and not lacking
