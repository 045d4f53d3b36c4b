from .checks import check_folder, check_list
from .datalist import find_data_list, group_folds, list_digest, make_datalist, read_datalist
from .entries import find_entries, find_inputs, load_entries, measured_lesion_share
from .input_rows import input_row
from .layouts import Layout, find_cases, find_layout

__all__ = [
    "Layout",
    "check_folder",
    "check_list",
    "find_cases",
    "find_data_list",
    "find_entries",
    "find_inputs",
    "find_layout",
    "group_folds",
    "input_row",
    "list_digest",
    "load_entries",
    "make_datalist",
    "measured_lesion_share",
    "read_datalist",
]
