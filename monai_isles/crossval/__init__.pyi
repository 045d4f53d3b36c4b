from .plan import local_split
from .search import fit_calibration

__all__ = [
    "fit_calibration",
    "local_split",
]
