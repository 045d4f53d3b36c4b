"""What a group of processes needs is made by one of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from monai_isles.phantom.dataset import in_turn


def test_alone_it_is_made_at_once() -> None:
    assert in_turn(lambda: Path("made")) == Path("made")


def test_the_others_wait_and_find_it_there(tmp_path: Path, in_group: Callable) -> None:
    def make() -> Path:
        if (tmp_path / "made").exists():
            return Path("found")
        time.sleep(0.3)
        (tmp_path / "made").write_text("")
        return Path("made")

    def work(rank: int) -> Path:
        os.environ["LOCAL_RANK"] = str(rank)
        return in_turn(make)

    assert in_group(work) == [Path("made"), Path("found")]
