"""The closed list of ``$`` expressions a config may hold, told by their syntax tree alone."""

from __future__ import annotations

import ast
import re

from monai_isles.io.targets import target_fault

MAX_LENGTH = 200
_REFERENCE = re.compile(r"@(?:::)?[A-Za-z_][A-Za-z0-9_]*(?:(?:#|::)[A-Za-z0-9_]+)*")
_STAND_IN = "ref_"
_METHODS = frozenset({
    "attach", "children", "eval", "float", "half", "load_state_dict", "named_parameters", "parameters",
    "requires_grad_", "resume", "run", "set_trainer", "state_dict", "to", "train",
})  # fmt: skip
_BUILTINS = frozenset({"bool", "dict", "float", "int", "len", "list", "max", "min", "round", "str", "tuple"})
_ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv)


def expression_fault(text: str) -> str | None:
    """Return why an expression is refused, None when it is of an allowed form.

    Allowed: references and their public attributes; literals; lists, tuples and dictionaries; arithmetic, comparisons,
    ``a if b else c``; calls of the listed methods on references, of harmless built-ins such as ``len``, and of dotted
    names that ``io.targets`` accepts.

    Source: ours; ``tests/io/test_expressions.py``.
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
    parts = _parts(node)
    if parts is None:
        return f"a Python {type(node).__name__}"
    return _first_fault(parts)


def _call_fault(node: ast.Call) -> str | None:
    arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
    if isinstance(node.func, ast.Name):
        return _first_fault(arguments) if node.func.id in _BUILTINS else f"a call of {node.func.id!r}"
    if not isinstance(node.func, ast.Attribute):
        return "a call of something that has no name"
    dotted = ast.unparse(node.func)
    if dotted.split(".")[0] != _STAND_IN and dotted.replace(".", "").isidentifier():
        return (
            _first_fault(arguments) if target_fault(dotted) is None else f"a call of {dotted!r}, {target_fault(dotted)}"
        )
    if node.func.attr not in _METHODS:
        return f"a call of {node.func.attr!r}"
    return _first_fault([node.func.value, *arguments])


def _first_fault(nodes: list[ast.expr]) -> str | None:
    return next((fault for node in nodes if (fault := _fault(node))), None)


def _parts(node: ast.expr) -> list[ast.expr] | None:
    if isinstance(node, (ast.List, ast.Tuple)):
        return node.elts
    if isinstance(node, ast.Dict):
        return [*(key for key in node.keys if key is not None), *node.values]
    if isinstance(node, ast.BinOp) and isinstance(node.op, _ARITHMETIC):
        return [node.left, node.right]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        return [node.operand]
    if isinstance(node, ast.Compare):
        return [node.left, *node.comparators]
    if isinstance(node, ast.BoolOp):
        return node.values
    if isinstance(node, ast.IfExp):
        return [node.test, node.body, node.orelse]
    if isinstance(node, ast.Subscript) and isinstance(node.slice, (ast.Constant, ast.UnaryOp)):
        return [node.value, node.slice]
    return None
