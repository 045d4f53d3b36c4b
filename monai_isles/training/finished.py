"""A run that is finished is never run again in the same folder."""

from __future__ import annotations

import json
from pathlib import Path

from monai_isles.errors import IslesError


def require_unfinished(folder: Path) -> None:
    """Refuse a folder whose ``run.json`` says that its run is done.

    Raises:
        IslesError: ``E-TRAIN-02``.
    """
    done = folder / "run.json"
    if done.exists():
        raise IslesError(
            "E-TRAIN-02",
            "this run is finished already",
            where=str(folder),
            found=json.loads(done.read_text(encoding="utf-8"))["outcome"],
            fix="give another --output_dir, or remove that folder to train again",
        )
