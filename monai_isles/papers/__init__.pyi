from .ablation import AblationRow, Study, run_row, threshold_rows
from .ablation_table import TableRow, ablation_csv, ablation_text, paired_tests
from .figures import architecture_bars, size_group_boxes
from .method_table import PaperHead, paper_csv, paper_table
from .pictures import contour_grid, pseudo_dwi_montage
from .published import published_rows, published_tables
from .split_run import local_split

__all__ = [
    "AblationRow",
    "PaperHead",
    "Study",
    "TableRow",
    "ablation_csv",
    "ablation_text",
    "architecture_bars",
    "contour_grid",
    "local_split",
    "paired_tests",
    "paper_csv",
    "paper_table",
    "pseudo_dwi_montage",
    "published_rows",
    "published_tables",
    "run_row",
    "size_group_boxes",
    "threshold_rows",
]
