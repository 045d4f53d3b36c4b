"""Open the Dask cluster for a cohort: local processes, a running scheduler, or Slurm jobs from a YAML file."""

from __future__ import annotations

import logging
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from monai_isles import __version__
from monai_isles.cohort.task import Place, Task
from monai_isles.errors import IslesError, refused
from monai_isles.progress import QUIET

if TYPE_CHECKING:
    from dask_jobqueue import SLURMCluster
    from distributed import Client, SpecCluster

log = logging.getLogger(__name__)
QUOTA = Path("/sys/fs/cgroup/cpu.max")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
GPU, MEMORY = "GPU", "MEMORY_GB"
ALONE_S = 60.0
HOST = "127.0.0.1"
CONNECT_S = 15
_NO_DASHBOARD = {"dashboard": False, "dashboard_address": f"{HOST}:0"}
_CONFIG = {
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.admin.tick.limit": "30s",
    "logging.distributed": "critical",
}
RESOURCES = "resources"
_WORDS = (
    "queue", "account", "memory", "walltime", "interface", "job_mem", "local_directory", "log_directory",
    "shared_temp_directory", "python", "job_name", "protocol", "shebang", "death_timeout",
)  # fmt: skip
_NUMBERS = ("cores", "processes", "job_cpu")
_LISTS = ("job_extra_directives", "job_script_prologue", "job_directives_skip", "worker_extra_args")
# what a value must be: its keys and its test
_KINDS: dict[str, tuple[Sequence[str], Callable[[Any], bool]]] = {
    "text": (_WORDS, lambda value: isinstance(value, str)),
    "a whole number above 0": (_NUMBERS, lambda value: type(value) is int and value > 0),
    "a list of texts": (_LISTS, lambda value: isinstance(value, list) and all(isinstance(v, str) for v in value)),
    "keys with values": (("scheduler_options",), lambda value: isinstance(value, Mapping)),
    "numbers above 0 by name": (
        (RESOURCES,),
        lambda value: isinstance(value, Mapping) and all(
            str(name).replace("_", "").isalnum() and type(item) in (int, float) and item > 0
            for name, item in value.items()
        ),
    ),
}  # fmt: skip
KEYS = tuple(key for keys, _ in _KINDS.values() for key in keys)
_EXAMPLE = '{cores: 8, memory: 32GB, walltime: "04:00:00", queue: gpu, resources: {GPU: 1}}'


def devices_here() -> list[str | None]:
    """Return the name of every GPU for ``CUDA_VISIBLE_DEVICES``; ``[None]`` (one case at a time) below two."""
    import torch

    count, named = torch.cuda.device_count(), os.environ.get("CUDA_VISIBLE_DEVICES")
    if count < 2:
        return [None]
    return list(named.split(",")[:count] if named else map(str, range(count)))


def allowed_threads(quota: Path = QUOTA) -> int:
    """Return the number of CPUs of this process's affinity, limited by the quota of a ``cpu.max`` file."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not quota.is_file():
        return affinity
    limit, period = quota.read_text(encoding="ascii").split()
    return affinity if limit == "max" else max(1, min(affinity, int(limit) // int(period)))


def offer(worker: Mapping[str, Any]) -> dict[str, float]:
    """Return the resources of a worker for one case: the declared ones, else its memory divided by its threads."""
    share = (worker.get("memory_limit") or 0) / 1e9 / max(1, int(worker["nthreads"]))
    return {MEMORY: share, **(worker.get("resources") or {})}


@contextmanager
def open_client(needs: Mapping[str, float], tasks: Sequence[Task], place: Place) -> Iterator[Client]:
    """Yield a connected client whose workers have the ``needs`` of each task; a cluster started for it ends with it."""
    case, cluster, slurm = tasks[0].case, place.get("cluster"), place.get("slurm")
    workers = min(place.get("workers", 1), len(tasks))
    require_dask(slurm=slurm is not None)
    import dask
    from distributed import Client
    from distributed.utils import silence_logging_cmgr

    # Dask's own log stays off the terminal: results arrive as records or errors.
    quiet = silence_logging_cmgr(logging.CRITICAL)
    if cluster:
        with quiet, _connect(cluster) as client:
            _require_same_version(client)
            if running := client.scheduler_info(n_workers=-1)["workers"].values():
                line = f'dask worker {cluster} --nthreads 1 --resources "GPU=1 MEMORY_GB=16"'
                _require_offer([*map(offer, running)], needs, case, fix=f"start workers that declare it: {line}")
            _await_worker(client)
            yield client
        return
    share = str(max(1, allowed_threads() // workers))  # of the CPUs, for each process
    environment = {**dict.fromkeys(THREAD_VARIABLES, share), QUIET: "1"}
    with dask.config.set(_CONFIG | {"distributed.nanny.pre-spawn-environ": environment}):
        made = local_cluster(workers, needs, case) if slurm is None else slurm_cluster(slurm, workers, needs, case)
        with quiet, made, Client(made, set_as_default=False) as client:
            _await_worker(client)
            yield client


def _await_worker(client: Client) -> None:
    """Wait some time for the first worker; then log that the queue may take hours."""
    try:
        client.wait_for_workers(1, timeout=ALONE_S)
    except TimeoutError:
        log.warning("the cluster has had no worker for %.0f s; waiting for one", ALONE_S)


def require_dask(*, slurm: bool = False) -> None:
    """Refuse to spread cases where Dask is not installed."""
    try:
        import distributed  # noqa: F401

        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # its silence_logs leaves out the root's handlers
        if slurm:
            import dask_jobqueue  # noqa: F401
    except ImportError as error:
        raise refused("E-COH-01", where="--workers, --cluster, --slurm", found=str(error)) from error


def local_cluster(workers: int, needs: Mapping[str, float], case: str) -> SpecCluster:
    """Start processes on this machine, on 127.0.0.1 only: one case each, their share of the memory, a GPU each."""
    from distributed import Nanny, Scheduler, SpecCluster
    from distributed.system import MEMORY_LIMIT

    memory = MEMORY_LIMIT // workers
    devices = devices_here() if GPU in needs else [None]
    offered = {MEMORY: memory / 1e9, **({GPU: 1.0} if GPU in needs else {})}
    _require_offer([offered], needs, case, fix="use fewer --workers, or a machine with more memory")
    quiet = {"silence_logs": logging.CRITICAL, **_NO_DASHBOARD}
    options = {"nthreads": 1, "host": HOST, "memory_limit": memory, **quiet}
    alone = [{} if device is None else {"CUDA_VISIBLE_DEVICES": device} for device in devices]
    started = {
        number: {"cls": Nanny, "options": {**options, "env": alone[number % len(devices)]}} for number in range(workers)
    }
    scheduler = {"cls": Scheduler, "options": {"host": HOST, "port": 0, **_NO_DASHBOARD}}
    return SpecCluster(workers=started, scheduler=scheduler, silence_logs=logging.CRITICAL)


def _require_offer(offers: Sequence[dict[str, float]], needs: Mapping[str, float], case: str, *, fix: str) -> None:
    def amounts(values: Mapping[str, float]) -> str:
        return f"{values.get(GPU, 0):g} GPUs and {values.get(MEMORY, 0):.1f} GB"

    largest = max(offers, key=lambda item: (item.get(GPU, 0.0), item.get(MEMORY, 0.0)))
    if not any(all(item.get(name, 0.0) >= value for name, value in needs.items()) for item in offers):
        found = f"needs {amounts(needs)}; the largest worker has {amounts(largest)}"
        raise refused("E-COH-07", where=case, found=found, fix=fix)


def _connect(address: str) -> Client:
    from distributed import Client
    from distributed.comm import get_address_host_port

    try:
        get_address_host_port(address)  # a client of a wrong address hangs for 30 s when it is closed
        return Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        text = str(error) or f"no answer within {CONNECT_S} s"
        raise refused("E-COH-03", where=f"--cluster {address}", found=text) from error


def _require_same_version(client: Client) -> None:
    try:
        result = client.run(lambda: __import__("monai_isles").__version__)
    except ModuleNotFoundError:
        result = {"a worker": "no monai_isles"}
    other = {name: version for name, version in result.items() if version != __version__}
    if other:
        worker, version = next(iter(other.items()))
        raise refused("E-COH-06", where=worker, found=f"{version} there, {__version__} here")


def read_profile(path: str | Path) -> dict[str, Any]:
    """Return a Slurm profile: arguments of dask-jobqueue's SLURMCluster and ``resources``, checked by name and kind."""
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        text = " ".join(str(error).split())[:200]
        raise refused("E-COH-10", where=str(path), found=text, example=_EXAMPLE) from error
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


def slurm_cluster(path: str | Path, workers: int, needs: Mapping[str, float], case: str) -> SLURMCluster:
    """Start a scheduler here and ask Slurm for ``workers`` workers that declare the profile's ``resources``."""
    from dask_jobqueue import SLURMCluster
    from distributed.core import Status

    profile = read_profile(path)
    arguments, offered = cluster_arguments(profile)
    if any(offered.get(name, 0.0) < value for name, value in needs.items()):
        found = f"a case needs {dict(needs)}, a worker has {offered}"
        raise refused("E-COH-08", where=f"{path}: {case}", found=found)
    if workers and shutil.which("sbatch") is None:  # else the jobs would be waited for without end
        raise refused("E-COH-12", where=f"--slurm {path}", found="no command sbatch")
    cluster = SLURMCluster(**arguments, silence_logs=logging.CRITICAL)
    for _ in range(math.ceil(workers / arguments["processes"])):
        cluster.worker_spec.update(cluster.new_worker_spec())
    try:
        cluster.sync(lambda: cluster)  # submits the jobs; ``scale`` would lose the error of sbatch
    except (RuntimeError, ValueError) as error:
        with suppress(AssertionError):  # jobs that were submitted are cancelled; the refused one was never started
            cluster.close()
        cluster.status = Status.closed
        found = " ".join(str(error).rpartition("stderr:")[2].split())
        raise refused("E-COH-13", where=f"--slurm {path}", found=found) from error
    return cluster


def cluster_arguments(profile: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, float]]:
    """Return the arguments of SLURMCluster and the resources of one worker: one case at a time, memory declared."""
    from dask.utils import parse_bytes

    arguments = {key: value for key, value in profile.items() if key != RESOURCES}
    processes = int(profile.get("processes", 1))
    threads = max(1, int(profile["cores"]) // processes)
    offered = {MEMORY: round(parse_bytes(profile["memory"]) / processes / 1e9, 3)}
    offered |= {str(name): float(value) for name, value in (profile.get(RESOURCES) or {}).items()}
    declared = ",".join(f"{name}={value:g}" for name, value in offered.items())
    own = [f"export {name}={threads}" for name in THREAD_VARIABLES]
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
    """Return what is wrong with one entry of a profile, None if nothing is."""
    if key not in KEYS:
        return f"no such key; known are {', '.join(KEYS)}"
    kind, fits = next((kind, fits) for kind, (keys, fits) in _KINDS.items() if key in keys)
    if not fits(value):
        hints = {
            "walltime": " (put it in quotes, YAML reads 4:00 as minutes)",
            RESOURCES: f", for example {{{GPU}: 1}}",
        }
        return f"{value!r:.40}, {kind} wanted{hints.get(str(key), '')}"
    size = key not in ("memory", "job_mem") or re.fullmatch(r"\d*\.?\d+ *[KMGTBkmgtb]?i?[Bb]?", str(value))
    return None if size else "not a size like 32GB"


def _wrong(path: Path, key: str, found: str) -> IslesError:
    return refused("E-COH-11", where=f"{path}: {key}", found=found, example=_EXAMPLE)
