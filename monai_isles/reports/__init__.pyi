from .canvas import data_uri, png_bytes, svg_text
from .card import model_card
from .curves import best_epoch, read_curves, training_curves, vessel_curves
from .figures import bland_altman_plot, dice_plot, reliability_plot, search_heatmap, volume_scatter
from .gather import Scores, Source, find_sources, load_view, read_scores, side_by_side
from .montage import case_montage, methods_montage
from .page import case_page, cohort_page, publish_case_page
from .slices import chosen_slices
from .tables import as_html, as_markdown, as_text
from .views import CaseView, Cohort

__all__ = [
    "CaseView",
    "Cohort",
    "Scores",
    "Source",
    "as_html",
    "as_markdown",
    "as_text",
    "best_epoch",
    "bland_altman_plot",
    "case_montage",
    "case_page",
    "chosen_slices",
    "cohort_page",
    "data_uri",
    "dice_plot",
    "find_sources",
    "load_view",
    "methods_montage",
    "model_card",
    "png_bytes",
    "publish_case_page",
    "read_curves",
    "read_scores",
    "reliability_plot",
    "search_heatmap",
    "side_by_side",
    "svg_text",
    "training_curves",
    "vessel_curves",
    "volume_scatter",
]
