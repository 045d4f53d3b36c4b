"""Let one process of a group make what all of them need."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TypeVar

Made = TypeVar("Made")


def in_turn(make: Callable[[], Made]) -> Made:
    """Call ``make`` in the first process of this machine, and in its others when that one is done.

    ``make`` returns at once what is there already. Outside a process group it is simply called.
    Source: ours; ``tests/io/test_turns.py``.
    """
    dist = sys.modules.get("torch.distributed")
    if dist is None or not dist.is_available() or not dist.is_initialized():
        return make()
    first = os.environ.get("LOCAL_RANK", "0") == "0"
    made = make() if first else None
    dist.barrier()
    return made if first else make()
