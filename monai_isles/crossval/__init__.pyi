from .plan import local_split, make_plan
from .search import fit_calibration

__all__ = ["fit_calibration", "local_split", "make_plan"]
