"""What a group of processes needs is made by one of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from monai_isles.phantom import dataset


def test_the_others_wait_and_find_it_there(tmp_path: Path, in_group: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(out: str, **_: object) -> Path:
        if Path(out).exists():
            return Path("found")
        time.sleep(0.3)
        Path(out).write_text("")
        return Path("made")

    monkeypatch.setattr(dataset, "make_dataset", make)
    monkeypatch.delenv("ISLES2018_DIR", raising=False)
    made = in_group(lambda rank: dataset.dataset_or_phantom(None, folder=f"{tmp_path}/made", cases=1, seed=0))
    assert made == [Path("made"), Path("found")]
