from .by_search import threshold_rows
from .figures import architecture_bars, contour_grid, pseudo_dwi_montage, size_group_boxes
from .published import published_rows, published_tables
from .study import PaperRow, Study, paper_rows, train_row
from .tables import PaperHead, paper_csv, paper_table

__all__ = [
    "PaperHead",
    "PaperRow",
    "Study",
    "architecture_bars",
    "contour_grid",
    "paper_csv",
    "paper_rows",
    "paper_table",
    "published_rows",
    "published_tables",
    "pseudo_dwi_montage",
    "size_group_boxes",
    "threshold_rows",
    "train_row",
]
