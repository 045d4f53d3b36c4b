"""Rooms depend downwards only, stay small, and never take a name that MONAI has."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Mapping, Set
from pathlib import Path

from monai_isles.errors import fault_texts

PACKAGE = Path(__file__).parents[1] / "monai_isles"
ROOMS = [
    ["cli"], ["papers"], ["crossval"], ["workflows"], ["reports", "export", "training"], ["evaluation"], ["inference"],
    ["postprocessing"], ["metrics"], ["losses", "networks"], ["sampling"], ["transforms"], ["phantom"], ["perfusion"],
    ["data"], ["dicom"], ["bundle"], ["cohort"], ["io"], ["case"], ["errors", "modalities", "progress"],
]  # fmt: skip
HEIGHT = {room: floor for floor, rooms in enumerate(ROOMS) for room in rooms}
FILES = sorted(PACKAGE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}
MODULES = {".".join(("monai_isles", *p.relative_to(PACKAGE).with_suffix("").parts)): p for p in FILES}
MAY_PRINT = ("run_options.py", "reproduce.py")


def modules_imported(path: Path) -> set[str]:
    """Return the files of the package that one imports, by dotted name, wherever in it the import stands."""
    found = set()
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name in MODULES}


IMPORTS = {name: modules_imported(path) for name, path in MODULES.items()}


def rooms_imported(path: Path) -> set[str]:
    names = [n.module for n in ast.walk(TREES[path]) if isinstance(n, ast.ImportFrom) and n.module and not n.level]
    names += [alias.name for n in ast.walk(TREES[path]) if isinstance(n, ast.Import) for alias in n.names]
    return {name.split(".")[1] for name in names if name.startswith("monai_isles.")}


def circles(imports: Mapping[str, Set[str]]) -> list[str]:
    """Return the names that stand in a circle: what is left when those that import nothing left are taken away."""
    left = {name: set(others) & set(imports) for name, others in imports.items()}
    while ends := {name for name, others in left.items() if not others & set(left)}:
        left = {name: others for name, others in left.items() if name not in ends}
    while tops := set(left) - {other for others in left.values() for other in others}:
        left = {name: others for name, others in left.items() if name not in tops}
    return sorted(left)


def test_a_room_imports_only_from_rooms_below_it() -> None:
    breaches = []
    for path in FILES:
        room = path.relative_to(PACKAGE).with_suffix("").parts[0]
        imported = rooms_imported(path)
        if room == "__init__":
            breaches += [f"the package imports {other}" for other in imported - {"workflows"}]  # the Python API, lazily
            continue
        breaches += [f"{path.relative_to(PACKAGE)} imports {other}" for other in imported
                     if other != room and HEIGHT[other] <= HEIGHT[room]]  # fmt: skip
    assert not breaches


def test_a_circle_is_found_and_what_hangs_on_it_is_not_blamed() -> None:
    tree = {"a": {"b"}, "b": {"c"}, "c": set()}
    assert circles(tree) == [] and circles(tree | {"c": {"a"}, "top": {"a"}, "d": {"e"}, "e": set()}) == ["a", "b", "c"]


def test_no_files_import_each_other_in_a_circle() -> None:
    assert circles(IMPORTS) == []


def names_of(module: str) -> set[str]:
    """Return what can be imported from a module of the package: its top-level names, or those a room states."""
    room = PACKAGE.parent.joinpath(*module.split("."))
    files = (room / "__init__.pyi", room / "__init__.py", room.with_suffix(".py"))
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        return set()
    tree = TREES.get(file) or ast.parse(file.read_text("utf-8"))
    found = {file.stem for file in room.glob("*")} if room.is_dir() else set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
    return found


def test_what_a_file_imports_from_the_package_is_there() -> None:
    root, known = PACKAGE.parent, {}
    others = [
        path for folder in ("tests", "tools", "benchmarks", "docs/make") for path in (root / folder).rglob("*.py")
    ]
    trees = TREES | {path: ast.parse(path.read_text("utf-8")) for path in others}
    wanted = [
        (path, node) for path, tree in trees.items() for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
    ]
    lacking = []
    for path, node in wanted:
        if (node.module or "").split(".")[0] != "monai_isles":
            continue
        if node.module not in known:
            known[node.module] = names_of(node.module)
        lacking += [f"{path}: {node.module}.{one.name}" for one in node.names if one.name not in known[node.module]]
    assert len(known) > 100 and not lacking


def test_a_file_is_short_says_what_it_is_for_and_prints_nothing() -> None:
    faults = []
    for path in FILES:
        name, lines = str(path.relative_to(PACKAGE)), len(path.read_text(encoding="utf-8").splitlines())
        faults += [f"{name} has {lines} lines"] if lines > 400 else []
        faults += [] if ast.get_docstring(TREES[path]) else [f"{name} has no docstring"]
        if "cli" in path.parts or path.name in MAY_PRINT:
            continue
        calls = [n.func.id for n in ast.walk(TREES[path]) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
        faults += [f"{name} prints"] if "print" in calls else []
    assert not faults


def test_a_file_of_less_than_forty_lines_is_imported_by_more_than_one() -> None:
    thin = []
    for name, path in MODULES.items():
        importers = [other for other, imported in IMPORTS.items() if name in imported]
        if path.name != "__init__.py" and len(importers) == 1 and len(path.read_text("utf-8").splitlines()) < 40:
            thin.append(f"{name} belongs in {importers[0]}")
    assert not thin


def test_no_file_hides_a_module_of_the_standard_library() -> None:
    root = PACKAGE.parent
    loose = [p for folder in ("tools", "docs/make", "benchmarks", "tests") for p in (root / folder).rglob("*.py")]
    assert loose and not [str(p.relative_to(root)) for p in loose if p.stem in sys.stdlib_module_names]


def test_the_tools_are_few() -> None:
    tools = sorted(path.name for path in (PACKAGE.parent / "tools").glob("*.py"))
    assert "demo.py" in tools and len(tools) <= 8


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


def test_every_error_code_has_its_texts_is_raised_and_is_met_by_a_test() -> None:
    code = re.compile(r'"(E-[A-Z]+-\d+)"')
    raised = {found for path in FILES for found in code.findall(path.read_text(encoding="utf-8"))}
    assert raised == set(fault_texts())
    tests = "\n".join(p.read_text(encoding="utf-8") for p in Path(__file__).parent.rglob("test_*.py"))
    assert not [found for found in raised if found not in tests]


def test_the_command_line_starts_without_loading_anything_heavy() -> None:
    script = (
        "import sys; from monai_isles.cli.main import main; main(['--version']); main(['predict']); "
        "print(sorted({'torch', 'monai', 'numpy', 'nibabel', 'itk', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_pages_of_error_codes_are_current_and_hold_every_code() -> None:
    root = PACKAGE.parent
    script = "import json, runpy, sys; json.dump(runpy.run_path('docs/make/error_codes.py')['pages'](), sys.stdout)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=root)
    pages = json.loads(done.stdout)
    written = {name: (root / "docs" / name).read_text(encoding="utf-8") for name in pages}
    assert written == pages, "run python docs/make/error_codes.py"
    assert all(f"**{code}**" in "".join(pages.values()) for code in fault_texts())
