"""The examples of the docstrings run and print what they say, in a folder of their own."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[1]
WITH_EXAMPLES = [path for path in sorted((ROOT / "monai_isles").rglob("*.py")) if ">>> " in path.read_text("utf-8")]
MODULES = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in WITH_EXAMPLES]
KNOWN = {"np": np, "torch": torch, "nn": torch.nn}  # docs/api/index.md states these


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which all examples run, so that they share the small data set that they make."""
    return tmp_path_factory.mktemp("examples")


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_of_a_module_run(module: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    result = doctest.testmod(importlib.import_module(module), extraglobs=KNOWN, optionflags=doctest.ELLIPSIS)
    assert result.attempted and not result.failed
