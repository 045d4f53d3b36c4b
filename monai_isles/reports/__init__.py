"""Figures, tables and pages of what was predicted and how it scored; research only."""

from __future__ import annotations

import importlib

_ROOM = {
    "ablation": ("TableRow", "ablation_csv", "ablation_text", "paired_tests"),
    "beside": ("PaperHead", "paper_csv", "paper_table"),
    "canvas": ("data_uri", "png_bytes", "svg_text"),
    "card": ("model_card",),
    "curves": ("best_epoch", "read_curves", "training_curves"),
    "figures": ("dice_plot", "volume_scatter"),
    "heatmap": ("search_heatmap",),
    "montage": ("case_montage", "methods_montage"),
    "page": ("case_page", "cohort_page"),
    "paper_figures": ("architecture_bars", "size_group_boxes"),
    "paper_pictures": ("contour_grid", "pseudo_dwi_montage"),
    "predicted": ("publish_case_page",),
    "published": ("published_rows", "published_tables"),
    "scanner": ("scanner_page",),
    "scanner_curves": ("vessel_curves",),
    "scanner_view": ("ScannerView",),
    "scores": ("Scores", "read_scores"),
    "slices": ("chosen_slices",),
    "gather": ("gather_cohort",),
    "sources": ("Source", "find_sources", "load_view"),
    "tables": ("as_html", "as_markdown", "as_text"),
    "trust": ("bland_altman_plot", "reliability_plot"),
    "views": ("CaseView", "Cohort"),
}
_HOMES = {name: home for home, names in _ROOM.items() for name in names}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
