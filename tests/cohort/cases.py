"""Work functions that other processes find by name."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from monai_isles.cohort.task import Record, Task
from monai_isles.errors import IslesError
from monai_isles.io.publish import publish_text


def square(task: Task) -> Record:
    return {"outcome": "ok", "value": task.about**2}


def trivial(task: Task) -> Record:
    return {"outcome": "ok"}


def odd_fails(task: Task) -> Record:
    if task.about % 2:
        raise IslesError("E-VAL-04", "image is empty", where=task.case, found="0", fix="export it again")
    return {"outcome": "ok"}


def written(task: Task) -> Record:
    """Publish a file that states its case; note every begin and end; die where the task says so."""
    folder, seconds, deaths = Path(task.about["folder"]), task.about["seconds"], task.about.get("deaths", 0)
    out = folder / f"{task.case}.txt"
    if out.is_file():
        return {"outcome": "done before"}
    begun = len(list(folder.glob(f"begun-{task.case}-*")))
    (folder / f"begun-{task.case}-{os.getpid()}-{time.monotonic_ns()}").touch()
    time.sleep(seconds)
    if begun < deaths:
        os.kill(os.getpid(), signal.SIGKILL)
    publish_text(out, f"{task.case}\n" * 1000)
    (folder / f"ended-{task.case}-{time.monotonic_ns()}").touch()
    return {"outcome": "ok", "threads": os.environ.get("OMP_NUM_THREADS")}
