"""Which dotted names a config may call: an allow-list, resolved on disk without importing anything."""

from __future__ import annotations

import importlib.util
import re
from functools import lru_cache
from pathlib import Path

ALLOWED = ("monai", "torch.nn", "torch.optim", "torch.utils.data", "ignite", "monai_isles")
DENIED = (
    "monai.apps", "monai.auto3dseg", "monai.bundle", "monai.config", "monai.fl", "monai.utils",
    "monai.data.torchscript_utils", "monai.networks.trt_compiler", "ignite.utils", "torch.utils.data.datapipes",
    "monai_isles.cli", "monai_isles.export", "monai_isles.io", "monai_isles.reports",
)  # fmt: skip
EXCEPTIONS = frozenset({"monai.utils.set_determinism", "monai_isles.io.LoadVerifiedd", "monai_isles.io.VerifiedReader"})
DENIED_NAMES = frozenset({
    "algo_from_pickle", "convert_to_onnx", "convert_to_trt", "download_url", "load_net_with_metadata", "trt_compile",
})  # fmt: skip


def target_fault(name: str) -> str | None:
    """Return why a ``_target_`` is refused, None when it may be called.

    A name passes when it lies below ``ALLOWED``, not below ``DENIED``, and the file or package it names defines it:
    ``monai.data.utils.os.system`` would be found by Python, but no file of MONAI defines it.

    Source: ours; ``tests/io/test_targets.py``.
    """
    parts = name.split(".")
    if not all(part.isidentifier() for part in parts):
        return "not a full dotted path"
    if not _below(name, ALLOWED):
        return "outside the allow-list"
    if any(part.startswith("_") for part in parts):
        return "private"
    if name in EXCEPTIONS:
        return None
    if _below(name, DENIED) or parts[-1] in DENIED_NAMES:
        return "on the deny list"
    return None if _defined(name) else "not defined by the package it names"


def _below(name: str, roots: tuple[str, ...]) -> bool:
    return any(name.startswith(f"{root}.") for root in roots)


@lru_cache(maxsize=1024)
def _defined(name: str) -> bool:
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
