"""Run one function on every case, in this process or on a cluster, with the same records either way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from monai_isles.cohort.place import is_spread, require_names, require_place
from monai_isles.cohort.task import Record, Task, attempt
from monai_isles.progress import progress


def run_cases(
    work: Callable[[Task], Record],
    tasks: Sequence[Task],
    *,
    workers: int = 1,
    cluster: str | None = None,
    slurm: str | Path | None = None,
    title: str = "cases",
    unit: str = "case",
) -> dict[str, Record]:
    """Run ``work`` on every task and return its records by case, in the order of ``tasks`` wherever they ran.

    A fault of one case is its record, ``{"outcome": "failed", "error": ...}``. A case whose worker dies is done again
    by another one, at last with no case beside it; when it ends that worker too, it is recorded as failed and the
    others go on. Results are published by ``work``
    itself (``monai_isles.io.publish``); a record is small and goes back to the caller.

    Args:
        work: function of a module, so that other processes find it by name; it should leave a case alone that an
            earlier run finished.
        tasks: cases with their needs.
        workers: 1 is a plain loop without Dask; more are processes here, or Slurm workers with ``slurm``.
        cluster: address of a running Dask scheduler whose workers have this package and see the same files.
        slurm: YAML file for dask-jobqueue's SLURMCluster (``monai_isles.cohort.slurm``).
        title, unit: of the progress bar.
    Raises:
        IslesError: ``E-COH-01`` Dask is not installed, ``E-COH-02`` two cases of one name, ``E-COH-03`` no scheduler
            answers, ``E-COH-04`` the scheduler is gone, ``E-COH-06`` other versions there, ``E-COH-07`` no worker is
            large enough, ``E-COH-1x`` from the Slurm profile, ``E-USE-60`` and ``E-USE-61`` from the choice.
    Source: ours; ``tests/cohort/test_engine.py``, ``tests/cohort/test_killed.py``.
    """
    require_place(workers, cluster, slurm)
    require_names(tasks)
    if not tasks:
        return {}
    if not is_spread({"workers": workers, "cluster": cluster, "slurm": slurm}):
        return {task.case: attempt(work, task) for task in progress(tasks, title, total=len(tasks), unit=unit)}
    from monai_isles.cohort.clusters import opened
    from monai_isles.cohort.collect import collected

    count = min(workers, len(tasks))
    with opened(tasks, workers=count, cluster=cluster, slurm=slurm) as client:
        done = progress(collected(client, work, tasks, redone=1 if cluster else 0), title, total=len(tasks), unit=unit)
        records = {task.case: record for task, record in done}
    return {task.case: records[task.case] for task in tasks}
