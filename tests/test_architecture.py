"""Rooms depend downwards only, stay small, and never take a name that MONAI has."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "monai_isles"
ROOMS = [
    ["cli"], ["papers"], ["crossval"], ["workflows"], ["reports", "export", "training"], ["evaluation"], ["inference"],
    ["postprocessing"], ["metrics"], ["losses", "networks"], ["sampling"], ["transforms"], ["phantom"], ["perfusion"],
    ["data"], ["dicom"], ["bundle"], ["cohort"], ["io"], ["case", "errors", "modalities", "progress"],
]  # fmt: skip
HEIGHT = {room: floor for floor, rooms in enumerate(ROOMS) for room in rooms}
FILES = sorted(PACKAGE.rglob("*.py"))


def rooms_imported(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module and not n.level]
    names += [alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names]
    return {name.split(".")[1] for name in names if name.startswith("monai_isles.")}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_room_imports_only_from_rooms_below_it(path: Path) -> None:
    room = path.relative_to(PACKAGE).with_suffix("").parts[0]
    if room == "__init__":
        assert not rooms_imported(path)
        return
    above = {other for other in rooms_imported(path) if other != room and HEIGHT[other] <= HEIGHT[room]}
    assert not above, f"{room} imports from {above}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_file_is_short_says_what_it_is_for_and_prints_nothing(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "no module docstring"
    if "cli" not in path.parts and path.name != "stop_signal.py":
        calls = [n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
        assert "print" not in calls


def test_no_public_name_of_ours_is_one_of_monais() -> None:
    from monai.bundle.config_item import ComponentLocator

    locator = ComponentLocator(excludes=["monai_isles"])
    rooms = [room for rooms in ROOMS[1:-1] for room in rooms]
    taken = []
    for room in rooms:
        module = __import__(f"monai_isles.{room}", fromlist=["__all__"])
        for name in getattr(module, "__all__", ()):
            found = locator.get_component_module_name(name)
            taken += [name] if found else []
    assert not taken


def test_every_error_code_is_met_by_a_test_and_used_for_one_room_alone() -> None:
    code = re.compile(r'"(E-[A-Z]+-\d+)"')
    raised = {found: path.parent.name for path in FILES for found in code.findall(path.read_text(encoding="utf-8"))}
    tests = "\n".join(p.read_text(encoding="utf-8") for p in Path(__file__).parent.rglob("test_*.py"))
    assert raised and not [found for found in raised if found not in tests]


def test_the_command_line_starts_without_loading_anything_heavy() -> None:
    script = (
        "import sys; from monai_isles.cli.main import main; main(['--version']); main(['predict']); "
        "print(sorted({'torch', 'monai', 'numpy', 'nibabel', 'itk', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_page_of_error_codes_is_current() -> None:
    root = PACKAGE.parent
    script = "import runpy, sys; sys.stdout.write(runpy.run_path('docs/make/error_codes.py')['page']())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout == (root / "docs/errors.md").read_text(encoding="utf-8"), "run python docs/make/error_codes.py"
