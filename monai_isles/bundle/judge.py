"""A bundle as it comes from elsewhere, a folder or a zip: configs, logging.conf and weights judged, nothing run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from monai_isles.bundle.configs import judge_bundle
from monai_isles.errors import IslesError, refused
from monai_isles.io.archives import unpack_zip
from monai_isles.io.findings import ERROR, Finding

WEIGHTS = "models/model.pt"


def check_bundle(path: str | Path, *, unpack: str | Path | None = None) -> list[Finding]:
    """Return every finding about a bundle: a folder, one config file, or a zip, which is unpacked aside.

    Args:
        unpack: folder that a zip goes to, in one step, when nothing in it is an error.
    Raises:
        IslesError: ``E-USE-70`` when there is nothing to unpack, ``E-FILE-18`` and ``E-FILE-10`` for the folder.
    Source: ours; cases I1 to I12 of the reliability list, ``tests/bundle/test_judge.py``.
    """
    path = Path(path)
    zipped = path.is_file() and path.suffix.lower() == ".zip"
    if unpack is not None and not zipped:
        raise refused("E-USE-70", where="--unpack", found=f"{path} is no zip")
    if not zipped:
        return [*judge_bundle(path), *_weights(path)]
    with tempfile.TemporaryDirectory(prefix="monai-isles-") as aside:
        place = Path(aside) / "bundle"
        found = _caught(lambda: unpack_zip(path, place))
        if not found:
            inner = _root(place)
            found = [_named(finding, inner, path) for finding in (*judge_bundle(inner), *_weights(inner))]
    if unpack is not None and not any(finding.severity == ERROR for finding in found):
        unpack_zip(path, unpack)
    return found


def _root(place: Path) -> Path:
    """Return the folder of the bundle: the archive's own, or the only one in it."""
    inside = list(place.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() and inside[0].name != "configs" else place


def _weights(folder: Path) -> list[Finding]:
    weights = folder / WEIGHTS
    if not weights.is_file():
        return []
    from monai_isles.io.weights import load_state, stated_sha256

    return _caught(lambda: load_state(weights, sha256=stated_sha256(folder)))


def _caught(act: Callable[[], object]) -> list[Finding]:
    try:
        act()
    except IslesError as error:
        return [Finding(error.code, ERROR, error.where, error.found, error.fix, error.fault)]
    return []


def _named(finding: Finding, inner: Path, archive: Path) -> Finding:
    return replace(finding, where=finding.where.replace(str(inner), str(archive)))
