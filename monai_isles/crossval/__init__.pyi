from .ensemble import predict_unseen
from .plan import local_split, make_plan
from .protocols import protocol_tables
from .run import cross_validate
from .search import fit_calibration, search_folder

__all__ = [
    "cross_validate",
    "fit_calibration",
    "local_split",
    "make_plan",
    "predict_unseen",
    "protocol_tables",
    "search_folder",
]
