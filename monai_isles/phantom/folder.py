"""The folder of a data set: made aside, published when it is whole, never put over something else."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from monai_isles import __version__
from monai_isles.errors import IslesError
from monai_isles.io.publish import publish_text

PHANTOM_VERSION = 1
RECORD, RECIPE = "SIMULATED.txt", ".recipe.txt"
_FIRST = "SIMULATED: no patient, no scanner. Every image here was computed from a physical model."
_LAST = (
    "anatomy: MNI152 2009a tissue maps (Copyright 1993-2004 Louis Collins, McConnell Brain Imaging Centre)",
    "research only, not a medical device",
)


def record_text(*settings: str) -> str:
    """Return what ``SIMULATED.txt`` says: the settings, a line each, and that nothing here is a patient."""
    made = f"made by monai_isles {__version__}, phantom version {PHANTOM_VERSION}"
    return "\n".join([_FIRST, made, *settings, *_LAST]) + "\n"


def holds_same(out: Path, record: str) -> bool:
    """Return whether ``out`` is this very data set already; a missing or empty folder is not.

    Raises:
        IslesError: ``E-PHAN-03`` when it is something else.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    found = (out / RECORD).read_text(encoding="utf-8") if (out / RECORD).is_file() else ""
    if found != record:
        what = (
            "a phantom with other settings: " + ", ".join(found.splitlines()[1:-2])
            if found
            else "something that is not a phantom"
        )
        raise IslesError(
            "E-PHAN-03",
            "the folder is taken",
            where=str(out),
            found=what,
            fix="choose another folder, or remove this one yourself",
        )
    return True


def make_aside(out: Path, record: str) -> Path:
    """Make the folder beside ``out`` in which it is filled; go on with that of a dead run that made the same.

    Its file ``RECIPE`` holds ``record``. Folders of dead runs that made something else are swept.

    Raises:
        IslesError: ``E-PHAN-05`` when it cannot be made.
    """
    parent = out.absolute().parent
    aside = parent / f".part-{os.getpid()}-{out.name}"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for old in sorted(parent.glob(f".part-*-{out.name}")):
            pid = old.name.split("-")[1]
            if pid == str(os.getpid()) or (pid.isdigit() and not _alive(int(pid))):
                same = (old / RECIPE).is_file() and (old / RECIPE).read_text(encoding="utf-8") == record
                if same and (old == aside or not aside.exists()):
                    old.rename(aside)
                else:
                    shutil.rmtree(old)
        aside.mkdir(exist_ok=True)
        publish_text(aside / RECIPE, record)
    except OSError as error:
        raise IslesError(
            "E-PHAN-05",
            "the folder cannot be made",
            where=str(out),
            found=f"{type(error).__name__}: {error.strerror}",
            fix="choose a folder on a disk you may write to",
        ) from error
    return aside


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
