"""Scores of predictions against references, beside the rules that clinics use."""

from __future__ import annotations

import importlib

_ROOM = {
    "ablation": ("AblationRow", "Study", "run_row"),
    "ablation_rivals": ("threshold_rows",),
    "baselines": ("SingleThreshold", "rcbf_core", "relative_cbf", "single_threshold_core", "tune_single_threshold"),
    "sides": ("contralateral", "hemispheres"),
    "maps": ("MAP_COLUMNS", "map_scores", "summarise_maps"),
    "pairs": ("find_masks", "find_predictions", "find_references"),
    "score": ("COLUMNS", "score_case", "score_folder"),
    "summary": ("summarise",),
    "compare": ("compare_rows",),
    "crossval": ("cross_validate",),
    "crossval_plan": ("make_plan",),
    "protocols": ("flattery", "protocol_tables"),
    "search": ("joint_score",),
    "search_run": ("search_folder",),
    "table": ("summary_table",),
    "unseen": ("predict_unseen",),
}
_HOMES = {name: home for home, names in _ROOM.items() for name in names}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
