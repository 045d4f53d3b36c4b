"""Run one function on every case of a cohort: in this process, in several, on a Dask cluster, or as Slurm jobs."""
