"""Give `python -m monai.bundle run` the four-line errors and the exit codes of the command line."""

from __future__ import annotations

import signal
import sys
from types import FrameType, TracebackType

from monai_isles.errors import find_isles_error, memory_error

EXIT_TERMINATED = 143


def plain_exits() -> None:
    """Print an error of ours as its four lines and exit with its code; exit 143 on SIGTERM.

    Call it first in a bundle's ``initialize``. Other exceptions keep their traceback and exit code 1.
    Source: ours; ``tests/bundles/test_verbatim.py``.
    """
    sys.excepthook = _hook
    signal.signal(signal.SIGTERM, _terminate)


def exits_on_sigterm() -> bool:
    """Tell whether ``plain_exits`` answers SIGTERM in this process."""
    return signal.getsignal(signal.SIGTERM) is _terminate


def _hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    ours = find_isles_error(error) or memory_error(error, "this run")
    if ours is None:
        sys.__excepthook__(kind, error, trace)
        return
    print(ours, file=sys.stderr)
    raise SystemExit(ours.exit_code)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise SystemExit(EXIT_TERMINATED)
