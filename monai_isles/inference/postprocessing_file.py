"""Read the threshold and the smallest component that a search chose."""

from __future__ import annotations

import json
from pathlib import Path

from monai_isles.errors import IslesError

KEYS = ("threshold", "min_size_vox")


def read_postprocessing(path: Path) -> dict[str, float]:
    """Return ``threshold`` and ``min_size_vox`` of a ``postprocessing.json``.

    Raises:
        IslesError: ``E-INF-13`` when the file is missing, is no JSON object, or lacks one of the two.
    Source: ours; ``tests/inference/test_postprocessing_file.py``.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {key: content[key] for key in KEYS}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IslesError(
            "E-INF-13",
            "no threshold and smallest component there",
            where=str(path),
            found=f"{type(error).__name__}: {error}",
            fix="give the postprocessing.json that `monai-isles search` wrote",
        ) from error
