from .compare import compare_rows
from .pairs import find_predictions, find_references
from .score import score_case, score_cases
from .summary import summarise, summary_table
from .threshold_baselines import single_threshold_core, tune_single_threshold

__all__ = [
    "compare_rows",
    "find_predictions",
    "find_references",
    "score_case",
    "score_cases",
    "single_threshold_core",
    "summarise",
    "summary_table",
    "tune_single_threshold",
]
