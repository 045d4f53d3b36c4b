from .checks import check_folder, check_list
from .datalist import find_data_list, make_datalist, read_datalist
from .digest import list_digest
from .entries import load_entries
from .folds import group_folds
from .input_rows import InputRow, input_row
from .inputs import find_entries, find_inputs
from .layouts import Layout, find_cases, find_layout, read_case
from .lesion_share import measured_lesion_share
from .local_split import local_split

__all__ = ["InputRow", "Layout", "check_folder", "check_list", "find_cases", "find_data_list", "find_entries", "find_inputs", "find_layout", "group_folds", "input_row", "list_digest", "load_entries", "local_split", "make_datalist", "measured_lesion_share", "read_case", "read_datalist"]
