from .card import model_card
from .curves import read_curves, training_curves
from .figures import bland_altman_plot, dice_plot, reliability_plot, volume_scatter
from .montage import case_montage
from .page import case_page, cohort_page
from .tables import as_html, as_markdown, as_text
from .views import CaseView, Cohort

__all__ = [
    "CaseView",
    "Cohort",
    "as_html",
    "as_markdown",
    "as_text",
    "bland_altman_plot",
    "case_montage",
    "case_page",
    "cohort_page",
    "dice_plot",
    "model_card",
    "read_curves",
    "reliability_plot",
    "training_curves",
    "volume_scatter",
]
