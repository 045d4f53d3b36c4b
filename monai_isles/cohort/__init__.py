"""Run one function on every case of a cohort: here, on several processes, on a Dask cluster, or as Slurm jobs."""

from monai_isles.cohort.engine import run_cases
from monai_isles.cohort.kept import kept
from monai_isles.cohort.place import HERE, Place, is_spread, stands_elsewhere
from monai_isles.cohort.task import Record, Task, failed, reason

__all__ = ["HERE", "Place", "Record", "Task", "failed", "is_spread", "kept", "reason", "run_cases", "stands_elsewhere"]
