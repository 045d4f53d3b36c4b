"""The five gates that every case passes: outcome, words, nothing lost, nothing partial, bounded."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from monai_isles.io import load_state, read_image
from monai_isles.io.publish import PART
from tests.reliability.children import Shown
from tests.reliability.forks import ASKED_FOR_A_NETWORK

MOST_SECONDS, MOST_MIB = 30.0, 2048.0
FOUR_LINES = r": \S.*\n\s+where \S.*\n\s+found \S.*\n\s+fix   \S"
RECORDS = {"out/run.json", "out/run.previous.json", "run/run.json", "run/curves.csv", "run/data_list.json"}
"""What a run may replace: its own record and curves."""


class SilentlyWrong(AssertionError):
    """A wrong, unsafe or lost result with exit code 0."""


class LeftInParts(AssertionError):
    """Something was lost or torn: an input, an earlier result, a file under its final name."""


def require_bounded(shown: Shown) -> None:
    """Gate 5; the time is that of the processor, so that a busy machine fails nobody. No network, no traceback."""
    assert not shown.late, f"hangs: {shown.words}\n{shown.text[-3000:]}"
    assert shown.cpu_seconds < MOST_SECONDS and shown.peak_mib < MOST_MIB, shown
    assert ASKED_FOR_A_NETWORK not in shown.text, shown.text
    assert "Traceback" not in shown.text, shown.text


def require_refusal(shown: Shown, *, exit_code: int, code: str, says: Sequence[str]) -> None:
    """Gates 1 and 2: the documented exit code, and four lines that say what, where, found, fix."""
    require_bounded(shown)
    if shown.code == 0:
        raise SilentlyWrong(f"accepted: {shown.words}\n{shown.text[-3000:]}")
    assert shown.code == exit_code, (shown.code, shown.text)
    assert re.search(rf"\b(?:{code}){FOUR_LINES}", shown.text), shown.text
    require_words(shown, says)


def require_success(shown: Shown, says: Sequence[str] = ()) -> None:
    """Gate 1 for what must work."""
    require_bounded(shown)
    assert shown.code == 0, (shown.code, shown.text)
    require_words(shown, says)


def require_words(shown: Shown, says: Sequence[str]) -> None:
    assert [word for word in says if word not in shown.text] == [], shown.text


def digests(folder: Path) -> dict[str, str]:
    """Return the checksum of every file below a folder; caches, locks and parts of a killed run are no results."""
    files = [
        p
        for p in sorted(folder.rglob("*"))
        if p.is_file()
        and ".monai_isles_cache" not in p.parts
        and not p.name.endswith(".lock")
        and not p.name.startswith(PART)
    ]
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def require_nothing_lost(folder: Path, before: Mapping[str, str], *, may_change: Collection[str] = RECORDS) -> set[str]:
    """Gate 3: every file as it was, the run's own records aside; return the names of the new ones."""
    after = digests(folder)
    lost = [name for name, digest in before.items() if name not in may_change and after.get(name) != digest]
    if lost:
        raise LeftInParts(f"changed or gone: {lost}")
    return set(after) - set(before)


def require_nothing_partial(folder: Path, names: Collection[str] | None = None) -> None:
    """Gate 4: no part and no lock is left, and every file (of ``names``) is whole."""
    left = [p for p in folder.rglob("*") if p.name.startswith(PART) or p.name.endswith(".lock")]
    if left:
        raise LeftInParts(f"left behind: {left}")
    for name in digests(folder) if names is None else names:
        _require_whole(folder / name)


def _require_whole(path: Path) -> None:
    try:
        if path.name.endswith(".nii.gz"):
            read_image(path)
        elif path.name.endswith(".gz"):
            gzip.decompress(path.read_bytes())
        elif path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        elif path.suffix == ".pt":
            load_state(path)
        elif path.suffix == ".html":
            assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")
        else:
            assert path.stat().st_size
    except Exception as error:
        raise LeftInParts(f"{path} is not whole: {error}") from error
