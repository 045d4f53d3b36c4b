from .datalist import find_data_list, list_digest, make_datalist
from .entries import find_entries, find_inputs, load_entries, measured_lesion_share
from .input_rows import input_row
from .layouts import find_cases

__all__ = [
    "find_cases",
    "find_data_list",
    "find_entries",
    "find_inputs",
    "input_row",
    "list_digest",
    "load_entries",
    "make_datalist",
    "measured_lesion_share",
]
