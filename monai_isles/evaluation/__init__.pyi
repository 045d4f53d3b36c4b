from .compare import compare_rows
from .maps import MAP_COLUMNS, map_scores, summarise_maps
from .pairs import find_masks, find_predictions, find_references
from .score import COLUMNS, score_case, score_cases
from .summary import summarise, summary_table
from .threshold_baselines import (
    SingleThreshold,
    contralateral_side,
    hemispheres,
    rcbf_core,
    relative_cbf,
    single_threshold_core,
    tune_single_threshold,
)

__all__ = [
    "COLUMNS",
    "MAP_COLUMNS",
    "SingleThreshold",
    "compare_rows",
    "contralateral_side",
    "find_masks",
    "find_predictions",
    "find_references",
    "hemispheres",
    "map_scores",
    "rcbf_core",
    "relative_cbf",
    "score_case",
    "score_cases",
    "single_threshold_core",
    "summarise",
    "summarise_maps",
    "summary_table",
    "tune_single_threshold",
]
