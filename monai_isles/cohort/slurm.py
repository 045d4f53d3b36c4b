"""A Slurm cluster from a YAML file of dask-jobqueue's own keyword arguments."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from monai_isles.cohort.task import GPU, MEMORY, Task
from monai_isles.errors import IslesError, refused

if TYPE_CHECKING:
    from dask_jobqueue import SLURMCluster

RESOURCES = "resources"
_WORDS = (
    "queue", "account", "memory", "walltime", "interface", "job_mem", "local_directory", "log_directory",
    "shared_temp_directory", "python", "job_name", "protocol", "shebang", "death_timeout",
)  # fmt: skip
_NUMBERS = ("cores", "processes", "job_cpu")
_LISTS = ("job_extra_directives", "job_script_prologue", "job_directives_skip", "worker_extra_args")
_TABLES = ("scheduler_options", RESOURCES)
KEYS = (*_WORDS, *_NUMBERS, *_LISTS, *_TABLES)
_EXAMPLE = '{cores: 8, memory: 32GB, walltime: "04:00:00", queue: gpu, resources: {GPU: 1}}'


def read_profile(path: str | Path) -> dict[str, object]:
    """Return the keyword arguments of a Slurm profile, checked by name and kind.

    Keys are those of dask-jobqueue's SLURMCluster; ``resources`` (numbers by name) is what a worker declares.

    Raises:
        IslesError: ``E-COH-10`` the file cannot be read, ``E-COH-11`` a key or value is wrong.
    Source: dask-jobqueue's documentation of SLURMCluster; ``tests/cohort/test_slurm.py``.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise refused(
            "E-COH-10", where=str(path), found=" ".join(str(error).split())[:200], example=_EXAMPLE
        ) from error
    if not isinstance(content, Mapping):
        raise _wrong(path, "the file", f"{type(content).__name__}, keys with values wanted")
    for key, value in content.items():
        fault = _fault(key, value)
        if fault:
            raise _wrong(path, str(key), fault)
    lacking = [key for key in ("cores", "memory") if key not in content]
    if lacking:
        raise _wrong(path, ", ".join(lacking), "missing")
    return dict(content)


def slurm_cluster(path: str | Path, workers: int, tasks: Sequence[Task]) -> SLURMCluster:
    """Start a scheduler here and ask Slurm for jobs that hold ``workers`` workers.

    Each worker runs one case at a time with all processors of its share; it declares the profile's ``resources`` and
    its memory.

    Raises:
        IslesError: ``E-COH-08`` when a case needs more than a worker has, those of ``read_profile``.
    """
    from dask_jobqueue import SLURMCluster

    profile = read_profile(path)
    arguments, offered = cluster_arguments(profile)
    short = next(
        (task for task in tasks if any(offered.get(name, 0.0) < value for name, value in task.needs.items())), None
    )
    if short is not None:
        raise refused(
            "E-COH-08", where=f"{path}: {short.case}", found=f"a case needs {short.needs}, a worker has {offered}"
        )
    cluster = SLURMCluster(**arguments, silence_logs=logging.CRITICAL)
    if workers:
        cluster.scale(n=workers)
    return cluster


def cluster_arguments(profile: Mapping[str, object]) -> tuple[dict[str, object], dict[str, float]]:
    """Return the arguments of SLURMCluster and what one worker offers: one case at a time, memory declared."""
    from dask.utils import parse_bytes

    arguments = {key: value for key, value in profile.items() if key != RESOURCES}
    processes = int(profile.get("processes", 1))
    threads = max(1, int(profile["cores"]) // processes)
    offered = {MEMORY: round(parse_bytes(profile["memory"]) / processes / 1e9, 3)}
    offered |= {str(name): float(value) for name, value in (profile.get(RESOURCES) or {}).items()}
    declared = ",".join(f"{name}={value:g}" for name, value in offered.items())
    own = [f"export {name}={threads}" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")]
    arguments["processes"] = processes
    arguments["job_script_prologue"] = [*own, *profile.get("job_script_prologue", [])]
    arguments["worker_extra_args"] = [
        "--nthreads", "1", "--no-dashboard", "--resources", declared, *profile.get("worker_extra_args", []),
    ]  # fmt: skip
    arguments["scheduler_options"] = {"dashboard": False, "dashboard_address": ":0"} | dict(
        profile.get("scheduler_options") or {}
    )
    return arguments, offered


def _fault(key: object, value: object) -> str | None:
    if key not in KEYS:
        return f"no such key; known are {', '.join(KEYS)}"
    if key in _WORDS and not isinstance(value, str):
        clock = " (put it in quotes, YAML reads 4:00 as minutes)" if key == "walltime" else ""
        return f"{value!r:.40}, text wanted{clock}"
    if key in _NUMBERS and not (type(value) is int and value > 0):
        return f"{value!r:.40}, a whole number above 0 wanted"
    if key in _LISTS and not (isinstance(value, list) and all(isinstance(one, str) for one in value)):
        return f"{value!r:.40}, a list of texts wanted"
    if key == RESOURCES and not _counts(value):
        return f"{value!r:.40}, numbers above 0 by name wanted, for example {{{GPU}: 1}}"
    if key == "scheduler_options" and not isinstance(value, Mapping):
        return f"{value!r:.40}, keys with values wanted"
    return "not a size like 32GB" if key in ("memory", "job_mem") and not _size(str(value)) else None


def _counts(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        str(name).replace("_", "").isalnum() and type(one) in (int, float) and one > 0 for name, one in value.items()
    )


def _size(text: str) -> bool:
    digits = text.rstrip("KMGTiBkmgtb ").strip()
    return digits.replace(".", "", 1).isdigit()


def _wrong(path: Path, key: str, found: str) -> IslesError:
    return refused("E-COH-11", where=f"{path}: {key}", found=found, example=_EXAMPLE)
