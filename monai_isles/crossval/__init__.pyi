from .plan import make_plan
from .protocols import flattery, protocol_tables
from .run import cross_validate
from .search import search_folder
from .unseen import predict_unseen

__all__ = ["cross_validate", "flattery", "make_plan", "predict_unseen", "protocol_tables", "search_folder"]
