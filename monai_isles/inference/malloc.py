"""When memory runs out: half as many windows a pass from then on; when that is too much too, an error that says so."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from monai_isles.errors import IslesError, out_of_memory

log = logging.getLogger(__name__)


class HalvedOnce:
    """Run work on groups of windows; from the first time memory runs out on, on each half of a group.

    Args:
        patch: what one window is, for the words.
        setting: name of the setting that says how many windows a group has.
    Raises:
        IslesError: ``E-RUN-40`` when half a group is too much as well.
    Source: ours; case H11 of the reliability list, ``tests/inference/test_malloc.py``.
    """

    def __init__(self, patch: str, setting: str = "window_batch") -> None:
        self.patch, self.setting, self.halved = patch, setting, False

    def run(self, work: Callable[[Sequence], None], group: Sequence) -> None:
        """Call ``work`` on the group or on its halves; what ``work`` keeps, it keeps when it has all of it."""
        if not self.halved:
            try:
                return work(group)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                self.halved = True
                log.warning("memory ran out at %s %d, going on with half: %s", self.setting, len(group), _said(error))
        half = -(-len(group) // 2)
        for part in (group[:half], group[half:]):
            self._half(work, part)
        return None

    def _half(self, work: Callable[[Sequence], None], part: Sequence) -> None:
        try:
            if len(part):
                work(part)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            raise IslesError(
                "E-RUN-40",
                "memory ran out in inference",
                where=f"windows of {self.patch}",
                found=f"{self.setting} {2 * len(part)} did not fit, nor did half of it: {_said(error)}",
                fix=f"take a smaller {self.setting} (an overlay of the bundle), end other programs, or use more memory",
            ) from error


def _said(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
