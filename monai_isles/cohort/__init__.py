"""Run one function on every case of a cohort: in this process, in several, on a Dask cluster, or as Slurm jobs."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
