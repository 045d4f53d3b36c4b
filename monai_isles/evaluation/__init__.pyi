from .compare import compare_rows
from .score import score_case
from .summary import summarise

__all__ = [
    "compare_rows",
    "score_case",
    "summarise",
]
