"""Tests with the programs that users have: skipped by name where one is not installed, recorded for docs/clients.md.

``CLIENT_RECORDS=docs/tables/clients.jsonl python -m pytest tests/clients`` appends what was seen;
``python docs/make/clients_page.py`` makes the page of it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest


@pytest.fixture
def client() -> Callable[..., str]:
    """Return the version of a Python package or a program on the PATH; skip the test, naming it, where it is missing.

    ``client("mlflow")`` asks the installed packages, then ``mlflow --version``; ``flag`` is another word for that.
    A program that does not say its version is "unknown".
    """

    def found(program: str, flag: str = "--version") -> str:
        try:
            return version(program)
        except PackageNotFoundError:
            path = shutil.which(program)
        if path is None:
            pytest.skip(f"{program} is not installed")
        done = subprocess.run([path, flag], capture_output=True, text=True, timeout=60)
        said = re.search(r"\d+(\.\d+)+\w*", done.stdout + done.stderr)
        return said.group() if said else "unknown"

    return found


@pytest.fixture
def record() -> Callable[[str, str, str, str], None]:
    """Append one line of the page: program, its version, what was done with it, what came out."""

    def append(program: str, version: str, what: str, result: str) -> None:
        line = {"program": program, "version": version, "what": what, "result": result}
        assert all(line.values()), line
        if path := os.environ.get("CLIENT_RECORDS"):
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")

    return append
