from .compare import compare_rows
from .maps import map_scores, summarise_maps
from .pairs import find_predictions, find_references
from .score import COLUMNS, score_case, score_cases
from .summary import summarise, summary_table
from .threshold_baselines import single_threshold_core, tune_single_threshold

__all__ = [
    "COLUMNS",
    "compare_rows",
    "find_predictions",
    "find_references",
    "map_scores",
    "score_case",
    "score_cases",
    "single_threshold_core",
    "summarise",
    "summarise_maps",
    "summary_table",
    "tune_single_threshold",
]
