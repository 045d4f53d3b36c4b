from .ablation_rivals import threshold_rows
from .compare import compare_rows
from .maps import MAP_COLUMNS, map_scores, summarise_maps
from .pairs import find_masks, find_predictions, find_references
from .score import COLUMNS, score_case, score_folder
from .search import joint_score
from .sides import contralateral, hemispheres
from .summary import summarise
from .table import summary_table
from .threshold_baselines import SingleThreshold, rcbf_core, relative_cbf, single_threshold_core, tune_single_threshold

__all__ = ["COLUMNS", "MAP_COLUMNS", "SingleThreshold", "compare_rows", "contralateral", "find_masks", "find_predictions", "find_references", "hemispheres", "joint_score", "map_scores", "rcbf_core", "relative_cbf", "score_case", "score_folder", "single_threshold_core", "summarise", "summarise_maps", "summary_table", "threshold_rows", "tune_single_threshold"]
