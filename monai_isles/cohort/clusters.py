"""Open the Dask cluster a cohort runs on: processes here, a running scheduler, or Slurm jobs."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from monai_isles import __version__
from monai_isles.cohort.slurm import slurm_cluster
from monai_isles.cohort.task import GPU, MEMORY, Task
from monai_isles.errors import refused
from monai_isles.progress import QUIET

if TYPE_CHECKING:
    from distributed import Client, SpecCluster


def visible_devices(count: int, environment: Mapping[str, str]) -> list[str | None]:
    """Return the name of every GPU as ``CUDA_VISIBLE_DEVICES`` takes it; ``[None]`` (one at a time) below two.

    Args:
        count: GPUs that torch sees.
        environment: of this process, whose own choice is kept.
    """
    if count < 2:
        return [None]
    named = environment.get("CUDA_VISIBLE_DEVICES")
    return list(named.split(",")[:count] if named else map(str, range(count)))


def devices_here() -> list[str | None]:
    """Return the GPUs that torch sees here, as ``visible_devices`` names them."""
    import torch

    return visible_devices(torch.cuda.device_count(), os.environ)


QUOTA = Path("/sys/fs/cgroup/cpu.max")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def allowed_threads(quota: Path = QUOTA) -> int:
    """Return the processors of this process's affinity, cut to the quota of a ``cpu.max`` file where there is one."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not quota.is_file():
        return affinity
    limit, period = quota.read_text(encoding="ascii").split()
    return affinity if limit == "max" else max(1, min(affinity, int(limit) // int(period)))


def thread_environment(workers: int) -> dict[str, str]:
    """Return the variables that give each of ``workers`` processes its share of the processors and no bar."""
    share = str(max(1, allowed_threads() // workers))
    return {**dict.fromkeys(THREAD_VARIABLES, share), QUIET: "1"}


log = logging.getLogger(__name__)
LOOK_S, ALONE_S = 2.0, 60.0


class Crew:
    """Know how many cases the workers take at once, by a look every few seconds."""

    def __init__(self, client: Client) -> None:
        self._client, self._workers, self._looked = client, [], -LOOK_S
        self._seen, self._said = time.monotonic(), False

    def forget(self) -> None:
        """Look again at the next question: a worker died."""
        self._workers = []

    def slots(self, task: Task) -> int:
        """Return how many tasks of this kind the workers run at once."""
        now = time.monotonic()
        if now - self._looked >= LOOK_S or not self._workers:
            self._look(now)
        return sum(_takes(worker, task) for worker in self._workers)

    def wanted(self, task: Task) -> dict[str, float]:
        """Return the needs that Dask is to watch: memory only where a worker declares it."""
        declared = {name for worker in self._workers for name in worker.get("resources") or {}}
        return {name: value for name, value in task.needs.items() if name != MEMORY or name in declared}

    def _look(self, now: float) -> None:
        self._looked = now
        self._workers = list(self._client.scheduler_info(n_workers=-1)["workers"].values())
        if self._workers:
            self._seen = now
        elif now - self._seen > ALONE_S and not self._said:
            self._said = True
            log.warning("the cluster has had no worker for %.0f s; waiting for one", ALONE_S)


def offer(worker: dict) -> dict[str, float]:
    """Return what a worker of a cluster declares; without a declaration its memory counts as it stands."""
    declared = dict(worker.get("resources") or {})
    return {MEMORY: (worker.get("memory_limit") or 0) / 1e9, **declared}


def _takes(worker: dict, task: Task) -> int:
    has = offer(worker)
    fits = [int(has.get(name, 0.0) // value) for name, value in task.needs.items()]
    return max(0, min([int(worker["nthreads"]), *fits]))


HOST = "127.0.0.1"
CONNECT_S = 15
_NO_DASHBOARD = {"dashboard": False, "dashboard_address": f"{HOST}:0"}
_CONFIG = {
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.admin.tick.limit": "30s",
    "logging.distributed": "critical",
}


@contextmanager
def opened(tasks: Sequence[Task], *, workers: int, cluster: str | None, slurm: str | Path | None) -> Iterator[Client]:
    """Give a connected client; clusters that were started for it end with it.

    Raises:
        IslesError: ``E-COH-01``, ``E-COH-03``, ``E-COH-06``, ``E-COH-07``, ``E-COH-1x``; see ``run_cases``.
    """
    require_dask(slurm=slurm is not None)
    import dask
    from distributed import Client

    if cluster:
        with _quiet(), _connected(cluster) as client:
            _require_same_version(client)
            require_room(client, tasks)
            yield client
        return
    with dask.config.set(_CONFIG | {"distributed.nanny.pre-spawn-environ": thread_environment(workers)}):
        made = local_cluster(workers, tasks) if slurm is None else slurm_cluster(slurm, workers, tasks)
        with _quiet(), made, Client(made, set_as_default=False) as client:
            yield client


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask's own log off the terminal: what matters comes back as a record or an error."""
    log = logging.getLogger("distributed")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


def require_dask(*, slurm: bool = False) -> None:
    """Refuse to spread cases where Dask is not installed.

    Raises:
        IslesError: ``E-COH-01``.
    """
    try:
        import distributed  # noqa: F401

        if slurm:
            import dask_jobqueue  # noqa: F401
    except ImportError as error:
        raise refused("E-COH-01", where="--workers, --cluster, --slurm", found=str(error)) from error


def local_cluster(workers: int, tasks: Sequence[Task]) -> SpecCluster:
    """Start processes on this machine: one case each at a time, their share of processors and memory, a GPU each.

    They listen on 127.0.0.1 alone. A process that dies is replaced.

    Raises:
        IslesError: ``E-COH-07`` when a case needs more than a worker has.
    """
    from distributed import Nanny, Scheduler, SpecCluster
    from distributed.system import MEMORY_LIMIT

    memory = MEMORY_LIMIT // workers
    wants_gpu = any(task.gpus for task in tasks)
    devices = devices_here() if wants_gpu else [None]
    offered = {MEMORY: memory / 1e9, **({GPU: 1.0} if wants_gpu else {})}
    _require_offer([offered], tasks, fix="use fewer --workers, or a machine with more memory")
    quiet = {"silence_logs": logging.CRITICAL, **_NO_DASHBOARD}
    options = {"nthreads": 1, "host": HOST, "memory_limit": memory, "resources": offered, **quiet}
    started = {
        number: {"cls": Nanny, "options": {**options, "env": _only(devices[number % len(devices)])}}
        for number in range(workers)
    }
    scheduler = {"cls": Scheduler, "options": {"host": HOST, "port": 0, **_NO_DASHBOARD}}
    return SpecCluster(workers=started, scheduler=scheduler, silence_logs=logging.CRITICAL)


def require_room(client: Client, tasks: Sequence[Task]) -> None:
    """Refuse tasks that no worker of a running cluster could ever take.

    Raises:
        IslesError: ``E-COH-07``.
    """
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    if workers:
        line = f'dask worker {client.scheduler.address} --nthreads 1 --resources "GPU=1 MEMORY_GB=16"'
        _require_offer([offer(worker) for worker in workers], tasks, fix=f"start workers that declare it: {line}")


def _require_offer(offers: Sequence[dict[str, float]], tasks: Sequence[Task], *, fix: str) -> None:
    for task in tasks:
        if not any(all(one.get(name, 0.0) >= value for name, value in task.needs.items()) for one in offers):
            raise refused(
                "E-COH-07",
                where=task.case,
                found=f"needs {_said(task.needs)}; the largest worker has {_said(max(offers, key=_size))}",
                fix=fix,
            )


def _size(one: dict[str, float]) -> tuple[float, float]:
    return one.get(GPU, 0.0), one.get(MEMORY, 0.0)


def _said(values: dict[str, float]) -> str:
    return f"{values.get(GPU, 0):g} GPUs and {values.get(MEMORY, 0):.1f} GB"


def _only(device: str | None) -> dict[str, str]:
    return {} if device is None else {"CUDA_VISIBLE_DEVICES": device}


def _connected(address: str) -> Client:
    from distributed import Client

    try:
        return Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise refused(
            "E-COH-03", where=f"--cluster {address}", found=str(error) or f"no answer within {CONNECT_S} s"
        ) from error


def _require_same_version(client: Client) -> None:
    from importlib.metadata import PackageNotFoundError

    try:
        found = client.run(lambda: __import__("importlib.metadata").metadata.version("monai_isles"))
    except PackageNotFoundError:
        found = {"a worker": "no monai_isles"}
    other = {name: version for name, version in found.items() if version != __version__}
    if other:
        raise refused(
            "E-COH-06", where=next(iter(other)), found=f"{next(iter(other.values()))} there, {__version__} here"
        )
