"""Take the names of the exporting machine's folders out of graph files."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

_EPOCH = (1980, 1, 1, 0, 0, 0)
_DEBUG = ".debug_pkl"


def strip_script(path: Path) -> None:
    """Leave the source positions out of a TorchScript file; they hold absolute paths, and only tracebacks use them.

    Source: ours; ``tests/export/test_graph.py``.
    """
    with zipfile.ZipFile(path) as archive:
        members = [(m.filename, m.compress_type, archive.read(m)) for m in archive.infolist()]
    with zipfile.ZipFile(path, "w") as archive:
        for name, packing, content in members:
            if not name.endswith(_DEBUG):
                member = zipfile.ZipInfo(name, _EPOCH)
                member.compress_type = packing
                archive.writestr(member, content)


def strip_onnx(model: Any) -> None:
    """Leave the stack traces out of an ``onnx_ir.Model``, which names every node by the file that called it."""
    for graph in (model.graph, *(function.graph for function in model.functions.values())):
        graph.metadata_props.clear()
        for node in graph.all_nodes():
            node.metadata_props.clear()
            for value in node.outputs:
                value.metadata_props.clear()
